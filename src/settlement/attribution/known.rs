//! What attribution must know beside the click id, loaded once for a batch.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::conversion::Report;
use crate::ids::ProgramId;
use crate::program::coupon::{self, CouponTerms};
use crate::settlement::attribution::{Asked, Owner};

/// A customer of a program, by the keyed hash of the shop's name.
pub type CustomerKey = (ProgramId, [u8; 32]);

/// Somebody who keeps a customer for a partner, by hand and until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// For whom, and since when.
    pub owner: Owner,
    /// Until when.
    pub until: Timestamp,
}

/// Coupons, and whose customers are.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Coupons by the keys of their codes.
    pub coupons: HashMap<(ProgramId, String), Vec<CouponTerms>>,
    /// Customers that are protected.
    pub protections: HashMap<CustomerKey, Protection>,
}

impl Known {
    /// Returns what came with a report and what is known of it.
    pub fn asked<'a>(&'a self, program_id: ProgramId, report: &'a Report) -> Asked<'a> {
        let coupon_code = report.coupon_code.as_deref();
        let coupons =
            coupon_code.and_then(|code| self.coupons.get(&(program_id, coupon::key(code))));
        Asked {
            occurred_at: report.occurred_at,
            click_id: report.click_id.as_deref(),
            click_ids: &report.click_ids,
            coupon_code,
            coupons: coupons.map(Vec::as_slice).unwrap_or_default(),
            owner: report
                .customer_hash
                .and_then(|hash| self.owner(&(program_id, hash), report.occurred_at)),
        }
    }

    /// Returns whose a customer was at a time.
    pub fn owner(&self, customer: &CustomerKey, at: Timestamp) -> Option<Owner> {
        let protection = self.protections.get(customer)?;
        (protection.owner.since <= at && at < protection.until).then_some(protection.owner)
    }
}

//! What attribution must know beside the click id, loaded once for a batch and kept up to date
//! within it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::conversion::{MessageType, Report};
use crate::ids::{PartnerNo, ProgramId};
use crate::program::attribution::Policy;
use crate::program::coupon::{self, CouponTerms};
use crate::settlement::attribution::bond::Bonds;
use crate::settlement::attribution::{Asked, Owner};
use crate::settlement::{Message, OrderKey};

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
    /// What binds customers.
    pub bonds: HashMap<CustomerKey, Bonds>,
    /// Conversions of customers that are nobody's: a bond that comes later makes them somebody's.
    pub nobodys: Nobodys,
}

/// Conversions that are nobody's, by their customers.
#[derive(Clone, Debug, Default)]
pub struct Nobodys {
    messages: HashMap<OrderKey, Arc<Message>>,
    of_customers: HashMap<CustomerKey, HashSet<OrderKey>>,
}

impl Known {
    /// Returns what came with a report and what is known of it; `policy` is the one that judges it.
    pub fn asked<'a>(
        &'a self,
        program_id: ProgramId,
        report: &'a Report,
        policy: &Policy,
    ) -> Asked<'a> {
        let coupon_code = report.coupon_code.as_deref();
        let coupons =
            coupon_code.and_then(|code| self.coupons.get(&(program_id, coupon::key(code))));
        let customer = report.customer_hash.map(|hash| (program_id, hash));
        Asked {
            occurred_at: report.occurred_at,
            click_id: report.click_id.as_deref(),
            click_ids: &report.click_ids,
            coupon_code,
            coupons: coupons.map(Vec::as_slice).unwrap_or_default(),
            owner: customer.and_then(|customer| self.owner(&customer, report.occurred_at, policy)),
        }
    }

    /// Returns everybody who may come to have a conversion by a coupon or a customer.
    pub fn partners(&self) -> impl Iterator<Item = (ProgramId, PartnerNo)> {
        let coupons = self.coupons.iter().flat_map(|((program, _), terms)| {
            terms.iter().map(move |terms| (*program, terms.partner))
        });
        let protected = self
            .protections
            .iter()
            .map(|((program, _), protection)| (*program, protection.owner.partner));
        let bound = self.bonds.iter().flat_map(|((program, _), bonds)| {
            bonds.partners().map(move |partner| (*program, partner))
        });
        coupons.chain(protected).chain(bound)
    }

    /// Returns whose a customer was at a time. What a person has decided goes before every bond.
    pub fn owner(&self, customer: &CustomerKey, at: Timestamp, policy: &Policy) -> Option<Owner> {
        let holds =
            |protection: &&Protection| protection.owner.since <= at && at < protection.until;
        if let Some(protection) = self.protections.get(customer).filter(holds) {
            return Some(protection.owner);
        }
        policy.ownership.as_ref()?;
        Some(self.bonds.get(customer)?.at(at)?.owner)
    }
}

impl Nobodys {
    /// Adds a conversion that is nobody's; without a customer it will never be somebody's.
    pub fn add(&mut self, key: OrderKey, message: Arc<Message>) {
        let Some(hash) = message.report.customer_hash else { return };
        self.of_customers.entry((key.program_id, hash)).or_default().insert(key.clone());
        self.messages.insert(key, message);
    }

    /// Takes one out: it is somebody's now, or is over.
    pub fn remove(&mut self, key: &OrderKey) {
        self.messages.remove(key);
    }

    /// Takes over what an update says of one. Whose it may become and when it happened stays.
    pub fn restate(&mut self, key: &OrderKey, report: &Report) {
        if let Some(message) = self.messages.get_mut(key) {
            let report = Report {
                message_type: MessageType::Created,
                occurred_at: message.report.occurred_at,
                customer_hash: message.report.customer_hash,
                is_test: message.report.is_test,
                ..report.clone()
            };
            *message = Arc::new(Message { report, ..(**message).clone() });
        }
    }

    /// Returns those of a customer in the order in which they happened.
    pub fn of(&self, customer: &CustomerKey) -> Vec<(OrderKey, Arc<Message>)> {
        let keys = self.of_customers.get(customer).into_iter().flatten();
        let found = keys.filter_map(|key| Some((key.clone(), Arc::clone(self.messages.get(key)?))));
        let mut found: Vec<_> = found.collect();
        found.sort_by(|a, b| (a.1.report.occurred_at, &a.0).cmp(&(b.1.report.occurred_at, &b.0)));
        found
    }

    /// Returns the messages of all of them.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().map(Arc::as_ref)
    }
}

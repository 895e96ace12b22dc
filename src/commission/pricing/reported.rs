//! What a report says, as far as plans ask: its amounts, what is told around them, its rate.

use std::sync::Arc;

use super::{PricingFacts, Told};
use crate::clock::Timestamp;
use crate::commission::plan::{EventKind, FxRate, PlanTerms, PriceFacts};
use crate::conversion::Report;
use crate::ids::ProgramId;
use crate::money::Currency;

/// Returns what a report is priced from; none for an event that no plan can name.
pub fn price_facts(report: &Report) -> Option<PriceFacts> {
    Some(PriceFacts {
        // Clicks are counted, not reported.
        event: EventKind::from_code(&report.event).filter(|kind| *kind != EventKind::Click)?,
        amount: report.amount,
        tax: report.tax,
        shipping: report.shipping,
        discount: report.discount,
    })
}

/// Returns what a shop says of a sale beside its amounts.
pub fn told(report: &Report) -> Told {
    let text = |name: &str| report.metadata.get(name).and_then(|v| v.as_str()).map(Arc::from);
    Told {
        customer_hash: report.customer_hash,
        is_new_customer: report.metadata.get("new_customer").and_then(|v| v.as_bool()),
        category: text("category"),
        country: text("country"),
        placement: text("placement"),
        delivered_at: text("delivered_at").and_then(|at| at.parse().ok()),
    }
}

impl PricingFacts {
    /// Returns the rate of exchange that these terms ask for, if one was known then.
    pub fn rate_by(
        &self,
        program_id: ProgramId,
        terms: &PlanTerms,
        priced: &PriceFacts,
        at: Timestamp,
    ) -> Option<FxRate> {
        let pay_in = terms.common.pay_in?;
        let from = reckoned_in(priced, terms).filter(|from| *from != pay_in.currency)?;
        self.rate(program_id, from, pay_in.currency, at)
    }
}

/// Returns the currency that a commission is reckoned in: that of the sale, or of a flat rule.
fn reckoned_in(priced: &PriceFacts, terms: &PlanTerms) -> Option<Currency> {
    let flat = || terms.rules.iter().find_map(|rule| rule.currency);
    priced.amount.map(|amount| amount.currency).or_else(flat)
}

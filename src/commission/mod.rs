//! Commissions: what a conversion earns, when it is owed, and what takes it back.
//!
//! [`plan`] prices a conversion by the plan version of its own time and keeps every step of the
//! arithmetic; [`state`] is the only place that says which state may follow which and what the
//! ledger posts; [`hold`] says when; [`refund`] turns the refunds and updates of an order into
//! differences. Once approved, an amount is frozen: what happens later is a row of its own, a
//! clawback or an adjustment. What [`clicks`] earn is paid by the day.

pub mod clicks;
pub mod closing;
pub mod decision;
pub mod explain;
pub mod hold;
pub mod http;
pub mod kind;
pub mod plan;
pub mod plan_http;
pub mod plan_store;
pub mod pricing;
pub mod refund;
pub mod row;
pub mod simulate;
pub mod state;
mod step_store;
pub mod store;
pub mod terms_http;
pub mod terms_store;
pub mod timer;

pub use plan::{Calculation, NoCommission, PlanDocument, PlanTerms, PlanVersion, PriceFacts};
pub use row::{Commission, Hand, NoStep, Step};
pub use state::{CommissionKind, CommissionState};

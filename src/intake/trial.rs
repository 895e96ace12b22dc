//! What settlement would do with messages now: decided on facts of this moment, nothing written.

use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::candidate::Candidate;
use crate::conversion::path::Path;
use crate::db::DbTx;
use crate::ids::{PlanVersionId, ReceiptId};
use crate::settlement::decide::decide_all;
use crate::settlement::facts::Facts;
use crate::settlement::facts_store::{load_facts, load_rooms};
use crate::settlement::order_store::Locks;
use crate::settlement::{Decided, Decision, Message, Verdict};

/// What settlement would say of one message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Foreseen {
    /// `conversion.created` and so on.
    #[schema(value_type = String)]
    pub r#type: &'static str,
    /// `settled`, `duplicate`, `conflict`, `rejected`, `waiting` (for its conversion) or
    /// `dead_letter`.
    #[schema(value_type = String)]
    pub verdict: &'static str,
    /// Why, or why nothing would be earned.
    pub reason: Option<String>,
    /// The step of the ladder that would decide (`click`, `coupon` or `customer`), or why it would be
    /// attributed to nobody; null where no conversion would be made.
    pub attribution: Option<String>,
    /// Everything that would be looked at for it, and why each counts or not.
    pub candidates: Vec<Candidate>,
    /// Every click that the shop named, whether it counts and its part; null where it named no path.
    pub path: Option<Path>,
    /// The commissions that it would open or move.
    pub commissions: Vec<ForeseenCommission>,
}

/// A commission as it would stand.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ForeseenCommission {
    /// Whose.
    pub partner_id: String,
    /// `pending` and so on.
    pub status: String,
    /// In major units.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The edition of the plan that prices it.
    #[schema(value_type = Option<String>)]
    pub plan_version_id: Option<PlanVersionId>,
    /// When its hold would be over.
    #[schema(value_type = String)]
    pub hold_until: Timestamp,
    /// Inputs and every step of the arithmetic.
    #[schema(value_type = Object)]
    pub calculation: serde_json::Value,
}

/// Asks what settlement would do with the messages, in their order. The transaction must be rolled
/// back: it holds locks that settlement waits for, and nothing to keep.
pub async fn foresee(
    app: &App,
    db: &mut DbTx,
    messages: Vec<Message>,
) -> Result<Vec<Foreseen>, sqlx::Error> {
    let now = app.clock.now();
    let receipts: Vec<ReceiptId> = messages.iter().map(|m| m.receipt_id).collect();
    let keys = (&app.config.click_keys, &app.customer_key);
    let mut facts = load_facts(db, Locks::OfOrders, &messages, keys, now).await?;
    load_rooms(db, &mut facts, &messages, app.config.waiting_room_max).await?;
    let decided = decide_all(&mut facts, messages);
    Ok(receipts.into_iter().filter_map(|receipt| foreseen(receipt, &decided, &facts)).collect())
}

fn foreseen(receipt: ReceiptId, decided: &[Decided], facts: &Facts) -> Option<Foreseen> {
    let mut own = decided.iter().filter(|d| d.message.receipt_id == receipt).peekable();
    let kind = own.peek()?.message.report.message_type.as_str();
    let id_of = |one: &Decided, partner| {
        let earner = facts.earners.get(&(one.message.program_id, partner));
        earner.map(|earner| earner.partner_id)
    };
    let mut told = Foreseen {
        r#type: kind,
        verdict: Verdict::Settled.as_str(),
        reason: None,
        attribution: None,
        candidates: Vec::new(),
        path: None,
        commissions: Vec::new(),
    };
    for one in own {
        match &one.decision {
            Decision::Record(new) => {
                told.attribution = Some(new.attribution.as_str().to_owned());
                told.candidates = new.attribution.to_wire(|partner| id_of(one, partner));
                let path = new.attribution.path.as_ref();
                told.path = path.map(|path| path.to_wire(|partner| id_of(one, partner)));
                told.reason = told.reason.or_else(|| new.no_commission.clone());
            }
            Decision::Reattribute { attribution, no_commission, .. } => {
                told.attribution = Some(attribution.as_str().to_owned());
                told.candidates = attribution.to_wire(|partner| id_of(one, partner));
                told.reason.clone_from(no_commission);
            }
            Decision::Commission(step) => told.commissions.push(ForeseenCommission {
                partner_id: step.after.partner_id.to_string(),
                status: step.after.state.code().to_owned(),
                amount: step.after.amount.to_decimal_string(),
                currency: step.after.amount.currency.code().to_owned(),
                plan_version_id: step.after.plan_version_id,
                hold_until: step.after.hold_until,
                calculation: (*step.after.calculation).clone(),
            }),
            Decision::Verdict { verdict, reason, .. } => {
                told.verdict = verdict.as_str();
                told.reason = reason.clone().or(told.reason);
            }
            // What else is written follows from these.
            Decision::Refund { .. }
            | Decision::Restate { .. }
            | Decision::Bind(_)
            | Decision::Void(_)
            | Decision::Flag(_)
            | Decision::Wait(_)
            | Decision::TurnAway(_)
            | Decision::Admit(_) => {}
        }
    }
    Some(told)
}

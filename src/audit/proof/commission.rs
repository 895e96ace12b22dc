//! Reckons every commission again from what is stored with it.

use std::collections::{BTreeSet, HashMap};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Tally;
use crate::audit::store::commission::{ArithmeticRow, NetRow, load_arithmetic, load_nets};
use crate::audit::{At, CheckError, Page};
use crate::commission::explain::recomputed;
use crate::commission::store::load_plans;
use crate::commission::{CommissionKind, CommissionState, PlanVersion};
use crate::ids::{PlanVersionId, ProgramId};
use crate::money::{Currency, Money};

/// Judges whether each commission's stored inputs, by the edition that priced it, give every
/// stored step and its amount.
pub fn arithmetic<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let rows = load_arithmetic(db, at).await?;
        let programs: BTreeSet<ProgramId> = rows.iter().map(|r| r.program_id).collect();
        let programs: Vec<ProgramId> = programs.into_iter().collect();
        let plans = load_plans(db, &programs).await?;
        let plans: HashMap<PlanVersionId, PlanVersion> =
            plans.into_iter().map(|(_, version)| (version.id, version)).collect();
        let mut tally = Tally::new("commission", at);
        for row in &rows {
            if let Some(wrong) = judge_arithmetic(row, &plans) {
                tally.look(row.program_id.0, &row.commission_id.to_string(), wrong);
            }
        }
        let last = rows.last().map(|r| (r.program_id.0, r.commission_id));
        Ok(tally.end(rows.len(), last))
    }
    .boxed()
}

/// Returns none where nothing is stored to reckon from: a correction that only takes the rest.
fn judge_arithmetic(
    row: &ArithmeticRow,
    plans: &HashMap<PlanVersionId, PlanVersion>,
) -> Option<Option<Value>> {
    let stored = &row.calculation;
    let kind = CommissionKind::from_code(&row.kind)?;
    stored.get("total")?;
    let version = row.plan_version_id.and_then(|id| plans.get(&id));
    let again = version.and_then(|version| recomputed(stored, version));
    let (total, amount) = (told_total(stored), shown(row.amount_minor, &row.currency));
    // A recruiter's row keeps what it was opened with; what it follows is judged by its net.
    let is_amount = kind != CommissionKind::Earned || is_over(&row.state) || total == amount;
    let is_right = again.unwrap_or(true) && is_amount;
    Some((!is_right).then(|| {
        json!({
            "kind": row.kind, "state": row.state, "amount": amount, "stored_total": total,
            "recomputed_equal": again,
        })
    }))
}

/// Judges whether what a partner has of each commission, corrections included, is what its latest
/// arithmetic says.
pub fn nets<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let rows = load_nets(db, at).await?;
        let mut tally = Tally::new("commission", at);
        for row in &rows {
            if let Some(expected) = expected_net(row) {
                let net = shown(row.net_minor, &row.currency);
                let wrong = (net.as_ref() != Some(&expected)).then(|| {
                    json!({
                        "kind": row.kind, "state": row.state, "net": net,
                        "by_arithmetic": expected,
                    })
                });
                tally.look(row.program_id.0, &row.commission_id.to_string(), wrong);
            }
        }
        let last = rows.last().map(|r| (r.program_id.0, r.commission_id));
        Ok(tally.end(rows.len(), last))
    }
    .boxed()
}

/// Returns what a partner should have; none for corrections, for what is over, and where a person
/// took something back by hand.
fn expected_net(row: &NetRow) -> Option<String> {
    let kind = CommissionKind::from_code(&row.kind)?;
    if is_over(&row.state) {
        return None;
    }
    match kind {
        CommissionKind::Earned if row.is_ended && !row.is_refunded => None,
        CommissionKind::Earned | CommissionKind::Recruiter if row.is_refunded => {
            shown(0, &row.currency)
        }
        CommissionKind::Earned => told_total(&row.arithmetic),
        CommissionKind::Recruiter => {
            let part = row.followed.as_ref()?.get("recruiter")?.get("amount")?;
            Some(part.as_str()?.to_owned())
        }
        CommissionKind::Clawback | CommissionKind::Adjustment | CommissionKind::TrueUp => None,
    }
}

fn is_over(state: &str) -> bool {
    [CommissionState::Rejected, CommissionState::Reversed].iter().any(|s| s.code() == state)
}

fn told_total(stored: &Value) -> Option<String> {
    Some(stored.get("total")?.as_str()?.to_owned())
}

/// Writes minor units as arithmetic is stored: two texts are compared, so nothing is parsed.
fn shown(minor: i64, currency: &str) -> Option<String> {
    let currency: Currency = currency.parse().ok()?;
    Some(Money::new(minor, currency).to_decimal_string())
}

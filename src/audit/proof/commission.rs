//! Reckons every commission again from what is stored with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Tally;
use crate::audit::store::commission::{ArithmeticRow, find_roots, load_arithmetic};
use crate::audit::{At, CheckError, Page};
use crate::commission::explain::proof::{Family, Proof, group_by_root, steps_hold};
use crate::commission::store::{Filter, load, load_following, load_plans};
use crate::commission::{Commission, CommissionKind, CommissionState, PlanVersion};
use crate::ids::{CommissionId, PlanVersionId, ProgramId};
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
    let again = version.and_then(|version| steps_hold(stored, version));
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
        let rows = find_roots(db, at).await?;
        let mut roots: BTreeMap<ProgramId, Vec<CommissionId>> = BTreeMap::new();
        for (program_id, _, root) in &rows {
            roots.entry(*program_id).or_default().extend(root);
        }
        let mut tally = Tally::new("commission", at);
        for (program_id, ids) in roots {
            let versions = load_plans(db, &[program_id]).await?;
            let versions: Vec<PlanVersion> = versions.into_iter().map(|(_, one)| one).collect();
            for family in load_families(db, program_id, &ids).await? {
                for (id, proof) in family.proofs(&versions) {
                    let wrong = match proof {
                        Proof::OtherAmount { expected, found } => Some(json!({
                            "by_arithmetic": expected.to_string(), "found": found.to_string(),
                        })),
                        // Steps are another invariant's.
                        Proof::Holds | Proof::OtherSteps => None,
                        Proof::NoInputs => continue,
                    };
                    tally.look(program_id.0, &id.0.to_string(), wrong);
                }
            }
        }
        let last = rows.last().map(|(program, id, _)| (program.0, *id));
        Ok(tally.end(rows.len(), last))
    }
    .boxed()
}

/// Loads what was earned with all that followed it.
async fn load_families(
    db: &mut PgConnection,
    program_id: ProgramId,
    ids: &[CommissionId],
) -> Result<Vec<Family>, sqlx::Error> {
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), ids: Some(ids), ..Filter::default() };
    let roots = load(db, filter, at_most(ids)).await?;
    let mut following = group_by_root(load_following(db, program_id, ids).await?);
    let family = |root: Commission| Family {
        followers: following.remove(&root.commission_id).unwrap_or_default(),
        root,
    };
    Ok(roots.into_iter().map(family).collect())
}

fn at_most(ids: &[CommissionId]) -> i64 {
    i64::try_from(ids.len()).unwrap_or(i64::MAX)
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

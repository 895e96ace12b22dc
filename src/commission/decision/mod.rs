//! What a person's decision about a commission does, to it and to what its recruiter has of it.

pub mod bulk_http;
pub mod http;

use crate::commission::row::{Commission, Hand, NoStep, Step};
use crate::commission::state::{Action, CommissionKind, CommissionState, Standing};

/// Decides an action; `following` are the rows that follow the commission, perhaps among others.
pub fn decide(
    of: &Commission,
    following: &[Commission],
    action: Action,
    standing: Standing,
    by: &Hand,
) -> Result<Vec<Step>, NoStep> {
    let has_corrections = corrections(of, following).next().is_some();
    let mut steps = vec![of.take(action, standing, has_corrections, by.clone())?];
    // What befalls a partner's commission befalls what its recruiter has of it.
    let recruiters = following.iter().filter(|row| {
        row.kind == CommissionKind::Recruiter && row.corrects_id == Some(of.commission_id)
    });
    for row in recruiters {
        steps.extend(follow(row, of, following, action, by)?);
    }
    Ok(steps)
}

fn corrections<'a>(
    of: &Commission,
    following: &'a [Commission],
) -> impl Iterator<Item = &'a Commission> {
    let id = of.commission_id;
    following.iter().filter(move |row| row.corrects_id == Some(id) && !row.kind.is_earned())
}

/// Brings a recruiter's commission along; one that a payout holds is clawed back where the
/// partner's is reversed. One that a person decided about for itself stays as it is.
fn follow(
    row: &Commission,
    of: &Commission,
    following: &[Commission],
    action: Action,
    by: &Hand,
) -> Result<Option<Step>, NoStep> {
    let has_corrections = corrections(row, following).next().is_some();
    if let Ok(step) = row.take(action, Standing::Good, has_corrections, by.clone()) {
        return Ok(Some(step));
    }
    let is_owed = matches!(row.state, CommissionState::Approved | CommissionState::Paid);
    let Action::Reverse(reason) = action else { return Ok(None) };
    let net = corrections(row, following)
        .try_fold(row.amount, |sum, correction| sum.checked_add(correction.amount))?;
    if !is_owed || !net.is_positive() {
        return Ok(None);
    }
    let cause = format!("reversed:{}", of.commission_id);
    row.correct(CommissionKind::Clawback, net.checked_neg()?, cause, Some(reason), by.clone())
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::plan::Approval;
    use crate::commission::state::Reason;
    use crate::ids::{CommissionId, ConversionId, PartnerId, PayoutId, ProgramId};
    use crate::money::Money;

    fn row(kind: CommissionKind, minor: i64, of: Option<CommissionId>) -> Commission {
        let at = "2026-11-02T00:00:00Z".parse().unwrap();
        Commission {
            program_id: ProgramId::new(),
            commission_id: CommissionId::new(),
            kind,
            state: CommissionState::Approved,
            partner_id: PartnerId::new(),
            conversion_id: Some(ConversionId::new()),
            corrects_id: of,
            cause: String::new(),
            amount: Money::new(minor, "EUR".parse().unwrap()),
            plan_version_id: None,
            calculation: serde_json::json!({}),
            occurred_at: at,
            hold_until: at,
            approval: Approval::Auto,
            created_at: at,
            approved_at: Some(at),
            reason: None,
            payout_id: None,
            revision: 1,
        }
    }

    #[test]
    fn what_a_payout_holds_of_a_recruiter_is_clawed_back_when_the_sale_is_reversed() {
        use CommissionKind::{Clawback, Earned, Recruiter};
        use CommissionState::{Approved, Reversed};
        let of = row(Earned, 2_000, None);
        let free = row(Recruiter, 200, Some(of.commission_id));
        let held = Commission { payout_id: Some(PayoutId::new()), ..free.clone() };
        let part = row(Clawback, -50, Some(held.commission_id));
        let by = Hand { actor: "user".into(), rule: "manual", note: None, at: of.occurred_at };
        let said = |following: &[Commission]| -> Vec<(CommissionKind, CommissionState, i64)> {
            let action = Action::Reverse(Reason::Fraud);
            let steps = decide(&of, following, action, Standing::Good, &by).unwrap();
            steps.iter().map(|s| (s.after.kind, s.after.state, s.after.amount.minor)).collect()
        };
        let own = (Earned, Reversed, 2_000);
        assert_eq!(said(&[]), [own]);
        assert_eq!(said(std::slice::from_ref(&free)), [own, (Recruiter, Reversed, 200)]);
        assert_eq!(said(std::slice::from_ref(&held)), [own, (Clawback, Approved, -200)]);
        assert_eq!(said(&[held, part]), [own, (Clawback, Approved, -150)]);
    }
}

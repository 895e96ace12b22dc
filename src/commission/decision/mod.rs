//! What a person's decision about a commission does, to it and to what its recruiter has of it.

pub mod bulk_http;
mod deed_http;
pub mod http;
pub mod store;

use crate::commission::row::{Commission, Hand, NoStep, Step};
use crate::commission::state::{Action, CommissionKind, CommissionState, Reason, Standing};
use crate::money::{Money, MoneyError, Rounding};

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

/// Lets the hold of a commission last longer, and that of what its recruiter has of it.
pub fn extend(
    of: &Commission,
    following: &[Commission],
    days: u16,
    reason: Reason,
    by: &Hand,
) -> Result<Vec<Step>, NoStep> {
    let mut steps = vec![of.extend(days, reason, by.clone())?];
    let recruiters = following.iter().filter(|row| {
        row.kind == CommissionKind::Recruiter && row.corrects_id == Some(of.commission_id)
    });
    steps.extend(recruiters.filter_map(|row| row.extend(days, reason, by.clone()).ok()));
    Ok(steps)
}

/// Returns what is left of a commission after all its corrections.
pub fn left(of: &Commission, following: &[Commission]) -> Result<Money, MoneyError> {
    corrections(of, following).try_fold(of.amount, |sum, row| sum.checked_add(row.amount))
}

/// Takes back a part of what was approved, or all that is left: at most [`left`], and above zero.
///
/// The partner's row and those of its recruiter are never edited; each gets a clawback, the
/// recruiter's in the same proportion. The first step opens the partner's; the last ones note in the
/// history of what was taken from that it was.
pub fn claw_back(
    of: &Commission,
    following: &[Commission],
    take: Money,
    reason: Reason,
    by: &Hand,
) -> Result<Vec<Step>, NoStep> {
    of.check(Action::ClawBack(reason), by.at)?;
    let all = left(of, following)?;
    let latest = corrections(of, following).max_by_key(|row| row.commission_id);
    let arithmetic = latest.map_or(&of.calculation, |row| &row.calculation);
    let number = corrections(of, following).count();
    let mut steps = vec![of.take_back(take, number, arithmetic, reason, by.clone())?];
    steps.push(of.note(by.clone()));
    let recruiters = following.iter().filter(|row| {
        row.kind == CommissionKind::Recruiter && row.corrects_id == Some(of.commission_id)
    });
    for row in recruiters.filter(|row| row.check(Action::ClawBack(reason), by.at).is_ok()) {
        let part = left(row, following)?.mul_ratio(take.minor, all.minor, Rounding::HalfEven)?;
        if part.is_positive() {
            let number = corrections(row, following).count();
            steps.push(row.take_back(part, number, &row.calculation, reason, by.clone())?);
            steps.push(row.note(by.clone()));
        }
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
    let net = left(row, following)?;
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
    use crate::ids::{CommissionId, ConversionId, PartnerId, PayoutId, ProgramId};

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
            calculation: serde_json::json!({}).into(),
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
    fn a_part_is_taken_back_of_the_partner_and_of_its_recruiter_and_neither_row_is_edited() {
        use CommissionKind::{Clawback, Earned, Recruiter};
        let of = row(Earned, 2_000, None);
        let recruiter = row(Recruiter, 200, Some(of.commission_id));
        let before = row(Clawback, -500, Some(of.commission_id));
        let by = Hand { actor: "user".into(), rule: "manual", note: None, at: of.occurred_at };
        let following = [recruiter, before];
        assert_eq!(left(&of, &following).unwrap().minor, 1_500);
        let take = Money::new(300, of.amount.currency);
        let steps = claw_back(&of, &following, take, Reason::Fraud, &by).unwrap();
        let said: Vec<_> = steps
            .iter()
            .map(|s| (s.after.kind, s.after.amount.minor, s.after.revision, s.posting.is_some()))
            .collect();
        assert_eq!(
            said,
            [
                (Clawback, -300, 1, true),
                (Earned, 2_000, 2, false),
                (Clawback, -40, 1, true),
                (Recruiter, 200, 2, false),
            ]
        );
        assert!(steps[0].after.is_by_hand() && !following[1].is_by_hand());
        assert_ne!(steps[0].after.cause, steps[2].after.cause);
        let pending = Commission { state: CommissionState::Pending, ..of };
        assert!(claw_back(&pending, &[], take, Reason::Fraud, &by).is_err());
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

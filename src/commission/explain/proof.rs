//! Proof that what a partner has of a conversion is what the stored inputs come to: amendments,
//! clawbacks, adjustments and the recruiter's part included.
//!
//! The arithmetic that holds is that of the latest correction, or the commission's own; a
//! correction that keeps none took back all that was left. Reckoned again it must come to the same
//! steps, and its total, less what a person took back, to the row and its corrections together.

use std::collections::HashMap;

use serde_json::Value;

use crate::commission::plan::{Calculation, PlanVersion, wire};
use crate::commission::row::due;
use crate::commission::{Commission, CommissionKind, CommissionState};
use crate::ids::CommissionId;
use crate::money::Money;

/// The steps of a calculation that are compared, by their names in the store.
const STEPS: [&str; 9] =
    ["rule", "base", "slices", "flat", "limit", "whole", "caps", "total", "currency"];

/// A commission that a conversion earned, with all rows that follow it.
#[derive(Clone, Debug)]
pub struct Family {
    /// What was earned.
    pub root: Commission,
    /// Its corrections, its recruiter's commission, and the corrections of that.
    pub followers: Vec<Commission>,
}

/// What reckoning again says of a commission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It comes to the same.
    Holds,
    /// An older release stored no inputs, or the edition is not there: nothing to reckon from.
    NoInputs,
    /// A step comes to something else than what is stored.
    OtherSteps,
    /// The partner has something else than the arithmetic says.
    OtherAmount {
        /// What the arithmetic says.
        expected: Money,
        /// What the row and its corrections come to.
        found: Money,
    },
}

/// What the arithmetic of a commission says now.
enum Says {
    /// It was reckoned so.
    Something(Box<Calculation>),
    /// All of it went back.
    Nothing,
}

impl Proof {
    /// Returns whether it comes to the same; none where there is nothing to reckon from.
    pub fn holds(self) -> Option<bool> {
        match self {
            Self::Holds => Some(true),
            Self::NoInputs => None,
            Self::OtherSteps | Self::OtherAmount { .. } => Some(false),
        }
    }
}

impl Family {
    /// Proves what was earned, and what the recruiter has of it; each with its row.
    pub fn proofs(&self, versions: &[PlanVersion]) -> Vec<(CommissionId, Proof)> {
        let root = &self.root;
        let version = versions.iter().find(|version| Some(version.id) == root.plan_version_id);
        let recruiters = self.followers.iter().filter(|row| row.kind == CommissionKind::Recruiter);
        let rows = std::iter::once(root).chain(recruiters);
        match version.map(|version| self.says(version)) {
            None | Some(Err(Proof::NoInputs)) => {
                rows.map(|row| (row.commission_id, Proof::NoInputs)).collect()
            }
            Some(Err(wrong)) => rows.map(|row| (row.commission_id, wrong)).collect(),
            Some(Ok(says)) => {
                rows.map(|row| (row.commission_id, self.compare(row, &says))).collect()
            }
        }
    }

    /// Proves one of the rows; a correction stands and falls with what it corrects.
    pub fn proof(&self, of: CommissionId, versions: &[PlanVersion]) -> Proof {
        let row = self.followers.iter().find(|row| row.commission_id == of);
        let proven = row.filter(|row| !row.kind.is_earned()).and_then(|row| row.corrects_id);
        let proven = proven.unwrap_or(of);
        let proofs = self.proofs(versions);
        proofs.iter().find(|(id, _)| *id == proven).map_or(Proof::NoInputs, |(_, proof)| *proof)
    }

    fn corrections(&self, of: CommissionId) -> impl Iterator<Item = &Commission> {
        let rows = self.followers.iter();
        rows.filter(move |row| row.corrects_id == Some(of) && !row.kind.is_earned())
    }

    /// Reckons the arithmetic that holds again, step by step.
    fn says(&self, version: &PlanVersion) -> Result<Says, Proof> {
        let own = &self.root.calculation;
        let latest = self.corrections(self.root.commission_id).max_by_key(|row| row.commission_id);
        let stored = latest.map_or(own, |row| &row.calculation);
        let (Some(_), is_bare) = (wire::from_wire(own), stored.get("inputs").is_none()) else {
            return Err(Proof::NoInputs);
        };
        if is_bare {
            return Ok(Says::Nothing);
        }
        match again(stored, version) {
            Some(Ok(again)) => Ok(Says::Something(Box::new(again))),
            Some(Err(wrong)) => Err(wrong),
            None => Err(Proof::NoInputs),
        }
    }

    fn compare(&self, row: &Commission, says: &Says) -> Proof {
        // Nothing is owed for what is over, whatever it was before.
        if matches!(row.state, CommissionState::Rejected | CommissionState::Reversed) {
            return Proof::Holds;
        }
        let zero = Money::zero(row.amount.currency);
        let expected = match (says, row.kind == CommissionKind::Recruiter) {
            (Says::Nothing, _) => zero,
            (Says::Something(of), false) => of.total,
            (Says::Something(of), true) => of.recruiter.map_or(zero, |part| part.amount),
        };
        let corrections = self.corrections(row.commission_id).map(|row| row.amount);
        let found = corrections
            .into_iter()
            .try_fold(row.amount, |sum, amount| sum.checked_add(amount))
            .unwrap_or(row.amount);
        // What a person took back comes off, and never more than there is.
        let by_hand = self.corrections(row.commission_id).filter(|row| row.is_by_hand());
        let by_hand: i64 = by_hand.map(|row| row.amount.minor).sum();
        let expected = due(expected, by_hand);
        if expected == found { Proof::Holds } else { Proof::OtherAmount { expected, found } }
    }
}

/// Puts rows that follow to the commissions that they follow in the end: what corrects a
/// recruiter's commission belongs to that of the partner.
pub fn group_by_root(following: Vec<Commission>) -> HashMap<CommissionId, Vec<Commission>> {
    let recruiters: HashMap<CommissionId, CommissionId> = following
        .iter()
        .filter(|row| row.kind == CommissionKind::Recruiter)
        .filter_map(|row| Some((row.commission_id, row.corrects_id?)))
        .collect();
    let mut groups: HashMap<CommissionId, Vec<Commission>> = HashMap::new();
    for row in following {
        let Some(of) = row.corrects_id else { continue };
        groups.entry(recruiters.get(&of).copied().unwrap_or(of)).or_default().push(row);
    }
    groups
}

/// Tells whether stored inputs come to the stored steps again; none where no inputs are stored.
pub fn steps_hold(stored: &Value, version: &PlanVersion) -> Option<bool> {
    Some(again(stored, version)?.is_ok())
}

/// Reckons stored inputs again and compares each step; `None` where no inputs are stored.
fn again(stored: &Value, version: &PlanVersion) -> Option<Result<Calculation, Proof>> {
    let Ok(again) = wire::recompute(stored, &version.terms)? else {
        return Some(Err(Proof::OtherSteps));
    };
    let wire = wire::to_wire(&again, version.id, &version.terms);
    let is_same = STEPS.iter().all(|name| stored.get(name) == wire.get(name));
    Some(if is_same { Ok(again) } else { Err(Proof::OtherSteps) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::plan::{
        Approval, Circumstances, EventKind, Inputs, PlanDocument, PlanTerms, PriceFacts, Sum, price,
    };
    use crate::ids::{ConversionId, PartnerId, PlanVersionId, ProgramId};

    fn eur(minor: i64) -> Money {
        Money::new(minor, "EUR".parse().unwrap())
    }

    fn version() -> PlanVersion {
        let json = serde_json::json!({"v": 1, "recruiter": {"percent_bps": 1000},
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]});
        let document: PlanDocument = serde_json::from_value(json).unwrap();
        let effective_from = "2026-11-01T00:00:00Z".parse().unwrap();
        let terms = PlanTerms::try_from(&document).unwrap();
        PlanVersion { id: PlanVersionId::new(), effective_from, terms: terms.into() }
    }

    fn priced(version: &PlanVersion, refunded: Option<i64>) -> Calculation {
        let facts = PriceFacts::new(EventKind::Sale, Some(eur(10_000)));
        let mut around = Circumstances::new(PartnerId::new(), version.effective_from);
        around.recruiter = Some(PartnerId::new());
        let inputs = Inputs { refunded: refunded.map(eur), ..Inputs::new(facts, around) };
        price(&version.terms, &inputs, |_| Sum::default()).unwrap()
    }

    fn row(kind: CommissionKind, minor: i64, corrects_id: Option<CommissionId>) -> Commission {
        let at = "2026-11-02T00:00:00Z".parse().unwrap();
        Commission {
            program_id: ProgramId::new(),
            commission_id: CommissionId::new(),
            kind,
            state: CommissionState::Approved,
            partner_id: PartnerId::new(),
            conversion_id: Some(ConversionId::new()),
            corrects_id,
            cause: String::new(),
            amount: eur(minor),
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

    /// A sale of 100.00 at 20 %, its recruiter at 10 % of that, both taken back by this much.
    fn family(version: &PlanVersion, takes: (i64, i64), left: Option<Calculation>) -> Family {
        let mut root = row(CommissionKind::Earned, 2_000, None);
        root.plan_version_id = Some(version.id);
        root.calculation = wire::to_wire(&priced(version, None), version.id, &version.terms).into();
        let recruiter = row(CommissionKind::Recruiter, 200, Some(root.commission_id));
        let mut back = row(CommissionKind::Clawback, -takes.0, Some(root.commission_id));
        if let Some(left) = left {
            back.calculation = wire::to_wire(&left, version.id, &version.terms).into();
        }
        let part = row(CommissionKind::Clawback, -takes.1, Some(recruiter.commission_id));
        Family { root, followers: vec![back, recruiter, part] }
    }

    #[test]
    fn corrections_are_proven_with_what_they_correct() {
        let version = version();
        let versions = [version.clone()];
        let half = || Some(priced(&version, Some(5_000)));
        let differs =
            |expected, found| Proof::OtherAmount { expected: eur(expected), found: eur(found) };
        for (takes, left, of_partner, of_recruiter) in [
            ((1_000, 100), half(), Proof::Holds, Proof::Holds),
            ((2_000, 200), None, Proof::Holds, Proof::Holds),
            ((1_001, 100), half(), differs(1_000, 999), Proof::Holds),
            ((1_000, 0), half(), Proof::Holds, differs(100, 200)),
            ((1_900, 200), None, differs(0, 100), Proof::Holds),
        ] {
            let family = family(&version, takes, left);
            let proofs: Vec<Proof> = family.proofs(&versions).into_iter().map(|p| p.1).collect();
            assert_eq!(proofs, [of_partner, of_recruiter]);
            let correction = family.followers[0].commission_id;
            assert_eq!(family.proof(correction, &versions), of_partner);
        }
    }

    #[test]
    fn a_step_that_was_changed_is_found_and_what_has_no_inputs_is_said() {
        let version = version();
        let versions = [version.clone()];
        let mut changed = family(&version, (2_000, 200), None);
        changed.followers.remove(0);
        changed.followers.pop();
        assert_eq!(changed.proof(changed.root.commission_id, &versions), Proof::Holds);
        changed.root.calculation.set("base", "99.00".into());
        assert_eq!(changed.proof(changed.root.commission_id, &versions).holds(), Some(false));
        changed.root.calculation = serde_json::json!({"total": "20.00"}).into();
        assert_eq!(changed.proof(changed.root.commission_id, &versions).holds(), None);
        changed.root.plan_version_id = None;
        assert_eq!(changed.proof(changed.root.commission_id, &versions), Proof::NoInputs);
    }
}

//! What a person wants to be done to a commission, as requests say it, and what comes of it.

use std::collections::HashSet;

use super::{claw_back, decide, extend, left};
use crate::commission::plan::HOLD_DAYS_MAX;
use crate::commission::state::{Action, ActionCode, IllegalTransition, Reason, Standing};
use crate::commission::{Commission, Hand, NoStep, Step};
use crate::ids::CommissionId;
use crate::money::{AmountRule, Money};
use crate::web::{Code, Problem};

/// What a person can do with a commission; each is a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Approve,
    Reject,
    Hold,
    Release,
    Extend,
    Reverse,
    Clawback,
}

impl Verb {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Approve,
        Self::Reject,
        Self::Hold,
        Self::Release,
        Self::Extend,
        Self::Reverse,
        Self::Clawback,
    ];

    /// Returns the word in requests: the last part of its route.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Extend => "extend",
            Self::Reverse => "reverse",
            Self::Clawback => "clawback",
        }
    }

    /// Reads the word.
    pub(super) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.code() == code)
    }

    /// Returns the action of the state machine; all but approve and release need a reason.
    pub(super) fn action(self, reason: Option<&str>) -> Result<Action, Problem> {
        let reason = || {
            let codes: Vec<&str> = Reason::ALL.iter().map(|r| r.code()).collect();
            let detail = format!("is needed: one of {}", codes.join(", "));
            reason
                .and_then(Reason::from_code)
                .ok_or_else(|| Problem::new(Code::InvalidField).error("/reason", detail))
        };
        Ok(match self {
            Self::Approve => Action::Approve,
            Self::Release => Action::Release,
            Self::Reject => Action::Reject(reason()?),
            Self::Hold => Action::Hold(reason()?),
            Self::Extend => Action::Extend(reason()?),
            Self::Reverse => Action::Reverse(reason()?),
            Self::Clawback => Action::ClawBack(reason()?),
        })
    }

    pub(super) fn audited(self) -> &'static str {
        match self {
            Self::Approve => "commission.approve",
            Self::Reject => "commission.reject",
            Self::Hold => "commission.hold",
            Self::Release => "commission.release",
            Self::Extend => "commission.extend",
            Self::Reverse => "commission.reverse",
            Self::Clawback => "commission.clawback",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    pub(super) verb: Verb,
    pub(super) action: Action,
    /// By how many days a hold is extended.
    days: Option<u16>,
}

/// What is known beside the commission.
pub(super) struct Around<'a> {
    /// What follows it.
    pub(super) following: &'a [Commission],
    /// How its partner stands.
    pub(super) standing: Standing,
    /// Commissions whose hold was extended before.
    pub(super) extended: &'a HashSet<CommissionId>,
}

impl Deed {
    /// Reads what is to be done.
    pub(super) fn read(
        verb: Verb,
        reason: Option<&str>,
        days: Option<u16>,
    ) -> Result<Self, Problem> {
        let wrong = |why: String| Err(Problem::new(Code::InvalidField).error("/days", why));
        match (verb == Verb::Extend, days) {
            (true, Some(1..=HOLD_DAYS_MAX)) | (false, None) => {}
            (true, _) => return wrong(format!("is needed: 1 to {HOLD_DAYS_MAX}")),
            (false, Some(_)) => return wrong("is for extend alone".to_owned()),
        }
        Ok(Self { verb, action: verb.action(reason)?, days })
    }

    /// Decides it; `amount` says how much is to be clawed back, all that is left where it does not.
    pub(super) fn decide(
        &self,
        of: &Commission,
        amount: Option<&str>,
        around: &Around<'_>,
        by: &Hand,
    ) -> Result<Vec<Step>, Problem> {
        let Around { following, standing, extended } = around;
        let id = of.commission_id;
        if amount.is_some() && self.verb != Verb::Clawback {
            let why = "is for clawback alone";
            return Err(Problem::new(Code::InvalidField).error("/amount", why));
        }
        let reason = self.action.reason().unwrap_or(Reason::Other);
        let steps = match self.verb {
            Verb::Clawback => {
                let legal = of.check(self.action, by.at);
                legal.map_err(|e| refused(id, e, *standing))?;
                let take = read_amount(of, following, amount)?;
                claw_back(of, following, take, reason, by)
            }
            Verb::Extend if extended.contains(&id) => {
                return Err(Problem::new(Code::InvalidTransition)
                    .detail(format!("The hold of {id} was extended before; it is extended once."))
                    .with("state", of.state.code())
                    .with("allowed", ["approve", "hold", "reject"]));
            }
            Verb::Extend => extend(of, following, self.days.unwrap_or_default(), reason, by),
            Verb::Approve | Verb::Reject | Verb::Hold | Verb::Release | Verb::Reverse => {
                decide(of, following, self.action, *standing, by)
            }
        };
        steps.map_err(|e| no_step(id, e, *standing))
    }

    /// Returns what the audit log keeps of it.
    pub(super) fn details(&self, of: &Commission, steps: &[Step], by: &Hand) -> serde_json::Value {
        let is_clawback = self.verb == Verb::Clawback;
        let taken = steps.first().filter(|_| is_clawback).map(|step| &step.after);
        serde_json::json!({
            "from": of.state.code(),
            "reason": self.action.reason().map(Reason::code),
            "note": by.note,
            "days": self.days,
            "amount": taken.map(|row| row.amount.to_decimal_string()),
            "clawback": taken.map(|row| row.commission_id),
        })
    }
}

/// Reads how much is to be taken back: above zero, and no more than is left.
fn read_amount(
    of: &Commission,
    following: &[Commission],
    amount: Option<&str>,
) -> Result<Money, Problem> {
    let wrong = |why: String| Problem::new(Code::InvalidField).error("/amount", why);
    let left = left(of, following).map_err(Problem::internal)?;
    if !left.is_positive() {
        return Err(Problem::new(Code::InvalidTransition)
            .detail(format!("All of {} was taken back before.", of.commission_id))
            .with("state", of.state.code())
            .with("allowed", [""; 0]));
    }
    let Some(text) = amount else { return Ok(left) };
    let take = Money::parse_amount(text, left.currency, AmountRule::Positive);
    let take = take.map_err(|e| wrong(e.to_string()))?;
    if take.minor > left.minor {
        return Err(wrong(format!("is more than the {left} that are left of it")));
    }
    Ok(take)
}

/// Says why a step cannot be taken.
fn no_step(id: CommissionId, error: NoStep, standing: Standing) -> Problem {
    match error {
        NoStep::Illegal(error) => refused(id, error, standing),
        NoStep::Posting(error) => Problem::internal(error),
        NoStep::Money(error) => Problem::internal(error),
    }
}

/// Tells what else a person could do, in the words of the routes.
fn refused(id: CommissionId, error: IllegalTransition, standing: Standing) -> Problem {
    use ActionCode::{Approve, ClawBack, Extend, Hold, Reject, Release, Reverse};
    let routes = [Approve, Hold, Reject, Release, Extend, Reverse, ClawBack];
    let allowed: Vec<&str> =
        routes.into_iter().filter(|r| error.allowed.contains(r)).map(ActionCode::code).collect();
    let why = match standing {
        Standing::Good => "",
        Standing::Blocked => " and its partner is blocked or not active in the program",
    };
    let (state, action) = (error.state.code(), error.action.code());
    Problem::new(Code::InvalidTransition)
        .detail(format!("{id} is {state}{why}: {action} is not possible."))
        .with("state", state)
        .with("allowed", allowed)
}

/// Refuses a decision about a commission that was changed since it was read.
pub(super) fn check_version(of: &Commission, version: Option<i32>) -> Result<(), Problem> {
    if version.is_none_or(|version| version == of.revision) {
        return Ok(());
    }
    Err(Problem::new(Code::PreconditionFailed)
        .detail("The commission was changed meanwhile. Read it again, then decide.")
        .with("version", of.revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::CommissionState;

    #[test]
    fn whoever_takes_something_away_says_why() {
        for (verb, needs_reason) in [
            (Verb::Approve, false),
            (Verb::Release, false),
            (Verb::Reject, true),
            (Verb::Hold, true),
            (Verb::Extend, true),
            (Verb::Reverse, true),
            (Verb::Clawback, true),
        ] {
            assert_eq!(verb.action(None).is_err(), needs_reason, "{verb:?}");
            assert_eq!(verb.action(Some("because")).is_err(), needs_reason, "{verb:?}");
            let action = verb.action(Some("fraud")).unwrap();
            assert_eq!(action.reason(), needs_reason.then_some(Reason::Fraud));
            assert_eq!(action.code().code(), verb.code());
            assert_eq!(verb.audited(), format!("commission.{}", verb.code()));
        }
    }

    #[test]
    fn days_are_for_a_hold_that_is_extended() {
        for (verb, days, is_good) in [
            (Verb::Extend, Some(30), true),
            (Verb::Extend, None, false),
            (Verb::Extend, Some(0), false),
            (Verb::Extend, Some(366), false),
            (Verb::Hold, Some(30), false),
            (Verb::Hold, None, true),
        ] {
            assert_eq!(Deed::read(verb, Some("other"), days).is_ok(), is_good, "{verb:?} {days:?}");
        }
    }

    #[test]
    fn a_refusal_names_only_what_has_a_route() {
        let error = IllegalTransition {
            state: CommissionState::Approved,
            action: ActionCode::Reject,
            allowed: vec![ActionCode::ClawBack, ActionCode::Reserve, ActionCode::Reverse],
        };
        let problem = refused(CommissionId::new(), error, Standing::Good);
        let body = serde_json::to_value(problem.body(None, None)).unwrap();
        assert_eq!(body["allowed"], serde_json::json!(["reverse", "clawback"]));
        assert_eq!(body["code"], "invalid-transition");
    }
}

//! Judges a claim: gathers the evidence, asks the verdict, applies it in one transaction.

use chrono::TimeDelta;
use serde_json::Value;

use crate::account::audit_store::{self, Entry};
use crate::claim::evidence::{Evidence, NamedClick, Order};
use crate::claim::store::{self, Parties};
use crate::claim::verdict::{Finding, judge};
use crate::claim::{Claim, DECISION_DAYS, NewClaim, Status};
use crate::click::click_id::ClickId;
use crate::clock::Timestamp;
use crate::commission::Hand;
use crate::commission::store::ApplyError;
use crate::db::DbTx;
use crate::ids::ClaimId;
use crate::settlement::decide::{Grant, Ground};
use crate::settlement::grant::{GrantError, grant};
use crate::signing::{Key, KeyRing};

/// The keys that judging needs: of click ids, and of customers.
pub type Keys<'a> = (&'a KeyRing, &'a Key);

/// When a claim is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// It was made now.
    Made,
    /// A person has not decided in time.
    Deadline,
}

/// What is known about a claim, and who claims it.
struct Known {
    evidence: Evidence,
    parties: Parties,
    /// The click that the partner names, if it is its own.
    click: Option<ClickId>,
}

/// Makes a claim and judges it; one that was made before is returned as it stands. None where the
/// partner is not enrolled.
pub async fn make(
    db: &mut DbTx,
    keys: Keys<'_>,
    said: NewClaim,
    created_by: String,
    now: Timestamp,
) -> Result<Option<(Claim, bool)>, ApplyError> {
    if store::find_parties(db, said.program_id, said.partner_id).await?.is_none() {
        return Ok(None);
    }
    let mut claim = Claim {
        claim_id: ClaimId::new(),
        said,
        status: Status::Open,
        reason: String::new(),
        sentence: String::new(),
        evidence: Value::Null,
        deadline_at: now + TimeDelta::days(DECISION_DAYS),
        conversion_id: None,
        commission_id: None,
        created_at: now,
        created_by,
        decided: None,
        decision_note: None,
    };
    // Two who send it at once meet here: the second waits, and finds it made.
    if !store::insert(db, &claim).await? {
        let filter = store::Filter {
            programs: Some(vec![claim.said.program_id.0]),
            partner_id: Some(claim.said.partner_id),
            order: Some((claim.said.event.clone(), claim.said.order_id.clone())),
            ..store::Filter::default()
        };
        let known = store::list(db, &filter, 1).await?.pop();
        return Ok(known.map(|claim| (claim, false)));
    }
    decide(db, keys, &mut claim, When::Made, now).await?;
    Ok(Some((claim, true)))
}

/// Judges a claim whose deadline has passed.
pub async fn close(
    db: &mut DbTx,
    keys: Keys<'_>,
    mut claim: Claim,
    now: Timestamp,
) -> Result<(), ApplyError> {
    decide(db, keys, &mut claim, When::Deadline, now).await
}

/// Accepts a claim by the word of a person. What another partner has earned must be taken back by
/// a decision of its own first.
pub async fn accept(
    db: &mut DbTx,
    keys: Keys<'_>,
    claim: &mut Claim,
    by: Hand,
    now: Timestamp,
) -> Result<(), GrantError> {
    let known = gather(db, keys.0, &claim.said, now).await?;
    let verdict = judge(&known.evidence, claim.said.partner_id);
    claim.evidence = known.evidence.to_json(claim.said.partner_id);
    let commission = match verdict.finding {
        Finding::Counted(id) => {
            claim.conversion_id = known.evidence.known().map(|o| o.conversion_id);
            id
        }
        Finding::Proven | Finding::Supported | Finding::Undecided | Finding::Contradicted => {
            give(db, keys, claim, &known, by.clone(), now).await?
        }
    };
    claim.commission_id = Some(commission);
    claim.status = Status::Accepted;
    claim.decision_note.clone_from(&by.note);
    claim.decided = Some((now, by.actor));
    Ok(store::update(db, claim).await?)
}

async fn decide(
    db: &mut DbTx,
    keys: Keys<'_>,
    claim: &mut Claim,
    when: When,
    now: Timestamp,
) -> Result<(), ApplyError> {
    let known = gather(db, keys.0, &claim.said, now).await?;
    let verdict = judge(&known.evidence, claim.said.partner_id);
    claim.reason = verdict.reason.to_owned();
    claim.sentence = verdict.sentence;
    claim.evidence = known.evidence.to_json(claim.said.partner_id);
    claim.conversion_id = known.evidence.known().map(|order| order.conversion_id);
    claim.status = match (verdict.finding, when) {
        (Finding::Counted(id), _) => {
            claim.commission_id = Some(id);
            Status::Accepted
        }
        (Finding::Proven, _) | (Finding::Supported, When::Deadline) => {
            let by = Hand { actor: "system".to_owned(), rule: "claim", note: None, at: now };
            match give(db, keys, claim, &known, by, now).await {
                Ok(id) => {
                    claim.commission_id = Some(id);
                    Status::Accepted
                }
                Err(GrantError::EarnsNothing(why)) => {
                    claim.reason = "earns_nothing".to_owned();
                    claim.sentence = format!("{} It earns nothing: {why}.", claim.sentence);
                    Status::Refused
                }
                Err(GrantError::Apply(error)) => return Err(error),
            }
        }
        (Finding::Contradicted, _) => Status::Refused,
        (Finding::Supported | Finding::Undecided, When::Made) => Status::Open,
        (Finding::Undecided, When::Deadline) => Status::Escalated,
    };
    let action = match claim.status {
        Status::Open => "claim.open",
        Status::Escalated => "claim.escalate",
        Status::Accepted => "claim.accept",
        Status::Refused => "claim.refuse",
    };
    if matches!(claim.status, Status::Accepted | Status::Refused) {
        claim.decided = Some((now, "system".to_owned()));
    }
    store::update(db, claim).await?;
    let entry = Entry::by_system(action, claim.claim_id)
        .program(claim.said.program_id)
        .details(serde_json::json!({"reason": claim.reason, "evidence": claim.evidence}));
    Ok(audit_store::record(db, entry, now).await?)
}

/// Makes the commission of a claim.
async fn give(
    db: &mut DbTx,
    keys: Keys<'_>,
    claim: &mut Claim,
    known: &Known,
    by: Hand,
    now: Timestamp,
) -> Result<crate::ids::CommissionId, GrantError> {
    let nothing = |why: &str| GrantError::EarnsNothing(why.to_owned());
    let conversion_id = match &known.evidence.order {
        Order::Known(order) => order.conversion_id,
        Order::Unknown => return Err(nothing("the shop has not reported the order")),
        Order::Several => return Err(nothing("several orders bear this name")),
    };
    claim.conversion_id = Some(conversion_id);
    let granted = Grant {
        ground: Some(Ground::Claim(claim.claim_id)),
        conversion_id,
        partner: known.parties.partner,
        click: known.click,
        by,
    };
    grant(db, keys, (claim.said.program_id, claim.said.partner_id), &granted, now).await
}

async fn gather(
    db: &mut DbTx,
    click_keys: &KeyRing,
    said: &NewClaim,
    now: Timestamp,
) -> Result<Known, sqlx::Error> {
    let parties = store::find_parties(db, said.program_id, said.partner_id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    let order = store::find_order(db, said).await?;
    let verified = said.click_id.as_deref().map(|text| (text, ClickId::verify(click_keys, text)));
    let (click, own) = match verified {
        None => (NamedClick::None, None),
        Some((_, Err(_))) => (NamedClick::NotOurs, None),
        Some((text, Ok(click)))
            if click.program == parties.program && click.partner == parties.partner =>
        {
            let key = click.to_uuid();
            let is_human = store::is_human_click(db, said.program_id, click.at, key).await?;
            let named = NamedClick::Own { text: text.to_owned(), at: click.at, is_human };
            (named, Some(click))
        }
        Some((_, Ok(_))) => (NamedClick::OfOthers, None),
    };
    let at = match &order {
        Order::Known(order) => order.occurred_at,
        Order::Unknown | Order::Several => said.occurred_at.unwrap_or(now),
    };
    let limits = store::find_limits(db, said.program_id, at).await?;
    let around = store::look_around(db, said, at, limits.window_days).await?;
    let evidence = Evidence {
        order,
        click,
        window_days: limits.window_days,
        min_seconds: limits.min_seconds,
        last_click_at: around.last_click_at,
        n_clicks_day: around.n_clicks_day,
        clicks_from: around.clicks_from,
        n_orders_near: around.n_orders_near,
        n_waiting: around.n_waiting,
    };
    Ok(Known { evidence, parties, click: own })
}

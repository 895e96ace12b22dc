//! The last look before time approves: facts from the store, the rules, what they say.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::fraud::store::{self, Review};
use crate::fraud::{Flag, Suspect, judge};
use crate::ids::{CommissionId, ProgramId};

/// Returns what is new against commissions whose hold is over. What a person has released is not
/// held again by the same rule.
pub async fn review(
    db: &mut PgConnection,
    due: &[(ProgramId, CommissionId)],
    now: Timestamp,
) -> Result<HashMap<CommissionId, Vec<Flag>>, sqlx::Error> {
    let programs: BTreeSet<ProgramId> = due.iter().map(|d| d.0).collect();
    let programs: Vec<ProgramId> = programs.into_iter().collect();
    let mut policies = store::load_policies(db, &programs).await?;
    policies.retain(|_, policy| policy.looks_back());
    let due: Vec<_> = due.iter().filter(|d| policies.contains_key(&d.0)).copied().collect();
    let rows = store::load_reviews(db, &due).await?;
    let place = |r: &Review| (r.program_id, r.partner_id);
    let mut refunds = Vec::new();
    let mut shares = Vec::new();
    for place in rows.iter().map(place).collect::<BTreeSet<_>>() {
        let policy = &policies[&place.0];
        let since = |days: u16| now - chrono::Duration::days(days.into());
        refunds.extend(policy.refund_rate.map(|limit| (place.0, place.1, since(limit.days))));
        shares.extend(policy.source_share.map(|limit| (place.0, place.1, since(limit.days))));
    }
    let refunds = store::load_refund_rates(db, &refunds).await?;
    let shares = store::load_top_sources(db, &shares).await?;
    let mut found = HashMap::new();
    for row in rows {
        let suspect = Suspect {
            click: row.click.clone(),
            n_in_hour: Some(row.n_in_hour),
            refunded: refunds.get(&place(&row)).copied(),
            top_source: shares.get(&place(&row)).cloned(),
            ..Suspect::default()
        };
        let mut flags = judge(&policies[&row.program_id], &suspect);
        flags.retain(|flag| !row.known.contains(&flag.rule));
        if !flags.is_empty() {
            found.insert(row.commission_id, flags);
        }
    }
    Ok(found)
}

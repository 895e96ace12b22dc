//! Counts again what tiers, caps and budgets go by: the sums of the periods that are open.

use std::collections::BTreeMap;

use chrono::{Days, NaiveTime};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use sqlx::PgConnection;

use super::Tally;
use crate::audit::store::plan::{find_members, has_earned_more_than, load_sums};
use crate::audit::{At, CheckError, Page};
use crate::clock::Timestamp;
use crate::commission::pricing::revalue::Terms;
use crate::commission::pricing::store::{ProgramPlans, load_clicks, load_earned, load_program};
use crate::commission::pricing::{SumKey, SumState};
use crate::ids::{PartnerId, ProgramId};

/// Commissions of a partner, or of a program that counts for all together, that are held at once.
const EARNED_MAX: i64 = 50_000;

/// Judges whether the sums of the open periods are what the commissions come to. What is marked to be
/// reckoned again is passed over: it says itself that it does not hold yet; so is
/// what is too much to be held in memory.
///
/// Numbers and amounts are proven of every open period; what was earned only of those that lie in no
/// period that began before. Where plans count by week and by month, a sale of the first days of a
/// month also counts in a week that began in the month before: what a cap of that week left of it
/// follows from the sales before, those from the week and month before them, and so on back to a
/// Monday that is the first of a month. On the way lie closed months, whose commissions stand as they
/// were reckoned when they closed: their arithmetic is kept where their amount stayed, and does not
/// tell what a later change would have taken from the cap. So there is no day from which on earned
/// parts could be told exactly, and they are left out rather than reported wrongly.
pub fn sums<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let members = find_members(db, at).await?;
        let mut tally = Tally::new("partner", at);
        let mut plans: BTreeMap<ProgramId, ProgramPlans> = BTreeMap::new();
        for member in &members {
            let program_id = member.program_id;
            let plans = match plans.entry(program_id) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(load_program(db, program_id).await?)
                }
            };
            if !plans.versions.iter().any(|version| version.terms.has_counters()) {
                continue;
            }
            let terms = terms(program_id, plans, at);
            let group = terms.group_of(member.partner_id);
            let waits = match group {
                Some(_) => member.is_marked,
                // Counted for all together: once, with the first.
                None => member.is_program_marked || !member.is_first,
            };
            let since = since(&terms);
            if waits || has_earned_more_than(db, program_id, group, since, EARNED_MAX).await? {
                continue;
            }
            let wrong = differs(db, &terms, group).await?;
            let wrong = wrong.map(|(key, kept, counted)| {
                json!({
                    "period": key.counter.period.code(), "since": key.start,
                    "counted": counted.volume.n, "kept": kept.volume.n,
                    "counted_minor": counted.volume.amount_minor,
                    "kept_minor": kept.volume.amount_minor,
                    "counted_earned_minor": counted.earned_minor,
                    "kept_earned_minor": kept.earned_minor,
                })
            });
            tally.look(program_id.0, &member.partner_id.0.to_string(), wrong);
        }
        let last = members.last().map(|member| (member.program_id.0, member.partner_id.0));
        Ok(tally.end(members.len(), last))
    }
    .boxed()
}

fn terms<'a>(program_id: ProgramId, plans: &'a ProgramPlans, at: &At<'_>) -> Terms<'a> {
    Terms {
        program_id,
        versions: &plans.versions,
        zone: plans.zone,
        fixed_until: plans.fixed_until,
        now: at.now,
    }
}

/// Returns from when on commissions may count for the periods that are open.
fn since(terms: &Terms<'_>) -> Timestamp {
    (terms.floor(terms.now) - Days::new(1)).and_time(NaiveTime::MIN).and_utc()
}

/// Returns the first sum of a group that is not what its commissions come to: what is kept, and what
/// they come to.
async fn differs(
    db: &mut PgConnection,
    terms: &Terms<'_>,
    group: Option<PartnerId>,
) -> Result<Option<(SumKey, SumState, SumState)>, CheckError> {
    let floor = terms.floor(terms.now);
    let since = since(terms);
    let program_id = terms.program_id;
    let earned = load_earned(db, program_id, group, since, terms.ask_customers()).await?;
    let clicks = load_clicks(db, program_id, group, since).await?;
    let kept = load_sums(db, program_id, group, floor).await?;
    // Arithmetic that cannot be done again is another invariant's.
    let Ok(again) = terms.revalue(&earned, &clicks, floor) else { return Ok(None) };
    let state = |sums: &BTreeMap<SumKey, SumState>, key: &SumKey| {
        sums.get(key).map(|state| SumState { last_at: None, ..*state }).unwrap_or_default()
    };
    let keys = kept.keys().chain(again.sums.keys());
    let mut states = keys.map(|key| (*key, state(&kept, key), state(&again.sums, key)));
    Ok(states.find(|(key, kept, counted)| {
        // What a period before left open can move what was earned, never what was sold.
        let is_sure = !again.counted_only.contains(key);
        kept.volume != counted.volume || is_sure && kept.earned_minor != counted.earned_minor
    }))
}

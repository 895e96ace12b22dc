//! Whether a day's report can be told at once, or a year of clicks has to be learned first.
//!
//! The daily run learns each program's yesterday, and reports find it. A program that nobody learned
//! (its first minute, an old day, a service without timers) takes seconds where it is large: as long
//! as that, a reader would hold a connection and one of the few places of readers, and ten readers
//! would learn the same ten times. Such a day is learned once, behind the scenes, and is kept; until
//! then the reader hears what is known so far. See `docs/decisions/0017`.

use sqlx::PgConnection;

use super::judgment::judged_day;
use super::learning::{first_day, goes_on_from};
use super::{kept_query, query};
use crate::report::{Params, Preparation, ReportError};

/// Days of partners that are learned while the reader waits: a hundred partners for half a year take
/// an eighth of a second.
const PARTNER_DAYS_MAX: i64 = 20_000;
/// Days that could be learned in the time in which the state of one partner is read back and its
/// week is found.
const STATE_DAYS: i64 = 80;

/// Tells whether what was kept of a day still holds.
pub async fn is_learned(db: &mut PgConnection, params: &Params) -> Result<bool, ReportError> {
    Ok(kept_query::read_known(db, params, judged_day(params)).await?.is_learned)
}

/// Returns what has to be learned before the reports of a day can be told; nothing where they can be
/// told now.
pub(super) async fn preparation(
    db: &mut PgConnection,
    params: &Params,
) -> Result<Option<Preparation>, ReportError> {
    let day = judged_day(params);
    let known = kept_query::read_known(db, params, day).await?;
    // Only days of the program's own time zone are kept; for others the reader waits.
    if known.is_learned || !known.is_own_zone {
        return Ok(None);
    }
    let began = query::read_beginning(db, params).await?;
    let head = kept_query::read_head_day(db, params, (goes_on_from(day, began), day)).await?;
    let from = head.unwrap_or_else(|| first_day(day, began));
    let partner_days = (day - from).num_days().saturating_mul(known.n_partners);
    // Going on from a week's end takes the states of all partners, too.
    let n_states = if head.is_some() { known.n_partners } else { 0 };
    let state_days = n_states.saturating_mul(STATE_DAYS);
    let is_long = partner_days.saturating_add(state_days) > PARTNER_DAYS_MAX;
    let program_id = params.program_id;
    Ok(is_long.then_some(Preparation { program_id, day, learned_until: known.learned_until }))
}

//! The waiting room: messages about an order that has not come yet.
//!
//! An approval, a refund or an update that overtakes its order waits and is applied when that
//! settles, whatever the order of arrival. It waits for so many hours, and only so many wait for
//! one program; what is given up, and what finds no place, becomes a dead letter that can be
//! replayed, and its receipt says so.

pub mod store;

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::clock::Timestamp;
use crate::db::Db;
use crate::ids::ProgramId;
use crate::metrics as metric;
use crate::settlement::order_store::{self, Locks};

/// Messages given up in one transaction.
const AT_ONCE_MAX: i64 = 500;

/// How long a message waits, and how many wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Hours until it is given up.
    pub hours: u64,
    /// Places of each program.
    pub places: i64,
}

/// How full the room of a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Messages that wait; counted only as far as it matters.
    pub n_waiting: i64,
    /// Places that there are.
    pub places: i64,
}

impl Room {
    /// Returns why no other message may wait; none while there is a place.
    pub fn refusal(&self) -> Option<String> {
        (self.n_waiting >= self.places).then(|| {
            format!(
                "its conversion has not come yet, and {} messages of this program wait for theirs \
                 already: replay it when the conversion is there",
                self.places
            )
        })
    }
}

/// Says why a message is given up.
fn overdue(hours: u64) -> String {
    format!(
        "it waited {hours} hours for its conversion, which has not come: replay it when the \
         conversion is there"
    )
}

/// Gives up what has waited too long; returns how many messages that were.
pub async fn give_up_due(db: &Db, bounds: Bounds, now: Timestamp) -> Result<u64, sqlx::Error> {
    let hours = i64::try_from(bounds.hours).ok().and_then(TimeDelta::try_hours);
    let Some(before) = hours.and_then(|hours| now.checked_sub_signed(hours)) else { return Ok(0) };
    let reason = overdue(bounds.hours);
    let mut n_given_up = 0;
    loop {
        let mut tx = db.begin().await?;
        let keys = store::find_due(&mut tx, before, AT_ONCE_MAX).await?;
        if keys.is_empty() {
            return Ok(n_given_up);
        }
        // A settler that lets them in at this moment is waited for, and then they are gone.
        let programs: BTreeSet<ProgramId> = keys.iter().map(|key| key.program_id).collect();
        let programs: Vec<ProgramId> = programs.into_iter().collect();
        order_store::lock_orders(&mut tx, Locks::OfOrders, &programs, &keys, &[]).await?;
        let given_up = store::take_due(&mut tx, &keys, before).await?;
        store::insert_letters(&mut tx, &given_up, &reason, now).await?;
        store::tell(&mut tx, &given_up, &reason, now).await?;
        tx.commit().await?;
        let n = given_up.len() as u64;
        metrics::counter!(metric::WAITING_ROOM_VERDICTS, "result" => "given_up").increment(n);
        n_given_up += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_full_when_every_place_is_taken() {
        for (n_waiting, places, is_full) in
            [(0, 0, true), (0, 1, false), (1, 1, true), (999, 1000, false), (1001, 1000, true)]
        {
            let room = Room { n_waiting, places };
            assert_eq!(room.refusal().is_some(), is_full, "{room:?}");
        }
    }
}

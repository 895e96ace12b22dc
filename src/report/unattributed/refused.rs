//! Calls that were refused because nobody knows who sent them: a row for each source, reason and hour.
//!
//! They are no conversions, and what they name is believed by nobody. But a shop that signs with an
//! old secret loses its sales without a word, and here its manager sees since when, how often, what
//! is to be mended, and which orders to ask for.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{SecretId, SourceId};
use crate::report::rows::{PageSize, Rows};
use crate::report::{Cell, Params, ReportError};

/// Reasons that say that a signature or a key is not the source's.
const BADLY_SIGNED: [&str; 5] = [
    "signature_unknown",
    "signature_missing",
    "signature_malformed",
    "secret_ended",
    "key_unknown",
];

/// Calls of a source, a reason and an hour.
pub(super) struct Refused {
    pub(super) hour: Timestamp,
    pub(super) source_id: SourceId,
    pub(super) source_name: String,
    pub(super) channel: String,
    pub(super) reason: String,
    pub(super) n_calls: i64,
    pub(super) first_at: Timestamp,
    pub(super) last_at: Timestamp,
    pub(super) behind_s: Option<i64>,
    pub(super) message_ids: Vec<String>,
    pub(super) order_ids: Vec<String>,
    pub(super) came_since: Vec<String>,
    pub(super) secret_id: Option<SecretId>,
    pub(super) secret_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
}

/// How many calls were refused, by what was wrong with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    n_badly_signed: i64,
    n_out_of_time: i64,
    n_while_disabled: i64,
}

impl Totals {
    fn add(&mut self, one: &Refused) {
        let n = match one.reason.as_str() {
            "timestamp_outside" => &mut self.n_out_of_time,
            "source_disabled" => &mut self.n_while_disabled,
            code => {
                debug_assert!(BADLY_SIGNED.contains(&code), "{code} has no total");
                &mut self.n_badly_signed
            }
        };
        *n = n.saturating_add(one.n_calls);
    }

    /// Returns them by name.
    pub(super) fn told(&self) -> [(&'static str, Cell); 4] {
        let [signed, time, disabled] =
            [self.n_badly_signed, self.n_out_of_time, self.n_while_disabled];
        let all = signed.saturating_add(time).saturating_add(disabled);
        [
            ("calls_refused", Cell::Int(all)),
            ("calls_badly_signed", Cell::Int(signed)),
            ("calls_out_of_time", Cell::Int(time)),
            ("calls_while_disabled", Cell::Int(disabled)),
        ]
    }
}

/// Reads them page by page; `row` makes a row of the report of each.
pub(super) async fn stream(
    db: &mut PgConnection,
    params: &Params,
    rows: &mut dyn Rows,
    row: fn(Refused) -> Vec<Cell>,
) -> Result<Totals, ReportError> {
    let (mut size, mut totals) = (PageSize::first(), Totals::default());
    let mut after = (params.window.from, Uuid::nil(), String::new(), String::new());
    loop {
        let found = load(db, params, &after, size.rows()).await?;
        let is_last = size.is_last(found.len());
        if let Some(last) = found.last() {
            after = (last.hour, last.source_id.0, last.channel.clone(), last.reason.clone());
        }
        found.iter().for_each(|one| totals.add(one));
        if !found.is_empty() {
            rows.take(found.into_iter().map(row).collect()).await?;
        }
        if is_last {
            return Ok(totals);
        }
        rows.expect_more().await?;
    }
}

async fn load(
    db: &mut PgConnection,
    params: &Params,
    (hour, source_id, channel, reason): &(Timestamp, Uuid, String, String),
    limit: i64,
) -> Result<Vec<Refused>, sqlx::Error> {
    sqlx::query_file_as!(
        Refused,
        "src/report/unattributed/refused.sql",
        params.program_id.0,
        params.window.from,
        params.window.to,
        hour,
        source_id,
        channel,
        reason,
        limit,
    )
    .fetch_all(db)
    .await
}

impl Refused {
    /// Says to a person what was wrong, what to do, and which orders it may be about.
    pub(super) fn sentence(&self) -> String {
        let (calls, were) = if self.n_calls == 1 { ("call", "was") } else { ("calls", "were") };
        let mut text = format!("{} {calls} {were} refused: {}", self.n_calls, self.why());
        if !self.order_ids.is_empty() {
            let orders: Vec<_> = self.order_ids.iter().map(|id| self.named(id)).collect();
            text.push_str(&format!("; unverified, orders named: {}", orders.join(", ")));
        }
        text
    }

    fn named(&self, order_id: &String) -> String {
        let came = if self.came_since.contains(order_id) { " (since reported)" } else { "" };
        format!("{order_id}{came}")
    }

    fn why(&self) -> String {
        let secret = match (self.secret_id, self.secret_at) {
            (Some(id), Some(at)) => format!("secret {id} of {}", at.date_naive()),
            (_, _) => "secret of the source".to_owned(),
        };
        match self.reason.as_str() {
            "signature_unknown" => format!(
                "no secret of the source makes their signature; see that the shop signs the raw \
                 body with {secret}, or make it a new one"
            ),
            "secret_ended" => {
                let ended = self.ended_at.map_or_else(
                    || "has ended".to_owned(),
                    |at| format!("ended on {}", at.date_naive()),
                );
                format!("they are signed with a secret that {ended}; the shop must use {secret}")
            }
            "signature_missing" => "they are not signed; the shop must sign them".to_owned(),
            "signature_malformed" => {
                "their signature cannot be read; see how the shop makes it".to_owned()
            }
            "timestamp_outside" => match self.behind_s {
                Some(s) if s >= 0 => format!(
                    "their time is up to {s} seconds behind ours; set the sender's clock, and let \
                     a retry sign anew"
                ),
                Some(s) => format!(
                    "their time is {} seconds ahead of ours; set the sender's clock",
                    s.unsigned_abs()
                ),
                None => "their time is too far from ours; set the sender's clock".to_owned(),
            },
            "key_unknown" => "their key is none of the source, or is missing; paste the address \
                              from its settings again"
                .to_owned(),
            "source_disabled" => {
                "the source is disabled; enable it, or let the shop stop".to_owned()
            }
            code => code.replace('_', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: &str, n_calls: i64) -> Refused {
        let at = "2026-11-22T10:00:00Z".parse().unwrap();
        Refused {
            hour: at,
            source_id: SourceId(Uuid::nil()),
            source_name: "shop".to_owned(),
            channel: "webhook".to_owned(),
            reason: reason.to_owned(),
            n_calls,
            first_at: at,
            last_at: at,
            behind_s: None,
            message_ids: Vec::new(),
            order_ids: Vec::new(),
            came_since: Vec::new(),
            secret_id: Some(SecretId(Uuid::nil())),
            secret_at: Some(at),
            ended_at: None,
        }
    }

    #[test]
    fn each_reason_says_what_to_do_and_which_orders_to_ask_for() {
        let named = Refused {
            order_ids: vec!["A-1".to_owned(), "A-2".to_owned()],
            came_since: vec!["A-2".to_owned()],
            ended_at: Some("2026-11-20T00:00:00Z".parse().unwrap()),
            ..refused("secret_ended", 41)
        };
        assert_eq!(
            named.sentence(),
            "41 calls were refused: they are signed with a secret that ended on 2026-11-20; the \
             shop must use secret sec_00000000000000000000000000 of 2026-11-22; unverified, orders \
             named: A-1, A-2 (since reported)"
        );
        let ahead = Refused { behind_s: Some(-400), ..refused("timestamp_outside", 1) };
        assert_eq!(
            ahead.sentence(),
            "1 call was refused: their time is 400 seconds ahead of ours; set the sender's clock"
        );
        for reason in BADLY_SIGNED.iter().chain(&["timestamp_outside", "source_disabled"]) {
            let sentence = refused(reason, 2).sentence();
            assert!(sentence.contains("; "), "{reason} says nothing to do: {sentence}");
        }
    }

    #[test]
    fn every_call_is_in_one_total() {
        let mut totals = Totals::default();
        for (reason, n) in [("key_unknown", 1), ("timestamp_outside", 2), ("source_disabled", 4)] {
            totals.add(&refused(reason, n));
        }
        let expected = Totals { n_badly_signed: 1, n_out_of_time: 2, n_while_disabled: 4 };
        assert_eq!(totals, expected);
        assert_eq!(totals.told()[0], ("calls_refused", Cell::Int(7)));
    }
}

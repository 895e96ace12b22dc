//! The audit: what must hold in a sound database, looked for in every row.
//!
//! An [`Invariant`] has a name that stays, a sentence of what it means, another of what to do when
//! it is broken, and a check. A check looks at a page of rows after a key and counts the broken
//! ones; it names the first of them by ids and figures, never by anything personal. Checks that a
//! query can do are queries ([`store`]); those that must reckon again are [`proof`]s. A run that
//! somebody asked for sees one moment of the database, that of the hour ([`hourly`]) a moment for
//! each check; neither can write anything ([`run`]).

pub mod hourly;
pub mod proof;
pub mod registry;
pub mod run;
pub mod store;
pub mod told;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{
    AdjustmentId, ClaimId, CommissionId, ConversionId, CouponId, DeadLetterId, LedgerAccountId,
    LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, PlanVersionId, ProgramId, StatementId,
};
use crate::sealing::Sealer;
use crate::stream::StreamStats;
use crate::stream::redis::RedisLog;

pub use registry::REGISTRY;

/// Rows that a query looks at in one statement: few enough to end within a second or two.
pub const QUERY_ROWS: i64 = 20_000;
/// Rows that a proof holds in memory: each may have some kilobytes of arithmetic.
pub const PROOF_ROWS: i64 = 1_000;
/// Broken rows that are named of each invariant, where nobody asks for more.
pub const FIRST: i32 = 10;
/// Broken rows that are named, at most.
pub const FIRST_MAX: i32 = 1000;

/// An audit that is in no hurry rests so many times as long as a page of rows took.
const RESTS: u32 = 4;
/// But no longer than this.
const REST_MAX: Duration = Duration::from_secs(2);
/// Clicks that it counts, about, between two rests: in some four milliseconds.
const CLICKS_A_REST: i32 = 4000;

/// Something that must hold.
pub struct Invariant {
    /// `snake_case`, stable for ever: alarms and runs name it.
    pub name: &'static str,
    /// What its rows are: `transaction`, `payout`, ….
    pub of: &'static str,
    /// What holds, in a sentence.
    pub means: &'static str,
    /// What to do when it does not.
    pub remedy: &'static str,
    /// Rows of a page.
    pub rows: i64,
    /// Looks at a page.
    pub check: Check,
}

impl std::fmt::Debug for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Looks at the rows after a key.
pub type Check =
    for<'a> fn(&'a mut PgConnection, &'a At<'a>) -> BoxFuture<'a, Result<Page, CheckError>>;

/// Where a check goes on, and what it needs beside the database.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// After this program and row.
    pub after: (Uuid, Uuid),
    /// Up to this program.
    pub last_program: Uuid,
    /// Rows to look at.
    pub rows: i64,
    /// Broken rows to name, at most.
    pub first: i32,
    /// The time of the audit.
    pub now: Timestamp,
    /// How far it reaches.
    pub reach: Reach,
    /// What it needs beside.
    pub beside: &'a Beside<'a>,
}

/// How far an audit reaches, and how it goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To every row that is kept, without a rest: somebody asked.
    All,
    /// As far as it comes by then: somebody asked who cannot wait.
    Until(Instant),
    /// To every row but clicks, which are as many as all else a thousand times: those of today, of
    /// yesterday and, in turn, of one day before. It rests much longer than it works, because it runs
    /// beside the service.
    Hourly,
}

impl Reach {
    /// Tells whether there is time to look at more.
    pub(crate) fn has_time(self) -> bool {
        match self {
            Self::All | Self::Hourly => true,
            Self::Until(end) => Instant::now() < end,
        }
    }

    /// Returns how long to rest after so much work, which others may have waited for.
    pub(crate) fn rest_after(self, worked: Duration) -> Duration {
        match self {
            Self::All | Self::Until(_) => Duration::ZERO,
            Self::Hourly => (worked * RESTS).min(REST_MAX),
        }
    }

    /// Returns how many clicks a statement counts, about, before it rests for 16 ms; 0: it never does.
    pub(in crate::audit) fn clicks_a_rest(self) -> i32 {
        match self {
            Self::All | Self::Until(_) => 0,
            Self::Hourly => CLICKS_A_REST,
        }
    }
}

/// What stands beside the database.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Opens payment files, where it is at hand.
    pub sealer: Option<&'a Sealer>,
    /// The stream, where this process has one.
    pub stream: Option<Stream<'a>>,
}

impl std::fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.stream.is_some() { "with a stream" } else { "without a stream" })
    }
}

/// The stream with its name.
#[derive(Clone, Copy)]
pub struct Stream<'a> {
    /// The log.
    pub log: &'a RedisLog,
    /// The first part of its keys.
    pub prefix: &'a str,
    /// How many shards.
    pub n_shards: u16,
    /// What happened on the way in, where this process takes events in.
    pub stats: Option<&'a StreamStats>,
}

/// What a page came to.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows that were looked at.
    pub n_looked: u64,
    /// Those that are broken.
    pub n_broken: u64,
    /// The first of them.
    pub first: Vec<Offender>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<(Uuid, Uuid)>,
    /// Why nothing could be looked at.
    pub not_looked: Option<String>,
}

/// A broken row: ids and figures, nothing personal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offender {
    /// The program that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_id: Option<ProgramId>,
    /// Its id, or its name where it has none.
    pub id: String,
    /// The figures that contradict each other.
    pub figures: Map<String, Value>,
}

/// Why a check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It had to end before all was looked at.
    #[error("it takes longer than it may")]
    TooLong,
    /// PostgreSQL refused or could not be reached.
    #[error("the database could not be read")]
    Database(#[from] sqlx::Error),
}

/// What an invariant came to.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which.
    pub invariant: &'static Invariant,
    /// Rows that were looked at.
    pub n_looked: u64,
    /// Those that are broken.
    pub n_broken: u64,
    /// The first of them.
    pub first: Vec<Offender>,
    /// Why nothing could be looked at.
    pub not_looked: Option<String>,
}

impl Judged {
    /// Returns how it stands: `ok`, `broken`, `empty` or `not_looked`.
    pub fn status(&self) -> &'static str {
        match self {
            Self { not_looked: Some(_), .. } => "not_looked",
            Self { n_broken: 1.., .. } => "broken",
            Self { n_looked: 0, .. } => "empty",
            Self { .. } => "ok",
        }
    }
}

impl Offender {
    /// Returns a row with its typed id; ids among the figures are typed by their names.
    pub fn new(of: &str, program: Option<Uuid>, id: &str, figures: Map<String, Value>) -> Self {
        let figures = figures.into_iter().map(|(name, value)| {
            let typed = value.as_str().and_then(|text| typed_id(&name, text));
            (name, typed.map_or(value, Value::String))
        });
        Self {
            program_id: program.filter(|id| !id.is_nil()).map(ProgramId),
            id: typed_id(of, id).unwrap_or_else(|| id.to_owned()),
            figures: figures.collect(),
        }
    }
}

/// Writes the key of a row as the API shows it; none where it is no key.
fn typed_id(of: &str, text: &str) -> Option<String> {
    let id: Uuid = text.parse().ok()?;
    Some(match of {
        "program" => ProgramId(id).to_string(),
        "partner" => PartnerId(id).to_string(),
        "transaction" => LedgerTransactionId(id).to_string(),
        "account" => LedgerAccountId(id).to_string(),
        "commission" => CommissionId(id).to_string(),
        "conversion" => ConversionId(id).to_string(),
        "plan" => PlanVersionId(id).to_string(),
        "payout" => PayoutId(id).to_string(),
        "batch" => PayoutBatchId(id).to_string(),
        "statement" => StatementId(id).to_string(),
        "adjustment" => AdjustmentId(id).to_string(),
        "claim" => ClaimId(id).to_string(),
        "coupon" => CouponId(id).to_string(),
        "dead_letter" => DeadLetterId(id).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_told_apart_and_every_sentence_is_one() {
        let mut names: Vec<&str> = REGISTRY.iter().map(|one| one.name).collect();
        for one in REGISTRY {
            for sentence in [one.means, one.remedy] {
                assert!(sentence.ends_with('.'), "{}: {sentence}", one.name);
            }
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), REGISTRY.len());
    }

    #[test]
    fn keys_are_shown_as_the_api_shows_them() {
        let id = Uuid::now_v7();
        let figures = json!({"payout": id, "amount_minor": 5, "state": "paid"});
        let Value::Object(figures) = figures else { panic!() };
        let row = Offender::new("commission", Some(id), &id.to_string(), figures);
        assert_eq!(row.id, CommissionId(id).to_string());
        assert_eq!(row.figures["payout"], json!(PayoutId(id)));
        assert_eq!(row.figures["amount_minor"], 5);
        assert_eq!(Offender::new("table", None, "clicks", Map::new()).id, "clicks");
    }
}

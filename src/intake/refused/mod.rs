//! Calls that are refused because nobody knows who sent them: counted here, written elsewhere.
//!
//! A shop whose secret is an old one loses its sales, and only whoever looks at metrics would know.
//! Anybody can send rubbish, though, so a refused call writes nothing: it raises a number in the
//! memory of this process, and of the first few it keeps what they named. Every few seconds, and
//! when the process ends, the numbers are added to those of the hour in PostgreSQL
//! ([`store`]), where the report `unattributed` finds them. Only sources that exist are counted, so
//! the numbers are bounded by them.

pub mod noting;
pub mod store;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DurationRound as _, TimeDelta};

use crate::clock::Timestamp;
use crate::ids::{ProgramId, SourceId};

/// Names that are kept of one hour, source and reason: enough to find the calls in the shop's log.
pub const SAMPLE_MAX: usize = 5;
/// Longest name that is kept, in characters: no order id and no message id in use has more.
const NAME_MAX: usize = 64;
/// Rows that wait while PostgreSQL is away, at most; what comes on top is counted by metrics alone.
const WAITING_MAX: usize = 10_000;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No secret of the source makes its signature.
    SignatureUnknown,
    /// It came without a signature.
    SignatureMissing,
    /// Its signature, or what belongs to it, cannot be read.
    SignatureMalformed,
    /// It is signed with a secret of the source that has ended.
    SecretEnded,
    /// Its time is too far from ours.
    TimestampOutside,
    /// Its key is none of the source, or is missing.
    KeyUnknown,
    /// The source is disabled.
    SourceDisabled,
}

impl Reason {
    /// Returns its name in the database and in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignatureUnknown => "signature_unknown",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureMalformed => "signature_malformed",
            Self::SecretEnded => "secret_ended",
            Self::TimestampOutside => "timestamp_outside",
            Self::KeyUnknown => "key_unknown",
            Self::SourceDisabled => "source_disabled",
        }
    }
}

/// What calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// The program of the source.
    pub program_id: ProgramId,
    /// The source whose address was called.
    pub source_id: SourceId,
    /// The way in, `webhook` or `postback`.
    pub channel: &'static str,
    /// Why.
    pub reason: Reason,
}

/// What a refused call says of itself; nobody vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The sender's id of the message.
    pub message_id: Option<String>,
    /// The orders that it carries.
    pub order_ids: Vec<String>,
    /// When it says that it was sent.
    pub sent_at: Option<Timestamp>,
}

/// Calls of one kind and hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub n_calls: i64,
    /// When the first of them came.
    pub first_at: Timestamp,
    /// When the last of them came.
    pub last_at: Timestamp,
    /// Seconds by which the own time of the last one known was behind ours.
    pub behind_s: Option<i64>,
    /// Message ids, a sample.
    pub message_ids: Vec<String>,
    /// Order ids, a sample.
    pub order_ids: Vec<String>,
}

/// What was counted and is not written yet, by kind and hour.
pub type Counted = BTreeMap<(Kind, Timestamp), Tally>;

/// What this process counted.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Counted>);

impl Refusals {
    /// Counts a call; what it says is only asked for where a name more is wanted.
    pub fn count(&self, kind: Kind, now: Timestamp, said: impl FnOnce() -> Said) {
        let Ok(hour) = now.duration_trunc(TimeDelta::hours(1)) else { return };
        let wants_names = self.lock().get(&(kind, hour)).is_none_or(Tally::wants_names);
        // Read outside the lock: a body takes its time.
        let said = if wants_names { said() } else { Said::default() };
        self.add(kind, hour, Tally::of_one(said, now));
    }

    /// Returns what was counted and forgets it.
    pub fn take(&self) -> Counted {
        std::mem::take(&mut *self.lock())
    }

    /// Takes back what could not be written.
    pub fn give_back(&self, counted: Counted) {
        for ((kind, hour), tally) in counted {
            self.add(kind, hour, tally);
        }
    }

    fn add(&self, kind: Kind, hour: Timestamp, tally: Tally) {
        let mut counted = self.lock();
        if let Some(known) = counted.get_mut(&(kind, hour)) {
            known.add(tally);
        } else if counted.len() < WAITING_MAX {
            counted.insert((kind, hour), tally);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Nothing panics while it is held, and a number has no state that could be half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn of_one(said: Said, now: Timestamp) -> Self {
        let mut tally = Self {
            n_calls: 1,
            first_at: now,
            last_at: now,
            behind_s: said.sent_at.map(|at| (now - at).num_seconds()),
            message_ids: Vec::new(),
            order_ids: Vec::new(),
        };
        keep(&mut tally.message_ids, said.message_id);
        keep(&mut tally.order_ids, said.order_ids);
        tally
    }

    fn wants_names(&self) -> bool {
        self.n_calls < SAMPLE_MAX as i64
    }

    fn add(&mut self, other: Self) {
        self.n_calls += other.n_calls;
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        self.behind_s = other.behind_s.or(self.behind_s);
        keep(&mut self.message_ids, other.message_ids);
        keep(&mut self.order_ids, other.order_ids);
    }
}

/// Keeps names that are not there yet, as long as there is room. What no honest sender would send
/// is left out.
fn keep(sample: &mut Vec<String>, names: impl IntoIterator<Item = String>) {
    for name in names {
        let is_fine =
            (1..=NAME_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if is_fine && sample.len() < SAMPLE_MAX && !sample.contains(&name) {
            sample.push(name);
        }
    }
}

/// Returns the order ids in a body that nobody vouches for: of a message, or of a batch.
pub fn orders_in(body: &[u8]) -> Vec<String> {
    /// Longest body that is read for them: that of a message, and of a batch of a few.
    const BODY_MAX_BYTES: usize = 64 * 1024;
    let read = |body| serde_json::from_slice::<serde_json::Value>(body).ok();
    let Some(message) = Some(body).filter(|b| b.len() <= BODY_MAX_BYTES).and_then(read) else {
        return Vec::new();
    };
    let order = |data: &serde_json::Value| Some(data.get("order_id")?.as_str()?.to_owned());
    match message.get("data") {
        Some(serde_json::Value::Array(items)) => {
            items.iter().filter_map(|item| order(item.get("data")?)).take(SAMPLE_MAX).collect()
        }
        Some(data) => order(data).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(reason: Reason) -> Kind {
        let (program_id, source_id) = (ProgramId(uuid::Uuid::nil()), SourceId(uuid::Uuid::nil()));
        Kind { program_id, source_id, channel: "webhook", reason }
    }

    fn at(second: i64) -> Timestamp {
        "2026-11-22T10:00:00Z".parse::<Timestamp>().unwrap() + TimeDelta::seconds(second)
    }

    fn named(order: &str) -> Said {
        Said { order_ids: vec![order.to_owned()], ..Said::default() }
    }

    #[test]
    fn calls_are_counted_by_hour_and_reason_and_few_are_named() {
        let refusals = Refusals::default();
        for n in 0..20 {
            let said = || if n < 5 { named(&format!("A-{n}")) } else { panic!("was asked again") };
            refusals.count(kind(Reason::SignatureUnknown), at(n), said);
        }
        refusals.count(kind(Reason::SecretEnded), at(7), Said::default);
        refusals.count(kind(Reason::SignatureUnknown), at(3600), Said::default);
        let counted = refusals.take();
        let of = |reason, hour| &counted[&(kind(reason), at(hour))];
        let many = of(Reason::SignatureUnknown, 0);
        assert_eq!((many.n_calls, many.first_at, many.last_at), (20, at(0), at(19)));
        assert_eq!(many.order_ids, ["A-0", "A-1", "A-2", "A-3", "A-4"]);
        assert_eq!(of(Reason::SecretEnded, 0).n_calls, 1);
        assert_eq!(of(Reason::SignatureUnknown, 3600).n_calls, 1);
        assert!(refusals.take().is_empty(), "what was taken is no longer there");
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_known_still_counts() {
        let refusals = Refusals::default();
        for hour in 0..WAITING_MAX as i64 + 5 {
            refusals.count(kind(Reason::KeyUnknown), at(hour * 3600), Said::default);
        }
        refusals.count(kind(Reason::KeyUnknown), at(0), Said::default);
        let counted = refusals.take();
        assert_eq!(counted.len(), WAITING_MAX);
        assert_eq!(counted[&(kind(Reason::KeyUnknown), at(0))].n_calls, 2);
    }

    #[test]
    fn orders_are_found_in_messages_and_batches_and_nowhere_else() {
        let many: Vec<_> =
            (0..9).map(|n| serde_json::json!({"data": {"order_id": format!("B{n}")}})).collect();
        let batch = serde_json::json!({"type": "batch", "data": many}).to_string();
        let long = format!("{{\"data\":{{\"order_id\":\"A\",\"x\":\"{}\"}}}}", "a".repeat(1 << 16));
        for (body, expected) in [
            (r#"{"data":{"order_id":"A-1"}}"#, vec!["A-1"]),
            (r#"{"data":{"order_id":7}}"#, vec![]),
            (r#"{"data":"A-1"}"#, vec![]),
            ("[]", vec![]),
            ("\u{0}", vec![]),
            (&batch, vec!["B0", "B1", "B2", "B3", "B4"]),
            (&long, vec![]),
        ] {
            assert_eq!(orders_in(body.as_bytes()), expected, "{}", &body[..body.len().min(60)]);
        }
        let mut sample = Vec::new();
        let names = ["", "a\nb", "A", "A", &"x".repeat(65), "B"];
        keep(&mut sample, names.map(str::to_owned));
        assert_eq!(sample, ["A", "B"]);
    }

    proptest! {
        #[test]
        fn whenever_it_is_written_the_same_is_counted(
            calls in proptest::collection::vec((0i64..7200, any::<bool>()), 1..60),
        ) {
            let (whole, parts) = (Refusals::default(), Refusals::default());
            for (second, is_written) in calls {
                for refusals in [&whole, &parts] {
                    let said = || named(&second.to_string());
                    refusals.count(kind(Reason::KeyUnknown), at(second), said);
                }
                if is_written {
                    parts.give_back(parts.take());
                }
            }
            prop_assert_eq!(whole.take(), parts.take());
        }
    }
}

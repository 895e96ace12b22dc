//! Lanes of the log and positions in them.

use std::fmt;
use std::str::FromStr;

/// A lane of the log: 0 alone on a single Redis, 0..64 on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

impl Shard {
    /// Returns the key of the shard's stream, such as `trb:{0}:events`.
    ///
    /// The braces are Redis Cluster's hash tag: all keys of one shard live in one slot.
    pub fn events_key(self, prefix: &str) -> String {
        self.key(prefix, "events")
    }

    /// Returns the key beside the stream that names its generation.
    pub fn generation_key(self, prefix: &str) -> String {
        self.key(prefix, "generation")
    }

    /// Returns the key beside the stream that probes write to.
    pub fn probe_key(self, prefix: &str) -> String {
        self.key(prefix, "probe")
    }

    fn key(self, prefix: &str, what: &str) -> String {
        format!("{prefix}:{{{self}}}:{what}")
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in a shard, in the form of a Redis stream id: `1795329673141-0`.
///
/// The first half looks like a time, but a clock that jumped makes it lie: it orders entries and
/// says nothing about when an event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset {
    /// Milliseconds of the server's clock, never falling within a generation.
    pub ms: u64,
    /// Counts the entries of one millisecond.
    pub seq: u64,
}

impl Offset {
    /// Before the first entry.
    pub const START: Self = Self { ms: 0, seq: 0 };

    /// Returns the smallest offset after this one, or `None` at the end of all offsets.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Says that a text is not an offset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an offset like 1795329673141-0, found {0:?}")]
pub struct BadOffset(pub String);

impl FromStr for Offset {
    type Err = BadOffset;

    fn from_str(s: &str) -> Result<Self, BadOffset> {
        // `u64::from_str` would also take "+1".
        let number = |part: &str| {
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()
        };
        s.split_once('-')
            .and_then(|(ms, seq)| Some(Self { ms: number(ms)?, seq: number(seq)? }))
            .ok_or_else(|| BadOffset(s.chars().take(64).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_a_shard_share_its_hash_tag() {
        assert_eq!(Shard(7).events_key("trb"), "trb:{7}:events");
        assert_eq!(Shard(7).generation_key("trb"), "trb:{7}:generation");
        assert_eq!(Shard(7).probe_key("trb"), "trb:{7}:probe");
    }

    #[test]
    fn texts_that_are_no_offset_are_refused() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-0",
            "1-+0",
            "1-0-0",
            "1 -0",
            "$",
            "18446744073709551616-0",
        ] {
            assert!(text.parse::<Offset>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_next_offset_of_a_full_millisecond_is_in_the_next_one() {
        assert_eq!(Offset { ms: 5, seq: u64::MAX }.next(), Some(Offset { ms: 6, seq: 0 }));
        assert_eq!(Offset { ms: u64::MAX, seq: u64::MAX }.next(), None);
    }

    proptest! {
        #[test]
        fn offsets_round_trip_and_order_by_time_then_count(a: (u64, u64), b: (u64, u64)) {
            let [x, y] = [a, b].map(|(ms, seq)| Offset { ms, seq });
            prop_assert_eq!(x.to_string().parse::<Offset>(), Ok(x));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
        }
    }
}

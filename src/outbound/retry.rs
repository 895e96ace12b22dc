//! When a message is tried again, and when nobody is listening any more. Pure.

use chrono::{DateTime, TimeDelta};

use crate::clock::Timestamp;

/// Seconds before each attempt: at once, after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h. A
/// receiver that is away for a day misses nothing.
const WAITS_S: [u32; 8] = [0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000];
/// Up to this is added to each wait, so that what failed together does not come back together.
pub const JITTER_PERMILLE_MAX: u32 = 200;
/// `Retry-After` is honored up to this: more would let a receiver keep us for ever.
const RETRY_AFTER_MAX: TimeDelta = TimeDelta::hours(10);
/// An endpoint that has failed for so long is gone.
const FAILING_MAX: TimeDelta = TimeDelta::hours(120);

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A status of 200 to 299.
    Taken {
        /// The status.
        status: u16,
    },
    /// 410: the receiver wants nothing any more.
    Gone,
    /// Anything else.
    Failed {
        /// The status, if there was an answer.
        status: Option<u16>,
        /// What went wrong, for people.
        error: String,
        /// How long the receiver asked us to wait.
        retry_after: Option<TimeDelta>,
    },
}

impl Answer {
    /// Judges an answer by its status; `retry_after` is the header of that name.
    pub fn of_status(status: u16, retry_after: Option<&str>, now: Timestamp) -> Self {
        let retry_after = match status {
            429 | 503 => retry_after.and_then(|text| parse_retry_after(text, now)),
            _ => None,
        };
        match status {
            200..=299 => Self::Taken { status },
            410 => Self::Gone,
            300..=399 => Self::Failed {
                status: Some(status),
                error: format!("answered {status}; redirects are not followed"),
                retry_after,
            },
            _ => Self::Failed {
                status: Some(status),
                error: format!("answered {status}"),
                retry_after,
            },
        }
    }
}

/// Returns when a message is tried again that has failed `attempts` times, the last time at `now`;
/// none when enough is enough. `jitter_permille` is a random 0 to [`JITTER_PERMILLE_MAX`].
pub fn next_attempt(
    attempts: i32,
    now: Timestamp,
    jitter_permille: u32,
    retry_after: Option<TimeDelta>,
) -> Option<Timestamp> {
    let wait_s = WAITS_S.get(usize::try_from(attempts).ok()?).copied().map(i64::from)?;
    let jitter = i64::from(jitter_permille.min(JITTER_PERMILLE_MAX));
    let wait = TimeDelta::milliseconds(wait_s * (1000 + jitter));
    Some(now + wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

/// Tells whether an endpoint that has failed since then is given up.
pub fn is_given_up(failing_since: Timestamp, now: Timestamp) -> bool {
    now - failing_since >= FAILING_MAX
}

/// Reads seconds or an HTTP date (RFC 9110, section 10.2.3); the past counts as now.
fn parse_retry_after(text: &str, now: Timestamp) -> Option<TimeDelta> {
    let text = text.trim();
    let wait = match text.parse::<u32>() {
        Ok(seconds) => TimeDelta::seconds(i64::from(seconds)),
        Err(_) => DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now,
    };
    Some(wait.max(TimeDelta::zero()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn eight_attempts_over_a_day_and_then_no_more() {
        let waits: Vec<_> = (1..=9)
            .map(|n| next_attempt(n, now(), 0, None).map(|at| (at - now()).num_seconds()))
            .collect();
        let expected = [5, 300, 1800, 7200, 18_000, 36_000, 36_000].map(Some);
        assert_eq!(waits[..7], expected);
        assert_eq!(waits[7..], [None, None]);
        assert_eq!(next_attempt(0, now(), 200, None), Some(now()), "the first is at once");
        assert_eq!(next_attempt(-1, now(), 0, None), None);
    }

    #[test]
    fn retry_after_lengthens_a_wait_and_is_bounded() {
        let after = |attempts, asked: i64| {
            let asked = Some(TimeDelta::seconds(asked));
            (next_attempt(attempts, now(), 0, asked).unwrap() - now()).num_seconds()
        };
        assert_eq!(after(1, 60), 60);
        assert_eq!(after(2, 60), 300, "it never shortens the schedule");
        assert_eq!(after(1, i64::from(u32::MAX)), 36_000);
    }

    #[test]
    fn retry_after_is_read_where_it_has_a_meaning() {
        for (status, header, expected) in [
            (503, Some("120"), Some(120)),
            (429, Some(" 7 "), Some(7)),
            (503, Some("Sun, 22 Nov 2026 10:01:00 GMT"), Some(60)),
            (503, Some("Sun, 22 Nov 2026 09:00:00 GMT"), Some(0)),
            (503, Some("soon"), None),
            (503, Some("-5"), None),
            (503, None, None),
            (500, Some("120"), None),
        ] {
            let Answer::Failed { retry_after, .. } = Answer::of_status(status, header, now())
            else {
                panic!("{status}")
            };
            assert_eq!(retry_after.map(|d| d.num_seconds()), expected, "{status} {header:?}");
        }
    }

    #[test]
    fn only_success_is_taken_and_a_redirect_is_a_failure() {
        for status in [200, 204, 299] {
            assert_eq!(Answer::of_status(status, None, now()), Answer::Taken { status });
        }
        assert_eq!(Answer::of_status(410, None, now()), Answer::Gone);
        for status in [100, 301, 302, 304, 400, 404, 500, 503] {
            let answer = Answer::of_status(status, None, now());
            assert!(matches!(answer, Answer::Failed { .. }), "{answer:?}");
        }
    }

    #[test]
    fn an_endpoint_is_given_up_after_five_days() {
        assert!(!is_given_up(now() - FAILING_MAX + TimeDelta::seconds(1), now()));
        assert!(is_given_up(now() - FAILING_MAX, now()));
    }

    proptest! {
        #[test]
        fn jitter_adds_at_most_a_fifth(attempts in 1..8i32, jitter: u32) {
            let plain = next_attempt(attempts, now(), 0, None).unwrap() - now();
            let wait = next_attempt(attempts, now(), jitter, None).unwrap() - now();
            prop_assert!(wait >= plain && wait <= plain + plain / 5, "{} {}", plain, wait);
        }

        #[test]
        fn any_text_as_retry_after_is_bounded_and_never_panics(text in "\\PC{0,40}") {
            let wait = parse_retry_after(&text, now());
            let next = next_attempt(1, now(), 0, wait).unwrap();
            prop_assert!(next <= now() + RETRY_AFTER_MAX);
        }
    }
}

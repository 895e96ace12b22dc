//! How many requests a source may send: a bucket for each, in the memory of this process.
//!
//! A bucket is one number: the time at which it would be full again. Each request moves that by the
//! time between two requests at the rate; a request that would move it further ahead than the
//! burst allows is refused and moves nothing, so a sender that waits as told gets through. Only
//! senders that are believed reach it: a stranger cannot empty the bucket of a shop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::ids::SourceId;

/// Seconds' worth of requests that may come at once: senders repeat what failed in bunches.
const BURST_S: i64 = 2;
const NANOS: i64 = 1_000_000_000;

/// The buckets of all sources that have sent something.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<SourceId, Bucket>>);

/// When the bucket is full again, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket(i64);

impl Rates {
    /// Takes a request of a source that may send so many in a second.
    ///
    /// # Errors
    /// The seconds after which it may come again, rounded up.
    pub fn take(&self, source: SourceId, per_second: u32, now: Timestamp) -> Result<(), u32> {
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX / 2);
        // Nothing panics while it is held, and a bucket has no state that could be half-changed.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(source).or_default().take(per_second, now)
    }
}

impl Bucket {
    fn take(&mut self, per_second: u32, now: i64) -> Result<(), u32> {
        let between = NANOS / i64::from(per_second.max(1));
        let full_at = self.0.max(now) + between;
        let wait = full_at - now - (BURST_S * NANOS).max(between);
        if wait > 0 {
            let seconds = wait / NANOS + i64::from(wait % NANOS != 0);
            return Err(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        self.0 = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_what_is_beyond_waits_its_time() {
        let (mut bucket, now) = (Bucket::default(), 5 * NANOS);
        for n in 0..20 {
            assert_eq!(bucket.take(10, now), Ok(()), "request {n}");
        }
        assert_eq!(bucket.take(10, now), Err(1));
        assert_eq!(bucket.take(10, now + NANOS / 10 - 1), Err(1));
        assert_eq!(bucket.take(10, now + NANOS / 10), Ok(()));
        assert_eq!(bucket.take(10, now + NANOS / 10), Err(1));
        // After a rest the bucket is full and no fuller.
        let later = now + 3600 * NANOS;
        assert_eq!((0..100).filter(|_| bucket.take(10, later).is_ok()).count(), 20);
    }

    #[test]
    fn sources_have_buckets_of_their_own() {
        let (rates, now) = (Rates::default(), "2026-11-22T10:00:00Z".parse().unwrap());
        let (one, other) = (SourceId::new(), SourceId::new());
        assert_eq!((rates.take(one, 1, now), rates.take(one, 1, now)), (Ok(()), Ok(())));
        assert_eq!(rates.take(one, 1, now), Err(1));
        assert_eq!(rates.take(other, 1, now), Ok(()));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_than_rate_and_burst_get_through(
            per_second in 1u32..50,
            gaps in proptest::collection::vec(0i64..NANOS / 4, 1..400),
        ) {
            let (mut bucket, mut now, mut taken) = (Bucket::default(), NANOS, 0);
            for gap in gaps {
                now += gap;
                taken += i64::from(bucket.take(per_second, now).is_ok());
            }
            let rate = i64::from(per_second);
            prop_assert!(taken <= BURST_S * rate + (now - NANOS) * rate / NANOS + 1);
        }

        #[test]
        fn who_waits_as_told_gets_through(per_second in 1u32..100_000, n in 0usize..500) {
            let (mut bucket, now) = (Bucket::default(), NANOS);
            for _ in 0..n {
                let _ = bucket.take(per_second, now);
            }
            if let Err(seconds) = bucket.take(per_second, now) {
                prop_assert_eq!(bucket.take(per_second, now + i64::from(seconds) * NANOS), Ok(()));
            }
        }
    }
}

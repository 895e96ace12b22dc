//! The only reader of time.
//!
//! Everything that needs "now" is handed a [`Clock`]. In production it is the machine's; a test
//! or the demo program holds a manual one and moves it by hand, so that a hold of thirty days is
//! over at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;

/// A point in time, UTC.
pub type Timestamp = DateTime<Utc>;

/// Tells the time: the machine's, or one that is moved by hand.
///
/// Cloning is cheap; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// Microseconds since 1970; atomic because handlers read it from many threads.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Returns a clock that stands still at `at` until it is moved.
    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Returns the current time, cut to microseconds: what PostgreSQL stores, so that a value
    /// read back equals the value written.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place that reads the machine's clock"
            )]
            Source::System => from_micros(Utc::now().timestamp_micros()),
            Source::Manual(at) => from_micros(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock by `by`; the system clock does not move.
    pub fn advance(&self, by: Duration) {
        if let (Source::Manual(at), Some(micros)) = (&self.0, by.num_microseconds()) {
            at.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock to `to`; the system clock does not move.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(at) = &self.0 {
            at.store(to.timestamp_micros(), Ordering::SeqCst);
        }
    }
}

fn from_micros(micros: i64) -> Timestamp {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Returns when a day begins. Where clocks jump over midnight (Beirut, Santiago), it begins with
/// the first minute that exists.
pub fn midnight(day: NaiveDate, time_zone: Tz) -> Timestamp {
    // No zone has ever left out more than a day: Samoa's missing 30 December 2011.
    let minutes = (0..=25 * 60).map(|m| day.and_time(NaiveTime::MIN) + Duration::minutes(m));
    let first = minutes.filter_map(|local| time_zone.from_local_datetime(&local).earliest()).next();
    first.map_or_else(
        || (day + Days::new(1)).and_time(NaiveTime::MIN).and_utc(),
        |t| t.with_timezone(&Utc),
    )
}

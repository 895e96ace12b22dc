//! The day's report: one assessment per partner, in plain quantities.

use super::halves;
use super::onset::onset;
use super::severity::{self, Facts};
use super::tail::interval;
use super::{
    ConversionFall, Day, Diagnosis, Fallen, FalseAlarms, MIN_AGE_DAYS, Network, Severity, State,
    remedy,
};

/// Losses are foretold for four weeks.
const NEXT_DAYS: f64 = 28.0;
/// Relative variance of a single day's clicks beyond chance.
const DAILY_NOISE: f64 = 0.2;

/// Holds what a day's report says about one partner.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// Index of the partner in the list given to [`Network::new`].
    pub partner: usize,
    /// Whether the partner is on the day's list.
    pub verdict: Verdict,
    /// Days since the last click; 0 if there was one on this day, `None` if there never was.
    pub days_since_last_click: Option<usize>,
    /// Standing state, also of partners that are no longer listed.
    pub state: State,
    /// Conversions that fell while clicks held.
    pub conversion_fall: Option<ConversionFall>,
}

/// Says whether a partner is listed.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Not yet six weeks old, or the network has too short a history.
    TooYoung {
        /// First day with a verdict.
        until: Day,
    },
    /// Declared absent on this day.
    Away,
    /// Nothing unusual.
    NotListed,
    /// Declined.
    Listed(Box<Decline>),
}

/// Describes a listed decline. Rates are clicks per usual day.
#[derive(Debug, Clone, PartialEq)]
pub struct Decline {
    /// How urgent it is.
    pub severity: Severity,
    /// Likeliest first day of the fall.
    pub since: Day,
    /// Clicks a day that were to be expected since then.
    pub expected_per_day: Estimate,
    /// Clicks a day that came.
    pub observed_per_day: Estimate,
    /// Share of the clicks lost, 0 to 1.
    pub share_lost: f64,
    /// So few clicks come by chance once in `1 / p_value` such stretches. This is not the
    /// probability that the partner is lost.
    pub p_value: f64,
    /// The error rate at which the partner is listed.
    pub false_alarms: FalseAlarms,
    /// Clicks lost since then.
    pub lost_to_date: Estimate,
    /// Clicks lost in the next 28 days if nothing changes.
    pub lost_next_28_days: Estimate,
    /// Possible cause with evidence.
    pub diagnosis: Diagnosis,
    /// What to do about it.
    pub remedy: &'static str,
}

/// Holds a value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Likeliest value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Network {
    /// Assesses every partner at the end of a day, from that day and earlier ones only.
    ///
    /// # Panics
    /// If `day` is not below [`days`](Network::days).
    pub fn assess(&self, day: Day) -> Vec<Assessment> {
        let states = halves::map(self.partners(), |i| self.state(i, day));
        let severities = self.severities(day, &states);
        let assess = |(partner, state): (usize, State)| Assessment {
            partner,
            verdict: match self.without_verdict(partner, day) {
                Some(verdict) => verdict,
                None => severities[partner].map_or(Verdict::NotListed, |severity| {
                    Verdict::Listed(Box::new(self.decline(partner, day, severity, &state)))
                }),
            },
            days_since_last_click: state.last_click.map(|last| day - last),
            state,
            conversion_fall: self.conversion_fall(partner, day),
        };
        states.into_iter().enumerate().map(assess).collect()
    }

    fn without_verdict(&self, partner: usize, day: Day) -> Option<Verdict> {
        let series = &self.partners[partner];
        let until = (series.joined_on + MIN_AGE_DAYS).max(super::JUDGED_FROM);
        if day < until {
            return Some(Verdict::TooYoung { until });
        }
        series.is_away(day).then_some(Verdict::Away)
    }

    /// Partners without a verdict take no part in the day's list.
    fn severities(&self, day: Day, states: &[State]) -> Vec<Option<Severity>> {
        let judged: Vec<usize> =
            (0..self.partners()).filter(|&i| self.without_verdict(i, day).is_none()).collect();
        let facts: Vec<Facts> = judged
            .iter()
            .map(|&i| {
                let fall = self.fall(i, day, &states[i]);
                Facts {
                    listing_strength: f64::from(self.finding(i, day).listing_strength),
                    share_lost: 1.0 - fall.kept,
                    next_loss: NEXT_DAYS * fall.rate * (1.0 - fall.kept),
                    silent_since_onset: states[i].last_click.is_some_and(|last| last < fall.since),
                    dormancy: states[i].dormancy,
                }
            })
            .collect();
        let mut severities = vec![None; self.partners()];
        for (i, severity) in judged.into_iter().zip(severity::severities(&facts)) {
            severities[i] = severity;
        }
        severities
    }

    /// Dates the fall behind the day's finding and measures it from its first day on.
    fn fall(&self, partner: usize, day: Day, state: &State) -> Fall {
        let finding = self.finding(partner, day);
        let own_rate = f64::from(finding.rate);
        // The baseline may have sunk with the fall; the latched level has not.
        let before = state
            .fallen
            .filter(|fallen| fallen.since < finding.since() && fallen.rate >= own_rate)
            .unwrap_or(Fallen { rate: own_rate, since: finding.since() });
        let rate = before.rate;
        let kept = f64::from(finding.kept) * if rate > 0.0 { own_rate / rate } else { 1.0 };
        let since = onset(&self.history, partner, (rate, kept), before.since, day);
        let exposure = self.history.exposure.between(partner, since, day + 1);
        let seen = self.history.clicks.between(partner, since, day + 1);
        Fall { since, rate, kept, exposure, seen, uncertainty: f64::from(finding.uncertainty) }
    }

    fn decline(&self, partner: usize, day: Day, severity: Severity, state: &State) -> Decline {
        let fall = self.fall(partner, day, state);
        let days = self.history.used.between(partner, fall.since, day + 1);
        let diagnosis = self.diagnose(partner, fall.since, day);
        Decline {
            severity,
            since: fall.since,
            expected_per_day: fall.expected(),
            observed_per_day: fall.observed(days),
            share_lost: 1.0 - fall.kept,
            p_value: self.finding(partner, day).p_value(),
            false_alarms: severity::control(severity),
            lost_to_date: fall.lost_to_date(),
            lost_next_28_days: fall.lost_next(days),
            remedy: remedy(diagnosis.cause),
            diagnosis,
        }
    }
}

/// A fall in clicks: from `rate` per usual day to `kept` of it.
struct Fall {
    since: Day,
    rate: f64,
    kept: f64,
    /// Usual days, and clicks seen, since then.
    exposure: f64,
    seen: f64,
    /// Relative variance of the rate beyond chance.
    uncertainty: f64,
}

impl Fall {
    /// Holds the chance of the count itself: observed below its low end is a surprise.
    fn expected(&self) -> Estimate {
        let chance = 1.0 / (self.rate * self.exposure).max(1e-9);
        Estimate::around(self.rate, self.uncertainty + chance)
    }

    fn observed(&self, days: f64) -> Estimate {
        let variance = 1.0 / (self.seen + 0.5) + DAILY_NOISE / days.max(1.0);
        Estimate::around(self.rate * self.kept, variance)
    }

    fn lost_to_date(&self) -> Estimate {
        self.expected().map(|per_day| (per_day * self.exposure - self.seen).max(0.0))
    }

    /// The intervals of both levels are independent: their half-widths add in squares.
    fn lost_next(&self, days: f64) -> Estimate {
        let (expected, observed) = (self.expected(), self.observed(days));
        let loss = expected.value - observed.value;
        let below = (expected.value - expected.low).hypot(observed.high - observed.value);
        let above = (expected.high - expected.value).hypot(observed.value - observed.low);
        Estimate { value: loss, low: loss - below, high: loss + above }
            .map(|per_day| NEXT_DAYS * per_day.max(0.0))
    }
}

impl Estimate {
    pub(super) fn around(value: f64, relative_variance: f64) -> Self {
        let (low, high) = interval(value, relative_variance);
        Self { value, low, high }
    }

    /// Returns it in another unit: days as weeks, clicks as what they earn.
    pub fn times(self, factor: f64) -> Self {
        self.map(|figure| figure * factor)
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), low: f(self.low), high: f(self.high) }
    }
}

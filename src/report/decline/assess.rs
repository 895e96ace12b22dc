//! The day's report: one assessment per partner, in plain quantities.

use super::severity::{self, Facts};
use super::tail::interval;
use super::{
    ConversionFall, Day, Diagnosis, FalseAlarms, Finding, MIN_AGE_DAYS, Network, Severity, State,
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
    /// First day of the stretch that shows the fall best.
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

/// What a finding means in clicks.
#[derive(Clone, Copy)]
struct Clicks {
    expected: Estimate,
    observed: Estimate,
    to_date: Estimate,
    next: Estimate,
}

impl Network {
    /// Assesses every partner at the end of a day, from that day and earlier ones only.
    ///
    /// # Panics
    /// If `day` is not below [`days`](Network::days).
    pub fn assess(&self, day: Day) -> Vec<Assessment> {
        let states: Vec<State> = (0..self.partners()).map(|i| self.state(i, day)).collect();
        let severities = self.severities(day, &states);
        let assess = |(partner, state): (usize, State)| Assessment {
            partner,
            verdict: match self.without_verdict(partner, day) {
                Some(verdict) => verdict,
                None => severities[partner].map_or(Verdict::NotListed, |severity| {
                    Verdict::Listed(Box::new(self.decline(partner, day, severity)))
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
                let finding = self.finding(i, day);
                let last_click = states[i].last_click;
                let onset = states[i].fallen.map_or(finding.since(), |fallen| fallen.since);
                Facts {
                    finding,
                    next_loss: NEXT_DAYS * f64::from(finding.rate) * finding.share_lost(),
                    silent_since_onset: last_click.is_some_and(|last| last < onset),
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

    fn decline(&self, partner: usize, day: Day, severity: Severity) -> Decline {
        let finding = self.finding(partner, day);
        let clicks = self.clicks(partner, day, finding);
        let diagnosis = self.diagnose(partner, finding.since(), day);
        Decline {
            severity,
            since: finding.since(),
            expected_per_day: clicks.expected,
            observed_per_day: clicks.observed,
            share_lost: finding.share_lost(),
            p_value: finding.p_value(),
            false_alarms: severity::control(severity),
            lost_to_date: clicks.to_date,
            lost_next_28_days: clicks.next,
            remedy: remedy(diagnosis.cause),
            diagnosis,
        }
    }

    fn clicks(&self, partner: usize, day: Day, finding: Finding) -> Clicks {
        let (from, until) = (finding.since(), day + 1);
        let sum = |totals: &super::Totals| totals.between(partner, from, until);
        let exposure = sum(&self.history.exposure).max(1e-9);
        let seen = sum(&self.history.clicks);
        let rate = f64::from(finding.rate);
        let now = rate * f64::from(finding.kept);

        // Expected holds the chance of the count itself: observed below its low end is a surprise.
        let expected_variance = f64::from(finding.uncertainty) + 1.0 / (rate * exposure);
        let expected = Estimate::around(rate, expected_variance);
        let now_variance = 1.0 / (seen + 0.5) + DAILY_NOISE / sum(&self.history.used).max(1.0);
        let observed = Estimate::around(now, now_variance);
        let lost = |per_day: f64| (per_day * exposure - seen).max(0.0);
        let to_date = expected.map(lost);
        let loss = rate - now;
        let deviation = (rate * rate * expected_variance + now * now * now_variance).sqrt();
        let next = Estimate {
            value: loss,
            low: loss - 1.96 * deviation,
            high: (loss + 1.96 * deviation).min(expected.high),
        };
        Clicks { expected, observed, to_date, next: next.map(|l| NEXT_DAYS * l.max(0.0)) }
    }
}

impl Estimate {
    fn around(value: f64, relative_variance: f64) -> Self {
        let (low, high) = interval(value, relative_variance);
        Self { value, low, high }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { value: f(self.value), low: f(self.low), high: f(self.high) }
    }
}

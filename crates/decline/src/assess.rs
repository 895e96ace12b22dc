//! The day's report: one assessment per partner, in plain quantities.

use super::finding::Finding;
use super::history::History;
use super::onset::onset;
use super::series::MIN_AGE_DAYS;
use super::severity::{self, Facts};
use super::tail::interval;
use super::{
    ConversionFall, Day, Diagnosis, Fallen, FalseAlarms, Network, PartnerSeries, Severity, State,
    cause, conversions, remedy,
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

/// Describes a listed decline. Rates are clicks a day, as days have been in the last months.
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

/// What the detector knows of a partner at the end of a day, without the days themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Strongest finding of the day.
    pub(crate) finding: Finding,
    /// Standing state.
    pub state: State,
}

/// The days of one partner up to the day that is judged.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub(crate) series: &'a PartnerSeries,
    pub(crate) history: &'a History,
    /// Place of the partner in the history.
    pub(crate) place: usize,
}

impl Network {
    /// Assesses every partner at the end of the last day, from that day and earlier ones only.
    pub fn assess(&self) -> Vec<Assessment> {
        let count = self.partners();
        let views: Vec<View> = (0..count).map(|partner| self.view(partner)).collect();
        let standings: Vec<Standing> = (0..count).map(|i| self.detector.standing(i)).collect();
        let mut verdicts: Vec<Verdict> = views.iter().map(View::before_judging).collect();
        let judged = |i: &usize| verdicts[*i] == Verdict::NotListed;
        let n_judged = (0..count).filter(judged).count();
        let candidates: Vec<usize> = (0..count)
            .filter(judged)
            .filter(|&i| severity::may_be_listed(standings[i].listing_strength()))
            .collect();
        let pairs: Vec<(View, Standing)> =
            candidates.iter().map(|&i| (views[i], standings[i])).collect();
        for (i, found) in candidates.into_iter().zip(declines(&pairs, n_judged)) {
            if let Some(decline) = found {
                verdicts[i] = Verdict::Listed(Box::new(decline));
            }
        }
        let assess = |(partner, verdict): (usize, Verdict)| {
            let state = standings[partner].state;
            Assessment {
                partner,
                verdict,
                days_since_last_click: state.last_click.map(|last| self.last() - last),
                state,
                conversion_fall: views[partner].conversion_fall(),
            }
        };
        verdicts.into_iter().enumerate().map(assess).collect()
    }
}

/// Returns the declines of the day's list among the partners that may be on it; `n_judged` counts
/// the others as well.
pub fn declines(candidates: &[(View<'_>, Standing)], n_judged: usize) -> Vec<Option<Decline>> {
    let facts: Vec<Facts> =
        candidates.iter().map(|(view, standing)| view.facts(standing)).collect();
    let listed = candidates.iter().zip(severity::severities(&facts, n_judged));
    listed.map(|((view, standing), severity)| Some(view.decline(severity?, standing))).collect()
}

impl Standing {
    /// Strength of the day's finding, which listings are decided by.
    pub fn listing_strength(&self) -> f64 {
        f64::from(self.finding.listing_strength)
    }
}

impl<'a> View<'a> {
    /// Looks at a partner whose history was learned alone.
    pub fn alone(series: &'a PartnerSeries, history: &'a History) -> Self {
        Self { series, history, place: 0 }
    }
}

impl View<'_> {
    /// The day that is judged.
    pub fn day(&self) -> Day {
        self.history.days - 1
    }

    /// Says why there is no verdict on the day, or that there may be one.
    pub(crate) fn before_judging(&self) -> Verdict {
        let until = (self.series.joined_on + MIN_AGE_DAYS).max(super::JUDGED_FROM);
        if self.day() < until {
            Verdict::TooYoung { until }
        } else if self.series.is_away(self.day()) {
            Verdict::Away
        } else {
            Verdict::NotListed
        }
    }

    /// Returns a fall of conversions at unchanged clicks.
    pub fn conversion_fall(&self) -> Option<ConversionFall> {
        conversions::fall(self.history, &self.series.conversions, self.place, self.day())
    }

    /// Returns the possible cause of a fall that began on `since`.
    pub(crate) fn diagnose(&self, since: Day) -> Diagnosis {
        cause::diagnose(self.series, self.history, self.place, since, self.day())
    }

    fn facts(&self, standing: &Standing) -> Facts {
        let (fall, state) = (self.fall(standing), &standing.state);
        Facts {
            listing_strength: standing.listing_strength(),
            share_lost: 1.0 - fall.kept,
            next_loss: NEXT_DAYS * fall.rate * fall.usual * (1.0 - fall.kept),
            silent_since_onset: state.last_click.is_some_and(|last| last < fall.since),
            dormancy: state.dormancy,
        }
    }

    /// Dates the fall behind the day's finding and measures it from its first day on.
    fn fall(&self, standing: &Standing) -> Fall {
        let (finding, day) = (standing.finding, self.day());
        let own_rate = f64::from(finding.rate);
        // The baseline may have sunk with the fall; the latched level has not.
        let before = standing
            .state
            .fallen
            .filter(|fallen| fallen.since < finding.since() && fallen.rate >= own_rate)
            .unwrap_or(Fallen { rate: own_rate, since: finding.since() });
        let rate = before.rate;
        let kept = f64::from(finding.kept) * if rate > 0.0 { own_rate / rate } else { 1.0 };
        let since = onset(self.history, self.place, (rate, kept), before.since, day);
        let exposure = self.history.exposure.between(self.place, since, day + 1);
        let seen = self.history.clicks.between(self.place, since, day + 1);
        let (usual, uncertainty) = (self.history.usual(), f64::from(finding.uncertainty));
        Fall { since, rate, kept, usual, exposure, seen, uncertainty }
    }

    /// Describes the decline that a partner is listed for.
    pub fn decline(&self, severity: Severity, standing: &Standing) -> Decline {
        let fall = self.fall(standing);
        let days = self.history.used.between(self.place, fall.since, self.day() + 1);
        let diagnosis = self.diagnose(fall.since);
        Decline {
            severity,
            since: fall.since,
            expected_per_day: fall.expected(),
            observed_per_day: fall.observed(days),
            share_lost: 1.0 - fall.kept,
            p_value: standing.finding.p_value(),
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
    /// Usual days in a day.
    usual: f64,
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
        Estimate::around(self.rate * self.usual, self.uncertainty + chance)
    }

    fn observed(&self, days: f64) -> Estimate {
        let variance = 1.0 / (self.seen + 0.5) + DAILY_NOISE / days.max(1.0);
        Estimate::around(self.rate * self.usual * self.kept, variance)
    }

    fn lost_to_date(&self) -> Estimate {
        let days = self.exposure / self.usual;
        self.expected().map(|per_day| (per_day * days - self.seen).max(0.0))
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
    pub(crate) fn around(value: f64, relative_variance: f64) -> Self {
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

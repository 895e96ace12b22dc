//! Guesses why a partner declined, from the traces a cause is likely to leave.
//!
//! The scores are logarithms of likelihood ratios under our own assumptions of what each cause
//! does; only *technical* rests on proof. A report must call the result a possible cause, show the
//! evidence, and record what the manager finds out.

use super::history::History;
use super::series::{Day, PartnerSeries};

/// What was usual is taken from so many days before the fall.
const REFERENCE_DAYS: usize = 120;
/// Links and logins often stop a little before the clicks.
const LEAD_DAYS: usize = 7;
/// A cause is named if it holds this share of the evidence.
const NAMED_FROM: f64 = 0.6;
/// No single trace outweighs all others: bounds of the scores.
const MARKET_BOUND: f64 = 6.0;
const ACTIVITY_BOUND: f64 = 8.0;
const RATE_BOUND: f64 = 6.0;
const FITS_BOUND: f64 = 4.0;
/// A day below 35 % of the mean is an off day: 45 % of the days in fits and starts, else 12 %.
const OFF_BELOW: f64 = 0.35;
const OFF_IN_FITS: f64 = 0.45;
const OFF_ELSE: f64 = 0.12;
/// Days are clustered, so each counts for less than one independent observation.
const DAY_WEIGHT: f64 = 0.45;

/// Names a probable cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// One country fell, the others hold.
    LocalMarket,
    /// The partner works in fits and starts.
    Organization,
    /// The partner no longer creates links nor logs in.
    LossOfInterest,
    /// The partner goes on, but the visitors do not buy.
    ContentMarketing,
    /// Links or pages are broken: the one cause that is proven.
    Technical,
    /// The traces do not tell.
    Unknown,
}

/// Causes that are told apart by traces, all equally likely beforehand.
const GUESSED: [Cause; 4] =
    [Cause::LocalMarket, Cause::Organization, Cause::LossOfInterest, Cause::ContentMarketing];

/// Holds a possible cause and why it is thought so.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// The cause, or [`Cause::Unknown`].
    pub cause: Cause,
    /// Share of the evidence that speaks for it, 0 to 1; 1 if proven.
    pub share: f64,
    /// Short statements of fact that speak for it.
    pub evidence: Vec<String>,
}

/// One trace: what it says for (or, if negative, against) a cause.
struct Clue {
    cause: Cause,
    score: f64,
    text: String,
}

/// Returns the possible cause of a fall that began on `since`, as known at the end of `day`.
pub(crate) fn diagnose(
    series: &PartnerSeries,
    history: &History,
    partner: usize,
    since: Day,
    day: Day,
) -> Diagnosis {
    let from = series.joined_on.max(since.saturating_sub(REFERENCE_DAYS)).min(since);
    let trace = Trace { series, history, partner, from, since, day };
    if let Some(diagnosis) = trace.technical() {
        return diagnosis;
    }
    let usual = history.exposure.between(partner, from, since);
    let now = history.exposure.between(partner, since, day + 1);
    if usual <= 0.0 || now <= 0.0 {
        return Diagnosis { cause: Cause::Unknown, share: 0.25, evidence: Vec::new() };
    }
    let mut clues = trace.activity();
    clues.extend(trace.market(now / usual));
    clues.push(trace.conversion_rate());
    clues.extend(trace.fits_and_starts());
    conclude(clues)
}

fn conclude(clues: Vec<Clue>) -> Diagnosis {
    let scores = GUESSED.map(|cause| {
        clues.iter().filter(|clue| clue.cause == cause).map(|clue| clue.score).sum::<f64>()
    });
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
    let share = 1.0 / total;
    let likeliest = GUESSED.into_iter().zip(scores).find(|&(_, score)| score >= top);
    let cause = match likeliest {
        Some((cause, _)) if share >= NAMED_FROM => cause,
        Some(_) | None => Cause::Unknown,
    };
    let mut telling: Vec<Clue> = clues
        .into_iter()
        .filter(|clue| clue.score > 0.0 && (clue.cause == cause || cause == Cause::Unknown))
        .collect();
    telling.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut evidence: Vec<String> = Vec::new();
    for clue in telling {
        // One trace may speak for two causes.
        if !evidence.contains(&clue.text) {
            evidence.push(clue.text);
        }
    }
    Diagnosis { cause, share, evidence }
}

struct Trace<'a> {
    series: &'a PartnerSeries,
    history: &'a History,
    partner: usize,
    /// Reference days `from..since`, fallen days `since..=day`.
    from: Day,
    since: Day,
    day: Day,
}

impl Trace<'_> {
    fn technical(&self) -> Option<Diagnosis> {
        let relevant = self.since.saturating_sub(LEAD_DAYS)..=self.day;
        let faults = self.series.faults.iter().filter(|fault| relevant.contains(&fault.began_on));
        let evidence: Vec<String> = faults.map(|fault| fault.text.clone()).collect();
        (!evidence.is_empty()).then_some(Diagnosis {
            cause: Cause::Technical,
            share: 1.0,
            evidence,
        })
    }

    /// Links and logins: halved by poor organization, gone with interest.
    fn activity(&self) -> Vec<Clue> {
        let kinds = [
            ("link created", &self.series.links_created, 0.5, 0.1),
            ("login", &self.series.logins, 0.7, 0.25),
        ];
        // What never was cannot have stopped: a program may not tell us of logins at all.
        let ever = kinds.into_iter().filter(|(_, counts, ..)| sum(&counts[..=self.day]) > 0.0);
        let clues = ever.flat_map(|(kind, counts, organization, interest)| {
            let text = self.last_seen(kind, counts);
            [(Cause::Organization, organization), (Cause::LossOfInterest, interest)].map(
                |(cause, multiple)| Clue {
                    cause,
                    score: self.multiplied(counts, multiple),
                    text: text.clone(),
                },
            )
        });
        clues.collect()
    }

    /// Poisson score of "multiplied by m" against "unchanged", from a week before the fall on.
    fn multiplied(&self, counts: &[u32], m: f64) -> f64 {
        let lead = self.since.saturating_sub(LEAD_DAYS);
        let seen = sum(&counts[lead..=self.day]);
        let reference = &counts[self.from..lead.max(self.from + 1)];
        let per_day = (sum(reference) + 0.3) / reference.len() as f64;
        let expected = per_day * (self.day + 1 - lead) as f64;
        (seen * m.ln() - expected * (m - 1.0)).clamp(-ACTIVITY_BOUND, ACTIVITY_BOUND)
    }

    fn last_seen(&self, kind: &str, counts: &[u32]) -> String {
        let before = sum(&counts[self.from..self.since]);
        let after = sum(&counts[self.since..=self.day]);
        let days = self.day + 1 - self.since;
        let last = counts[..=self.day].iter().rposition(|&count| count > 0).unwrap_or(0);
        format!(
            "last {kind} {} days ago; {after} in the {days} days of the fall, {before} in the \
             {} days before",
            self.day - last,
            self.since - self.from
        )
    }

    /// One country fell and the others hold, against all fell alike.
    fn market(&self, stretch: f64) -> Option<Clue> {
        let now: Vec<f64> = self.by_country(self.since, self.day + 1);
        let expected: Vec<f64> =
            self.by_country(self.from, self.since).iter().map(|n| (n + 0.5) * stretch).collect();
        let total: f64 = expected.iter().sum();
        if now.len() < 2 {
            return None;
        }
        let likelihood =
            |mean: f64, seen: f64| if mean > 0.0 { seen * mean.ln() - mean } else { 0.0 };
        let kept = now.iter().sum::<f64>().max(0.1) / total;
        // Gain of letting country q alone have its own level, the others as expected.
        let gain = |q: usize| -> f64 {
            (0..now.len())
                .map(|c| {
                    let alone = if c == q { now[c].max(0.1) } else { expected[c] };
                    likelihood(alone, now[c]) - likelihood(expected[c] * kept, now[c])
                })
                .sum()
        };
        let (country, best) =
            (0..now.len()).map(|q| (q, gain(q))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        let change = |seen: f64, mean: f64| 100.0 * (seen / mean - 1.0);
        let others = now.iter().sum::<f64>() - now[country];
        Some(Clue {
            cause: Cause::LocalMarket,
            score: (best / (1.0 + 0.05 * total)).clamp(-MARKET_BOUND, MARKET_BOUND),
            text: format!(
                "{} {:+.0} %, other countries {:+.0} %",
                self.series.countries[country].name,
                change(now[country], expected[country]),
                change(others, total - expected[country]),
            ),
        })
    }

    /// Clicks by country, bursts cut by the same part in all countries.
    fn by_country(&self, from: Day, until: Day) -> Vec<f64> {
        let kept: Vec<f64> = (from..until)
            .map(|day| {
                let clicks = f64::from(self.series.clicks[day]).max(1.0);
                (self.history.clicks.on(self.partner, day) / clicks).min(1.0)
            })
            .collect();
        let countries = self.series.countries.iter();
        countries
            .map(|country| {
                let clicks = country.clicks[from..until].iter().map(|&n| f64::from(n));
                clicks.zip(&kept).map(|(clicks, kept)| clicks * kept).sum()
            })
            .collect()
    }

    /// The conversion rate fell to about 60 %.
    fn conversion_rate(&self) -> Clue {
        let capped = |from, until| self.history.clicks.between(self.partner, from, until);
        let before = sum(&self.series.conversions[self.from..self.since]);
        let rate = (before + 0.02) / (capped(self.from, self.since) + 1.0);
        let clicks = capped(self.since, self.day + 1);
        let seen = sum(&self.series.conversions[self.since..=self.day]);
        let score = seen * 0.6_f64.ln() + 0.4 * rate * clicks;
        Clue {
            cause: Cause::ContentMarketing,
            score: score.clamp(-RATE_BOUND, RATE_BOUND),
            text: format!(
                "{:.1} % of clicks convert, {:.1} % before",
                100.0 * seen / clicks.max(1.0),
                100.0 * rate
            ),
        }
    }

    fn fits_and_starts(&self) -> Option<Clue> {
        let clicks = &self.series.clicks[self.since..=self.day];
        let days = clicks.len() as f64;
        let mean = sum(clicks) / days;
        if mean < 2.0 || clicks.len() < 5 {
            return None;
        }
        let off = clicks.iter().filter(|&&n| f64::from(n) < OFF_BELOW * mean).count();
        let off_days = off as f64;
        let score = off_days * (OFF_IN_FITS / OFF_ELSE).ln()
            + (days - off_days) * ((1.0 - OFF_IN_FITS) / (1.0 - OFF_ELSE)).ln();
        Some(Clue {
            cause: Cause::Organization,
            score: (DAY_WEIGHT * score).clamp(-FITS_BOUND, FITS_BOUND),
            text: format!("{off} of {days} days almost without clicks, the others busier"),
        })
    }
}

fn sum(counts: &[u32]) -> f64 {
    counts.iter().map(|&n| f64::from(n)).sum()
}

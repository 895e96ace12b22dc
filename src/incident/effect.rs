//! Whether a remedy helped: treated cases against matched cases that nobody treated. Pure.
//!
//! Partners also come back by themselves, and those that lost most have most to regain. So each
//! treated case is compared with up to three untreated ones of the same kind, severity and size
//! whose share lost at the opening was nearest, over the same 28 days of the case's life. A
//! control must not have recovered before these days begin: a treated case had not either, or
//! nobody would have treated it.
#![expect(clippy::float_arithmetic, reason = "statistics of recoveries, no amount of money")]

use std::collections::{BTreeMap, BTreeSet};

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// A remedy is judged four weeks after it.
const WITHIN_DAYS: i64 = 28;
/// Below so many treated cases there is too little to say.
pub const TREATED_MIN: usize = 8;
const CONTROLS_MAX: usize = 3;
/// A level of the week before stands for a day without one.
const LEVEL_DAYS: i64 = 7;
/// Clicks in 28 days at which the size of a partner is another.
const SIZES: [i64; 3] = [100, 1_000, 10_000];
/// Two-sided 95 %.
const QUANTILE: f64 = 0.975;

/// The life of a case, in days since its opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Will not or cannot, as text.
    pub kind: String,
    /// The severity at the opening.
    pub severity: String,
    /// What was expected in 28 days at the opening.
    pub expected_28d: i64,
    /// Share lost at the opening, percent.
    pub share_lost_percent: i32,
    /// What was done, and on which day.
    pub remedy: Option<(String, i64)>,
    /// Day on which the partner was back.
    pub recovered_on: Option<i64>,
    /// What was left of the old level, percent, by day; in the order of days.
    pub kept: Vec<(i64, i32)>,
}

/// What is known of one remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The remedy.
    pub remedy: String,
    /// Treated cases that were followed for 28 days and have a match.
    pub n_treated: usize,
    /// Untreated cases that they were compared with.
    pub n_controls: usize,
    /// Cases that recovered within 28 days.
    pub recovered: Comparison,
    /// Share of the old level that came back within 28 days.
    pub regained: Comparison,
}

/// Treated against untreated, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Mean of the treated.
    pub treated_percent: i64,
    /// Mean of their matches.
    pub untreated_percent: i64,
    /// The difference; none while there are too few.
    pub difference: Option<Difference>,
}

/// A difference in percentage points with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Likeliest value.
    pub points: i64,
    /// Lower end.
    pub low: i64,
    /// Upper end.
    pub high: i64,
}

/// What 28 days brought, in percent.
#[derive(Clone, Copy, Debug)]
struct Outcome {
    recovered: f64,
    regained: f64,
}

/// A treated case beside its matches.
struct Match {
    treated: Outcome,
    controls: Vec<(usize, Outcome)>,
}

/// Measures every remedy that was applied, in the order of names.
pub fn effects(courses: &[Course]) -> Vec<Effect> {
    let mut by_remedy: BTreeMap<&str, Vec<(&Course, i64)>> = BTreeMap::new();
    for course in courses {
        if let Some((remedy, on)) = &course.remedy {
            by_remedy.entry(remedy).or_default().push((course, *on));
        }
    }
    let untreated: Vec<&Course> = courses.iter().filter(|c| c.remedy.is_none()).collect();
    by_remedy.into_iter().map(|(remedy, treated)| effect(remedy, &treated, &untreated)).collect()
}

fn effect(remedy: &str, treated: &[(&Course, i64)], untreated: &[&Course]) -> Effect {
    let matches: Vec<Match> = treated
        .iter()
        .filter_map(|&(course, on)| {
            let controls = controls(course, on, untreated);
            let treated = course.outcome(on)?;
            (!controls.is_empty()).then_some(Match { treated, controls })
        })
        .collect();
    let used: BTreeSet<usize> =
        matches.iter().flat_map(|m| m.controls.iter().map(|(place, _)| *place)).collect();
    Effect {
        remedy: remedy.to_owned(),
        n_treated: matches.len(),
        n_controls: used.len(),
        recovered: compare(&matches, |outcome| outcome.recovered),
        regained: compare(&matches, |outcome| outcome.regained),
    }
}

impl Course {
    /// Returns what the 28 days from a day on brought; none if the case had recovered before them
    /// or was not followed so long.
    fn outcome(&self, from: i64) -> Option<Outcome> {
        if self.recovered_on.is_some_and(|day| day < from) {
            return None;
        }
        let (before, after) = (self.kept_on(from)?, self.kept_on(from + WITHIN_DAYS)?);
        let is_back = self.recovered_on.is_some_and(|day| day <= from + WITHIN_DAYS);
        let recovered = if is_back { 100.0 } else { 0.0 };
        Some(Outcome { recovered, regained: f64::from(after) - f64::from(before) })
    }

    fn kept_on(&self, day: i64) -> Option<i32> {
        let is_near = |d: i64| d <= day && day - d < LEVEL_DAYS;
        self.kept.iter().rev().find(|&&(d, _)| is_near(d)).map(|&(_, kept)| kept)
    }

    fn size(&self) -> usize {
        SIZES.iter().filter(|&&bound| self.expected_28d >= bound).count()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.severity == other.severity && self.size() == other.size()
    }
}

/// Returns the nearest untreated cases over the same days of their life.
fn controls(course: &Course, on: i64, untreated: &[&Course]) -> Vec<(usize, Outcome)> {
    let mut alike: Vec<(i32, usize, Outcome)> = untreated
        .iter()
        .enumerate()
        .filter(|(_, control)| control.is_like(course))
        .filter_map(|(place, control)| {
            let apart = (control.share_lost_percent - course.share_lost_percent).abs();
            Some((apart, place, control.outcome(on)?))
        })
        .collect();
    alike.sort_by_key(|&(apart, place, _)| (apart, place));
    alike.truncate(CONTROLS_MAX);
    alike.into_iter().map(|(_, place, outcome)| (place, outcome)).collect()
}

fn compare(matches: &[Match], of: impl Fn(&Outcome) -> f64) -> Comparison {
    let treated: Vec<f64> = matches.iter().map(|m| of(&m.treated)).collect();
    // How much each control counts: one that serves many treated cases adds its own chance to all.
    let mut weights: BTreeMap<usize, (f64, Vec<f64>)> = BTreeMap::new();
    let mut untreated = Vec::with_capacity(matches.len());
    for m in matches {
        let share = 1.0 / m.controls.len() as f64;
        for (place, outcome) in &m.controls {
            let (weight, values) = weights.entry(*place).or_default();
            *weight += share / matches.len() as f64;
            values.push(of(outcome));
        }
        untreated.push(m.controls.iter().map(|(_, outcome)| of(outcome)).sum::<f64>() * share);
    }
    let controls: Vec<f64> = weights.values().map(|(_, values)| mean(values)).collect();
    let squares: f64 = weights.values().map(|(weight, _)| weight * weight).sum();
    let (treated_mean, untreated_mean) = (mean(&treated), mean(&untreated));
    let n = treated.len() as f64;
    let variance = spread(&treated) / n.max(1.0) + spread(&controls) * squares;
    let points = treated_mean - untreated_mean;
    let difference = (treated.len() >= TREATED_MIN).then(|| {
        let half = student(n - 1.0) * variance.sqrt();
        Difference { points: whole(points), low: whole(points - half), high: whole(points + half) }
    });
    Comparison {
        treated_percent: whole(treated_mean),
        untreated_percent: whole(untreated_mean),
        difference,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Returns the variance of values in percent. One more of each end is thought in: where all
/// recovered, or none, the next may still not.
fn spread(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|v| (v - center).powi(2)).sum();
    let ends = (100.0 - center).powi(2).min(2500.0) + center.powi(2).min(2500.0);
    (squares + ends / 2.0) / (values.len() as f64 + 1.0).max(1.0)
}

fn student(freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |law| law.inverse_cdf(QUANTILE))
}

fn whole(figure: f64) -> i64 {
    figure.round() as i64
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// A case that keeps what the share lost leaves until the day `from`, then `after`, percent.
    fn course(share_lost: i32, remedy: Option<i64>, from: i64, after: i32) -> Course {
        let before = 100 - share_lost;
        Course {
            kind: "will_not_sell".to_owned(),
            severity: "critical".to_owned(),
            expected_28d: 500,
            share_lost_percent: share_lost,
            remedy: remedy.map(|on| ("support-callback".to_owned(), on)),
            recovered_on: (after >= 80).then_some(from + 10),
            kept: (0..60).map(|day| (day, if day <= from { before } else { after })).collect(),
        }
    }

    /// Everybody regains what chance gives; the treated `effect` points on top.
    fn trial(seed: u64, effect: i32) -> Vec<Course> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut courses = Vec::new();
        for n in 0..120 {
            let (share_lost, on) = (rng.random_range(40..=100), rng.random_range(1..14));
            let is_treated = n % 3 == 0;
            // Who lost more regains more, whatever is done.
            let by_itself = rng.random_range(0..=40) + share_lost / 10;
            let regained = by_itself + if is_treated { effect } else { 0 };
            let after = 100 - share_lost + regained;
            // Whoever comes back does so after the last day of treatment, treated or not.
            courses.push(course(share_lost, is_treated.then_some(on), 14, after));
        }
        courses
    }

    #[test]
    fn the_interval_holds_the_true_effect_nineteen_times_in_twenty() {
        for effect in [0, 25] {
            let n_held = (0..200)
                .filter(|&seed| {
                    let found = effects(&trial(seed, effect))[0].regained.difference.unwrap();
                    (found.low..=found.high).contains(&i64::from(effect))
                })
                .count();
            assert!((180..=200).contains(&n_held), "{effect}: {n_held} of 200");
        }
    }

    #[test]
    fn a_strong_effect_is_told_from_none() {
        let strong = effects(&trial(1, 25))[0].regained.difference.unwrap();
        assert!(strong.low > 5 && strong.high < 45, "{strong:?}");
        let recovered = effects(&trial(1, 40))[0].recovered;
        assert!(recovered.treated_percent > recovered.untreated_percent + 15, "{recovered:?}");
    }

    #[test]
    fn below_eight_treated_there_is_too_little_to_say() {
        let mut courses: Vec<Course> = (0..7).map(|_| course(80, Some(3), 3, 60)).collect();
        courses.extend((0..20).map(|_| course(80, None, 3, 40)));
        let found = effects(&courses);
        assert_eq!((found[0].n_treated, found[0].recovered.difference), (7, None));
        courses.push(course(80, Some(3), 3, 60));
        let found = &effects(&courses)[0];
        assert_eq!((found.n_treated, found.n_controls), (8, 3));
        assert_eq!((found.regained.treated_percent, found.regained.untreated_percent), (40, 20));
        let difference = found.regained.difference.unwrap();
        assert_eq!(difference.points, 20);
        assert!(difference.low < 20 && difference.high > 20, "equal values still leave doubt");
    }

    #[test]
    fn only_like_cases_over_the_same_days_are_compared() {
        let treated = course(80, Some(10), 10, 60);
        let like = course(70, None, 10, 40);
        for (name, control, n) in [
            ("like", like.clone(), 1),
            ("another severity", Course { severity: "warning".to_owned(), ..like.clone() }, 0),
            ("another kind", Course { kind: "cannot_sell".to_owned(), ..like.clone() }, 0),
            ("another size", Course { expected_28d: 5_000, ..like.clone() }, 0),
            ("back before the days begin", Course { recovered_on: Some(9), ..like.clone() }, 0),
            ("not followed", Course { kept: like.kept[..30].to_vec(), ..like.clone() }, 0),
        ] {
            let found = effects(&[treated.clone(), control]);
            assert_eq!(found[0].n_controls, n, "{name}");
            assert_eq!(found[0].n_treated, n, "{name}");
        }
    }

    #[test]
    fn the_nearest_three_by_share_lost_are_taken() {
        let mut courses = vec![course(80, Some(3), 3, 60)];
        for share_lost in [50, 79, 81, 85, 99] {
            courses.push(course(share_lost, None, 3, 120 - share_lost));
        }
        let found = effects(&courses);
        assert_eq!((found[0].n_controls, found[0].regained.untreated_percent), (3, 20));
        courses[1] = course(50, None, 3, 0);
        assert_eq!(effects(&courses)[0].regained.untreated_percent, 20, "50 is too far");
        courses[3] = course(81, None, 3, 0);
        assert_eq!(effects(&courses)[0].regained.untreated_percent, 7, "81 is near");
    }
}

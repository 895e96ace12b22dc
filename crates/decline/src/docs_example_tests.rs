//! The example of `docs/decline.md`, computed by hand and by the detector: the page cannot drift.

use super::*;

const PAGE: &str = include_str!("../../../docs/decline.md");
/// Thirty partners with 10 clicks on each of 147 days; partner 0 has 1 a day in the last week.
const DAYS: usize = 147;
const FELL_ON: Day = 140;

/// What one of its 1,407 clicks has brought: 168.84 EUR of commission and 28 sales in all.
const EUROS_PER_CLICK: f64 = 168.84 / 1_407.0;
const SALES_PER_CLICK: f64 = 28.0 / 1_407.0;

fn example() -> Network {
    let partner = |falls: bool| PartnerSeries {
        clicks: (0..DAYS).map(|day| if falls && day >= FELL_ON { 1 } else { 10 }).collect(),
        conversions: vec![0; DAYS],
        links_created: vec![0; DAYS],
        logins: vec![0; DAYS],
        ..PartnerSeries::default()
    };
    Network::new(DAYS, (0..30).map(|n| partner(n == 0)).collect()).unwrap()
}

/// A value with the ends of its interval.
type Range = [f64; 3];

/// The page's formulas in the page's order.
struct ByHand {
    exposure: f64,
    expected: f64,
    kept: f64,
    own: f64,
    p_value: f64,
    /// Clicks a day.
    level: Range,
    observed: Range,
    lost: Range,
    next: Range,
}

const RATE: f64 = 10.0;
const SEEN: f64 = 7.0;
const BASELINE_ERROR: f64 = 1.0 / (0.8 * 560.0 + 0.5);

impl ByHand {
    fn of(exposure: f64, own: f64) -> Self {
        let expected = RATE * exposure;
        let kept = (SEEN + 0.5) / (expected + 0.5);
        let level = range(RATE, BASELINE_ERROR + own + 1.0 / expected);
        let observed = range(RATE * kept, 1.0 / (SEEN + 0.5) + 0.2 / 7.0);
        let per_day = level[0] - observed[0];
        let below = (level[0] - level[1]).hypot(observed[2] - observed[0]);
        let above = (level[2] - level[0]).hypot(observed[0] - observed[1]);
        Self {
            exposure,
            expected,
            kept,
            own,
            p_value: p_value(expected, own),
            level,
            observed,
            lost: level.map(|per_day| (per_day * exposure - SEEN).max(0.0)),
            next: [per_day, per_day - below, per_day + above].map(|lost| 28.0 * lost),
        }
    }

    fn lines(&self) -> Vec<String> {
        let (euros, sales) = (EUROS_PER_CLICK, SALES_PER_CLICK);
        let told = |name: &str, range: Range, by: f64, unit: &str, digits: usize| {
            let [value, low, high] = range.map(|figure| figure * by);
            format!("{name} | {value:.digits$} {unit}, {low:.digits$} to {high:.digits$}")
        };
        vec![
            format!("exposure | {:.3} usual days", self.exposure),
            format!("expected | {:.2} clicks", self.expected),
            told("expected in 28 days", self.level, 28.0, "clicks", 0),
            told("observed in 28 days", self.observed, 28.0, "clicks", 0),
            format!("share lost | {:.1} %", 100.0 * (1.0 - self.kept)),
            format!("own forecast error | {:.5}", self.own),
            format!("p-value | {:.1e}", self.p_value),
            told("lost to date", self.lost, 1.0, "clicks", 1),
            told("lost in the next 28 days", self.next, 1.0, "clicks", 1),
            told("sales lost to date", self.lost, sales, "sales", 1),
            told("sales lost in the next 28 days", self.next, sales, "sales", 1),
            told("commission lost to date", self.lost, euros, "EUR", 2),
            told("commission at stake", self.next, euros, "EUR", 2),
        ]
    }
}

/// Wilson and Hilferty: the cube root of a gamma is nearly normal.
fn range(mean: f64, variance: f64) -> Range {
    let ninth = variance / 9.0;
    [0.0, -1.96, 1.96].map(|z: f64| {
        let end = mean * (1.0 - ninth + z * ninth.sqrt()).powi(3);
        if z == 0.0 { mean } else { end }
    })
}

/// P(0) + ... + P(7) of the negative binomials.
fn p_value(expected: f64, own: f64) -> f64 {
    let mixture = [(0.5, 0.25), (1.0, 0.45), (2.0, 0.27), (4.0, 0.03)];
    let tail = |multiple: f64| {
        let size = 1.0 / (BASELINE_ERROR + multiple * own);
        let stays = expected / (size + expected);
        let mut term = (1.0 - stays).powf(size);
        let mut sum = term;
        for k in 1..=7 {
            term *= (size + f64::from(k) - 1.0) / f64::from(k) * stays;
            sum += term;
        }
        sum
    };
    mixture.iter().map(|(multiple, weight)| weight * tail(*multiple)).sum()
}

#[test]
fn docs_example() {
    let network = example();
    let Verdict::Listed(found) = network.assess().swap_remove(0).verdict else {
        panic!("not listed")
    };
    let finding = network.detector.standing(0).finding;
    let exposure = network.detector.history.exposure.between(0, FELL_ON, DAYS);
    let hand = ByHand::of(exposure, f64::from(finding.uncertainty) - BASELINE_ERROR);
    let lines = hand.lines();
    for line in &lines {
        assert!(PAGE.contains(line), "docs/decline.md lacks one of\n{}", lines.join("\n"));
    }
    // And the detector says the same.
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
    let same = |e: Estimate, [value, low, high]: Range| {
        close(e.value, value) && close(e.low, low) && close(e.high, high)
    };
    assert_eq!((found.since, finding.since()), (FELL_ON, FELL_ON));
    assert!(same(found.expected_per_day, hand.level), "{found:?}");
    assert!(same(found.observed_per_day, hand.observed), "{found:?}");
    assert!(close(found.share_lost, 1.0 - hand.kept), "{found:?}");
    assert!(close(found.p_value, hand.p_value), "{} {}", found.p_value, hand.p_value);
    assert!(same(found.lost_to_date, hand.lost), "{found:?}");
    assert!(same(found.lost_next_28_days, hand.next), "{found:?}");
    assert_eq!(found.severity, Severity::Critical);
    assert_eq!(found.false_alarms, FalseAlarms::OfList(0.01));
}

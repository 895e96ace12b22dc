//! The example of `docs/decline.md`, computed by hand and by the detector: the page cannot drift.

use super::*;

const PAGE: &str = include_str!("../../../docs/decline.md");
/// Thirty partners with 10 clicks on each of 147 days; partner 0 has 1 a day in the last week.
const DAYS: usize = 147;
const FELL_ON: Day = 140;
/// A click of it has earned 0.12 EUR.
const CENTS_A_CLICK: f64 = 12.0;

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

#[test]
fn docs_example() {
    let network = example();
    let last = DAYS - 1;
    let Verdict::Listed(found) = network.assess(last).swap_remove(0).verdict else {
        panic!("not listed")
    };
    let finding = network.finding(0, last);
    // By hand, from here on: the page's formulas in the page's order.
    let exposure: f64 = (FELL_ON..DAYS).map(|day| network.history.exposure.on(0, day)).sum();
    let (rate, seen) = (10.0, 7.0);
    let expected = rate * exposure;
    let kept = (seen + 0.5) / (expected + 0.5);
    let baseline_error: f64 = 1.0 / (0.8 * 560.0 + 0.5);
    let own = f64::from(finding.uncertainty) - baseline_error;
    let p_value: f64 = [(0.5, 0.25), (1.0, 0.45), (2.0, 0.27), (4.0, 0.03)]
        .iter()
        .map(|(multiple, weight)| {
            let size = 1.0 / (baseline_error + multiple * own);
            let stays = expected / (size + expected);
            // P(0) + ... + P(7) of the negative binomial.
            let mut term = (1.0 - stays).powf(size);
            let mut sum = term;
            for k in 1..=7 {
                term *= (size + f64::from(k) - 1.0) / f64::from(k) * stays;
                sum += term;
            }
            weight * sum
        })
        .sum();
    let lost = expected - seen;
    let next = 28.0 * rate * (1.0 - kept);
    let lines = [
        format!("exposure | {exposure:.3} usual days"),
        format!("expected | {expected:.2} clicks"),
        format!("share lost | {:.1} %", 100.0 * (1.0 - kept)),
        format!("own forecast error | {own:.5}"),
        format!("p-value | {p_value:.1e}"),
        format!("lost to date | {lost:.1} clicks"),
        format!("lost in the next 28 days | {next:.1} clicks"),
        format!("commission at stake | {:.2} EUR", next * CENTS_A_CLICK / 100.0),
    ];
    for line in &lines {
        assert!(PAGE.contains(line), "docs/decline.md lacks one of\n{}", lines.join("\n"));
    }
    // And the detector says the same.
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
    assert_eq!((found.since, finding.since()), (FELL_ON, FELL_ON));
    assert!(close(found.expected_per_day.value, rate), "{found:?}");
    assert!(close(found.share_lost, 1.0 - kept), "{found:?}");
    assert!(close(found.p_value, p_value), "{} {p_value}", found.p_value);
    assert!(close(found.lost_to_date.value, lost), "{found:?}");
    assert!(close(found.lost_next_28_days.value, next), "{found:?}");
    assert_eq!(found.severity, Severity::Critical);
}

//! Pictures are well-formed, exact to two decimals, and safe with any name.

use chrono::Days;
use proptest::prelude::*;

use super::*;

fn activity(name: &str, days: usize) -> Activity {
    let first: NaiveDate = "2026-06-01".parse().unwrap();
    let point = |day: usize| {
        let mean = if day % 7 > 4 { 20.0 } else { 12.0 };
        let expected = (day != 30).then_some(Estimate { value: mean, low: 5.0, high: mean + 9.0 });
        let observed = if day == 20 {
            900
        } else if day < 80 {
            mean as u32
        } else {
            3
        };
        Point { date: first + Days::new(day as u64), observed, expected }
    };
    let since = first + Days::new(80);
    Activity {
        name: name.to_owned(),
        points: (0..days).map(point).collect(),
        fall: Some(FallSince { since, expected: 14.25, observed: 3.0, share_lost: 0.789 }),
    }
}

/// Reads XML as far as these pictures go: every element is closed, in order.
fn check_well_formed(xml: &str) {
    let mut open: Vec<String> = Vec::new();
    for part in xml.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("open tag: {part}"));
        assert!(!text.contains('>') || open.last().is_some_and(|t| t == "style"), "{part}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap().to_owned());
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?}");
}

fn longest_fraction(text: &str) -> usize {
    let fractions =
        text.split('.').skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    fractions.map(|rest| rest.chars().take_while(char::is_ascii_digit).count()).max().unwrap_or(0)
}

#[test]
fn chart_shows_band_clicks_burst_and_onset() {
    let svg = chart::svg(&activity("Blog Süd", 112));
    check_well_formed(&svg);
    assert!(svg.contains("role=\"img\"") && svg.contains("<title>Blog Süd: clicks a day</title>"));
    assert!(svg.contains(
        "<desc>Declined since 2026-08-20: 14 clicks a day expected, 3.0 observed, 79 % lost.</desc>"
    ));
    assert!(svg.contains("since 2026-08-20"));
    // The day without an expectation parts the band in two; the burst is cut off and marked.
    assert_eq!(svg.matches("class=\"tb-band\" d=").count(), 2);
    assert_eq!(svg.matches("h8l-4 -7z").count(), 1);
    assert_eq!(svg.matches("class=\"tb-onset\"").count(), 1);
    for label in [">Jul<", ">Aug<", ">Sep<", ">0<", ">20<"] {
        assert!(svg.contains(label), "{label}");
    }
    assert!(longest_fraction(&svg) <= 2, "{svg}");
}

#[test]
fn sparkline_is_small_and_says_the_same() {
    let svg = sparkline::svg(&activity("Blog Süd", sparkline::DAYS));
    check_well_formed(&svg);
    assert!(svg.contains("role=\"img\"") && svg.contains("79 % lost."));
    assert_eq!(svg.matches("class=\"tb-onset\"").count(), 1);
    assert!(longest_fraction(&svg) <= 2 && svg.len() < 5_000, "{}", svg.len());
}

#[test]
fn steady_and_silent_partners_have_a_picture_too() {
    let mut steady = activity("Steady", 40);
    steady.fall = None;
    let svg = chart::svg(&steady);
    check_well_formed(&svg);
    assert!(svg.contains("No decline is listed.") && !svg.contains("class=\"tb-onset\""));
    assert!(svg.contains(">8 Jun<"), "weeks are named in a short picture");
    for point in &mut steady.points {
        (point.observed, point.expected) = (0, None);
    }
    for svg in [chart::svg(&steady), sparkline::svg(&steady)] {
        check_well_formed(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn fall_before_the_picture_is_marked_at_its_edge() {
    let mut late = activity("Late", 112);
    late.points.drain(..90);
    assert!(chart::svg(&late).contains("since before 2026-08-20"));
}

#[test]
fn rates_are_read_at_a_glance() {
    let told = [0.031, 0.5, 9.96, 1234.4, 1_234_567.0].map(per_day);
    assert_eq!(told, ["0.03", "0.5", "10", "1,234", "1,234,567"]);
    assert_eq!(thousands(-1234.0), "-1,234");
}

proptest! {
    #[test]
    fn no_name_breaks_a_picture(name in "\\PC{0,40}|[<>&\"'\\x00-\\x1f/a]{0,20}") {
        for svg in [chart::svg(&activity(&name, 30)), sparkline::svg(&activity(&name, 97))] {
            check_well_formed(&svg);
            prop_assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}

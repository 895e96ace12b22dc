//! Rises made by hand in the town of the detector's tests.

use super::super::tests::{NOBODY, Replay, SUBJECT, Town};
use super::*;

fn rising(network: &Replay, day: Day) -> Vec<usize> {
    network.rising(day).iter().map(|rise| rise.partner).collect()
}

#[test]
fn doubled_partner_rises_within_weeks_with_its_gain() {
    let network = Town::steady(200, 60, 10.0).subject(160..200, 2.0).network();
    assert_eq!(rising(&network, 159), NOBODY);
    assert_eq!(rising(&network, 175), [SUBJECT]);
    let rise = network.rising(187)[0];
    assert!((158..=163).contains(&rise.since), "{rise:?}");
    assert!((rise.expected_per_day.value - 10.0).abs() < 1.5, "{rise:?}");
    assert!((rise.observed_per_day.value - 20.0).abs() < 2.0, "{rise:?}");
    assert!(rise.observed_per_day.low > rise.expected_per_day.high, "{rise:?}");
    assert!((rise.gained - 270.0).abs() < 50.0, "{rise:?}");
    assert!(rise.p_value < 1e-3, "{rise:?}");
}

#[test]
fn steady_network_rises_nowhere() {
    let network = Town::steady(260, 60, 5.0).network();
    assert!((90..260).all(|day| rising(&network, day).is_empty()));
}

#[test]
fn burst_of_one_day_is_no_rise() {
    let network = Town::steady(200, 60, 10.0).subject(150..151, 100.0).network();
    assert!((150..200).all(|day| rising(&network, day).is_empty()));
}

#[test]
fn good_month_of_everybody_is_nobody_s_rise() {
    let network = Town::steady(200, 60, 20.0).everybody(150..200, 1.6).network();
    assert!((150..200).all(|day| rising(&network, day).is_empty()));
}

#[test]
fn recovery_of_a_fallen_partner_is_a_rise_and_its_end_is_none() {
    let network = Town::steady(260, 60, 20.0).subject(170..200, 3.0).network();
    assert_eq!(rising(&network, 195), [SUBJECT]);
    assert_eq!(rising(&network, 215), NOBODY, "no longer high");
}

#[test]
fn newcomers_are_not_judged() {
    let network = Town::steady(200, 60, 10.0)
        .with(|newcomer| newcomer.joined_on = 150)
        .subject(0..150, 0.0)
        .subject(180..200, 4.0)
        .network();
    assert_eq!(rising(&network, 190), NOBODY);
}

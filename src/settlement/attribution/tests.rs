//! The ladder as tables and properties.

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::ids::ProgramNo;
use crate::program::attribution::{BINDING_EVENTS, Model, Policies, PolicyVersion};

const CLICKED: PartnerNo = PartnerNo(1);
const COUPONED: PartnerNo = PartnerNo(2);
const OWNING: PartnerNo = PartnerNo(3);
const STRANGER: PartnerNo = PartnerNo(9);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn click_at() -> Timestamp {
    at("2026-01-01T00:00:00Z")
}

fn click_of(partner: PartnerNo, program: u32) -> String {
    let click = ClickId::new(click_at(), ProgramNo(program), partner, LinkNo(2), [0; 5]);
    click.sign(&KeyRing::single([1; 32])).to_string()
}

fn coupon_of(partner: PartnerNo, from: i64, days: Option<i64>) -> CouponTerms {
    let starts_at = click_at() + Duration::days(from);
    CouponTerms { partner, starts_at, ends_at: days.map(|days| starts_at + Duration::days(days)) }
}

fn program(policy: Policy) -> ProgramFacts {
    let first = PolicyVersion { id: None, effective_from: click_at(), policy };
    ProgramFacts { number: ProgramNo(7), policies: Policies::new(vec![first]), plans: Vec::new() }
}

fn decide(asked: &Asked<'_>, policy: Policy) -> Attribution {
    attribute(asked, &program(policy), &KeyRing::single([1; 32]), |partner| partner != STRANGER)
}

fn nothing() -> Asked<'static> {
    Asked {
        occurred_at: click_at() + Duration::days(1),
        click_id: None,
        click_ids: &[],
        coupon_code: None,
        coupons: &[],
        owner: None,
    }
}

/// Says what each candidate came to: `click counts, coupon outranked`.
fn findings(attribution: &Attribution) -> String {
    let told = |c: &Candidate| format!("{} {}", c.step().as_str(), c.finding.as_str());
    attribution.candidates.iter().map(told).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_window_is_closed_at_both_ends() {
    let text = click_of(CLICKED, 7);
    let slow = Policy { min: Duration::seconds(10), ..Policy::default() };
    for (occurred_at, usual, with_minimum) in [
        ("2025-12-31T23:54:59Z", "before_click", "before_click"),
        ("2025-12-31T23:55:00Z", "click", "too_soon"),
        ("2026-01-01T00:00:00Z", "click", "too_soon"),
        ("2026-01-01T00:00:09.999Z", "click", "too_soon"),
        ("2026-01-01T00:00:10Z", "click", "click"),
        ("2026-01-31T00:00:00Z", "click", "click"),
        ("2026-01-31T00:00:00.001Z", "outside_window", "outside_window"),
    ] {
        let asked = Asked { click_id: Some(&text), occurred_at: at(occurred_at), ..nothing() };
        assert_eq!(decide(&asked, Policy::default()).as_str(), usual, "{occurred_at}");
        assert_eq!(decide(&asked, slow.clone()).as_str(), with_minimum, "{occurred_at}");
    }
}

#[test]
fn a_click_id_of_others_attributes_nothing() {
    for (text, keys, expected) in [
        (click_of(CLICKED, 8), [1; 32], "other_program"),
        (click_of(CLICKED, 7), [2; 32], "bad_click_id"),
        (click_of(STRANGER, 7), [1; 32], "not_enrolled"),
    ] {
        let asked = Asked { click_id: Some(&text), ..nothing() };
        let found = attribute(&asked, &program(Policy::default()), &KeyRing::single(keys), |p| {
            p != STRANGER
        });
        assert_eq!((found.as_str(), found.partner(), found.click()), (expected, None, None));
    }
}

#[test]
fn a_coupon_counts_while_it_is_in_force_and_names_why_not() {
    let spring = coupon_of(COUPONED, 0, Some(10));
    let autumn = coupon_of(OWNING, 20, Some(10));
    let all = [spring, autumn];
    for (day, coupons, expected, partner) in [
        (-1, &all[..], "coupon_not_begun", None),
        (0, &all, "coupon", Some(COUPONED)),
        (10, &all, "coupon_ended", None),
        (20, &all, "coupon", Some(OWNING)),
        (30, &all, "coupon_ended", None),
        (5, &all[..0], "unknown_coupon", None),
    ] {
        let asked = Asked {
            occurred_at: click_at() + Duration::days(day),
            coupon_code: Some("SPRING"),
            coupons,
            ..nothing()
        };
        let found = decide(&asked, Policy::default());
        assert_eq!((found.as_str(), found.partner()), (expected, partner), "day {day}");
        assert_eq!(found.click(), None);
    }
}

#[test]
fn the_ladder_decides_and_tells_what_stood_behind() {
    let (text, coupons) = (click_of(CLICKED, 7), [coupon_of(COUPONED, 0, None)]);
    let all = Asked {
        click_id: Some(&text),
        coupon_code: Some("X"),
        coupons: &coupons,
        owner: Some(Owner { partner: OWNING, since: click_at() }),
        ..nothing()
    };
    use Step::{Click, Coupon, Customer};
    let late = Asked { occurred_at: click_at() + Duration::days(31), ..all };
    for (ladder, asked, partner, expected) in [
        (
            vec![Click, Coupon, Customer],
            all,
            Some(CLICKED),
            "click counts, coupon outranked, customer outranked",
        ),
        (
            vec![Customer, Click, Coupon],
            all,
            Some(OWNING),
            "customer counts, click outranked, coupon outranked",
        ),
        (
            vec![Click, Coupon, Customer],
            late,
            Some(COUPONED),
            "click outside_window, coupon counts, customer outranked",
        ),
        (
            vec![Coupon],
            all,
            Some(COUPONED),
            "coupon counts, click not_in_ladder, customer \
          not_in_ladder",
        ),
        (
            vec![Click],
            late,
            None,
            "click outside_window, coupon not_in_ladder, customer \
          not_in_ladder",
        ),
        (
            vec![Customer],
            Asked { owner: None, ..all },
            None,
            "click not_in_ladder, coupon \
          not_in_ladder",
        ),
        (vec![Click, Coupon, Customer], nothing(), None, ""),
    ] {
        let found = decide(&asked, Policy { ladder: ladder.clone(), ..Policy::default() });
        assert_eq!((found.partner(), findings(&found).as_str()), (partner, expected), "{ladder:?}");
    }
}

#[test]
fn every_event_of_a_conversion_may_bind() {
    assert_eq!(BINDING_EVENTS, crate::conversion::EVENTS);
}

#[test]
fn the_policy_of_the_time_judges() {
    let text = click_of(CLICKED, 7);
    let edition = |day, days| PolicyVersion {
        id: None,
        effective_from: click_at() + Duration::days(day),
        policy: Policy { window: Duration::days(days), ..Policy::default() },
    };
    let facts = ProgramFacts {
        policies: Policies::new(vec![edition(10, 5), edition(0, 30)]),
        ..program(Policy::default())
    };
    for (day, expected) in [(9, "click"), (10, "outside_window")] {
        let occurred_at = click_at() + Duration::days(day);
        let asked = Asked { click_id: Some(&text), occurred_at, ..nothing() };
        let found = attribute(&asked, &facts, &KeyRing::single([1; 32]), |_| true);
        assert_eq!(found.as_str(), expected, "day {day}");
    }
}

fn any_partner() -> impl Strategy<Value = PartnerNo> {
    prop::sample::select(vec![CLICKED, COUPONED, OWNING, STRANGER])
}

#[test]
fn a_path_has_parts_where_a_click_decides_alone() {
    let (ids, coupons) =
        ([click_of(CLICKED, 7), click_of(OWNING, 7)], [coupon_of(COUPONED, 0, None)]);
    let asked = Asked { click_ids: &ids, coupon_code: Some("X"), coupons: &coupons, ..nothing() };
    let shared = |ladder: &[Step]| {
        let policy = Policy { ladder: ladder.to_vec(), model: Model::Linear, ..Policy::default() };
        let found = decide(&asked, policy);
        let of_path: u32 = found.path.iter().flat_map(|path| &path.touches).map(|t| t.weight).sum();
        (found.shares().len(), found.as_str(), of_path)
    };
    assert_eq!(shared(&[Step::Click, Step::Coupon]), (2, "click", 2));
    assert_eq!(shared(&[Step::Coupon, Step::Click]), (1, "coupon", 0));
    assert_eq!(shared(&[Step::Customer]), (0, "not_in_ladder", 0));
}

proptest! {
    #[test]
    fn what_counts_is_the_first_good_step_and_alone(
        ladder in Just(Step::ALL.to_vec()).prop_shuffle(),
        steps in 1..=3usize,
        days in -2..40i64,
        clicked in prop::option::of(any_partner()),
        coupon in prop::option::of((any_partner(), -5..30i64, prop::option::of(1..30i64))),
        owner in prop::option::of(any_partner()),
        min in 0..100i64,
    ) {
        let ladder = ladder[..steps].to_vec();
        let text = clicked.map(|partner| click_of(partner, 7));
        let coupons: Vec<_> = coupon.iter().map(|(p, from, days)| coupon_of(*p, *from, *days)).collect();
        let asked = Asked {
            occurred_at: click_at() + Duration::days(days),
            click_id: text.as_deref(),
            click_ids: &[],
            coupon_code: coupon.map(|_| "X"),
            coupons: &coupons,
            owner: owner.map(|partner| Owner { partner, since: click_at() }),
        };
        let policy = Policy { ladder: ladder.clone(), min: Duration::seconds(min), ..Policy::default() };
        let found = decide(&asked, policy.clone());
        prop_assert_eq!(&found, &decide(&asked, policy.clone()), "it is a function of what is asked");

        let place = |c: &Candidate| ladder.iter().position(|step| *step == c.step());
        let counting: Vec<&Candidate> =
            found.candidates.iter().filter(|c| c.finding == Finding::Counts).collect();
        prop_assert!(counting.len() <= 1);
        for candidate in &found.candidates {
            let is_in_ladder = place(candidate).is_some();
            prop_assert_eq!(candidate.finding == Finding::NotInLadder, !is_in_ladder);
            if candidate.finding == Finding::Outranked {
                prop_assert!(place(counting[0]) < place(candidate));
            }
        }
        // Everything that came was looked at, once.
        let came = [clicked.is_some(), coupon.is_some(), owner.is_some()];
        prop_assert_eq!(found.candidates.len(), came.iter().filter(|came| **came).count());

        // Each step alone says the same of its evidence, so what counts is the first good one.
        let alone = |step: Step| decide(&asked, Policy { ladder: vec![step], ..policy.clone() }).partner();
        prop_assert_eq!(found.partner(), ladder.iter().find_map(|step| alone(*step)));
        prop_assert!(found.partner() != Some(STRANGER));
        if found.decisive().is_some_and(|c| c.step() != Step::Click) {
            prop_assert_eq!(found.click(), None);
        }
    }
}

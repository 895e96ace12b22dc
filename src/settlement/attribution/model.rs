//! Attribution models: which part of a conversion each touch on the way to it has.
//!
//! A model turns the times of the touches that count into weights, whole numbers that stand in exact
//! proportion; [`Money::split`](crate::money::Money::split) turns weights into cents that sum to the
//! whole. The order in which a shop lists its touches changes nothing: they are weighed in the order
//! of their signed times.

use crate::clock::Timestamp;
use crate::program::attribution::Model;

/// Bits of the largest weight by time. Twenty of them still fit into a weight of 32 bits.
const DECAY_BITS: u32 = 24;
const MS_PER_DAY: u64 = 86_400_000;

/// Returns the weight of each touch that counts; `times` are in their order.
///
/// One touch alone has all of it by every model. A touch that weighs 0 has nothing.
pub fn weights(model: Model, times: &[Timestamp]) -> Vec<u32> {
    let n = times.len();
    let is_end = |i: usize| i == 0 || i + 1 == n;
    match model {
        Model::LastClick => (0..n).map(|i| u32::from(i + 1 == n)).collect(),
        Model::FirstClick => (0..n).map(|i| u32::from(i == 0)).collect(),
        Model::Linear => vec![1; n],
        Model::Position if n <= 2 => vec![1; n],
        Model::Position => {
            // With m between the ends each end weighs 2m, each between 1: 2m of 5m is 40 %.
            let between = u32::try_from(n - 2).unwrap_or(u32::MAX / 2);
            (0..n).map(|i| if is_end(i) { 2 * between } else { 1 }).collect()
        }
        Model::TimeDecay { half_life_days } => {
            let half_life_ms = u64::from(half_life_days.max(1)) * MS_PER_DAY;
            let last_at = times.iter().max();
            let age_ms = |at: &Timestamp| {
                let age = last_at.map_or(0, |last| (*last - *at).num_milliseconds());
                u64::try_from(age).unwrap_or(0)
            };
            times.iter().map(|at| decayed(age_ms(at), half_life_ms)).collect()
        }
    }
}

/// Joins the weights of touches by partner, in the order of the first touch of each that weighs
/// anything: a partner who was touched twice has one part, and one whose touches weigh nothing none.
pub fn by_partner<P: Copy + PartialEq>(touches: impl Iterator<Item = (P, u32)>) -> Vec<(P, u32)> {
    let mut parts: Vec<(P, u32)> = Vec::new();
    for (partner, weight) in touches.filter(|(_, weight)| *weight > 0) {
        match parts.iter_mut().find(|(known, _)| *known == partner) {
            Some((_, sum)) => *sum = sum.saturating_add(weight),
            None => parts.push((partner, weight)),
        }
    }
    parts
}

/// 2^(-1/2), 2^(-1/4), 2^(-1/8) and so on in units of 2^-32.
const ROOTS: [u64; 16] = [
    3_037_000_500,
    3_611_622_603,
    3_938_502_376,
    4_112_874_773,
    4_202_935_003,
    4_248_701_965,
    4_271_771_996,
    4_283_353_945,
    4_289_156_690,
    4_292_061_010,
    4_293_513_907,
    4_294_240_540,
    4_294_603_903,
    4_294_785_595,
    4_294_876_445,
    4_294_921_870,
];

/// Returns 2^24 · 2^(-age / half-life) in whole numbers: the same on every machine, for ever.
fn decayed(age_ms: u64, half_life_ms: u64) -> u32 {
    let halvings = age_ms / half_life_ms;
    if halvings > u64::from(DECAY_BITS) {
        return 0;
    }
    let mut rest = age_ms % half_life_ms;
    let mut weight: u64 = 1 << 32;
    for root in ROOTS {
        rest *= 2;
        if rest >= half_life_ms {
            rest -= half_life_ms;
            weight = (weight * root) >> 32;
        }
    }
    u32::try_from(weight >> (u64::from(32 - DECAY_BITS) + halvings)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::money::Money;

    const MODELS: [Model; 6] = [
        Model::LastClick,
        Model::FirstClick,
        Model::Linear,
        Model::Position,
        Model::TimeDecay { half_life_days: 7 },
        Model::TimeDecay { half_life_days: 1 },
    ];

    fn at(hours: i64) -> Timestamp {
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        start + TimeDelta::hours(hours)
    }

    fn times(path: &[(u32, i64)]) -> Vec<Timestamp> {
        path.iter().map(|(_, hours)| at(*hours)).collect()
    }

    /// What each partner has of an amount.
    fn parts_of(minor: i64, model: Model, path: &[(u32, i64)]) -> Vec<(u32, i64)> {
        let weights = weights(model, &times(path));
        assert_eq!(weights.len(), path.len());
        let shares = by_partner(path.iter().map(|(partner, _)| *partner).zip(weights));
        let weights: Vec<u32> = shares.iter().map(|share| share.1).collect();
        let parts = Money::new(minor, "EUR".parse().unwrap()).split(&weights).unwrap();
        shares.iter().zip(parts).map(|(share, part)| (share.0, part.minor)).collect()
    }

    /// What each partner has of 100.01 EUR.
    fn parts(model: Model, path: &[(u32, i64)]) -> Vec<(u32, i64)> {
        parts_of(10_001, model, path)
    }

    #[test]
    fn each_model_shares_as_it_says() {
        let week = 24 * 7;
        let path = [(1, 0), (2, week), (3, 2 * week)];
        let decay = Model::TimeDecay { half_life_days: 7 };
        for (model, expected) in [
            (Model::LastClick, vec![(3, 10_001)]),
            (Model::FirstClick, vec![(1, 10_001)]),
            (Model::Linear, vec![(1, 3_334), (2, 3_334), (3, 3_333)]),
            (Model::Position, vec![(1, 4_001), (2, 2_000), (3, 4_000)]),
            // 1 : 2 : 4.
            (decay, vec![(1, 1_429), (2, 2_857), (3, 5_715)]),
        ] {
            assert_eq!(parts(model, &path), expected, "{model:?}");
        }
    }

    #[test]
    fn position_is_defined_for_one_two_and_many_touches() {
        assert_eq!(parts(Model::Position, &[(1, 0)]), [(1, 10_001)]);
        assert_eq!(parts(Model::Position, &[(1, 0), (2, 1)]), [(1, 5_001), (2, 5_000)]);
        let five = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)];
        let expected = [(1, 4_000), (2, 667), (3, 667), (4, 667), (5, 4_000)];
        assert_eq!(parts(Model::Position, &five), expected);
        assert_eq!(weights(Model::Position, &times(&five)), [6, 1, 1, 1, 6]);
    }

    #[test]
    fn a_partner_touched_twice_has_one_part() {
        let path = [(1, 0), (2, 1), (1, 2)];
        assert_eq!(parts(Model::Linear, &path), [(1, 6_667), (2, 3_334)]);
        assert_eq!(parts(Model::Position, &path), [(1, 8_001), (2, 2_000)]);
        assert_eq!(parts(Model::LastClick, &path), [(1, 10_001)]);
    }

    #[test]
    fn a_touch_of_long_ago_weighs_nothing_and_half_a_life_is_the_root_of_a_half() {
        let decay = Model::TimeDecay { half_life_days: 1 };
        assert_eq!(weights(decay, &[at(0), at(24 * 26)]), [0, 1 << 24]);
        assert_eq!(parts(decay, &[(1, 0), (2, 24 * 26)]), [(2, 10_001)]);
        // 2^24 / √2 = 11,863,283.2…
        assert_eq!(weights(decay, &[at(0), at(12)]), [11_863_283, 1 << 24]);
    }

    #[test]
    fn each_root_is_the_root_of_the_one_before_it() {
        let mut square = 1u64 << 31;
        for root in ROOTS {
            let (root, exact) = (u128::from(root), u128::from(square) << 32);
            // Rounded to the nearest: (root - 1/2)² ≤ exact ≤ (root + 1/2)², up to a unit of square.
            assert!(root * root - 2 * root <= exact && exact <= root * root + 2 * root, "{root}");
            square = u64::try_from(root).unwrap();
        }
    }

    #[test]
    fn the_example_of_the_page_is_what_the_models_say() {
        let page = include_str!("../../../docs/attribution.md");
        let (_, example) = page.split_once("<!-- models: reckoned again by a test -->").unwrap();
        let (example, _) = example.split_once("<!-- models: end -->").unwrap();
        let cells = |line: &str| -> Vec<String> {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let lines = example.lines().filter(|line| line.starts_with('|'));
        let table: Vec<Vec<String>> = lines.map(cells).collect();
        let rows = &table[2..];
        let days = |row: &Vec<String>| row[0].trim_end_matches(" days").parse::<i64>().unwrap();
        let path: Vec<(u32, i64)> = (0..).zip(rows).map(|(n, row)| (n, -24 * days(row))).collect();
        for (column, name) in table[0].iter().enumerate().skip(1) {
            let found = parts_of(2_001, Model::read(name, None).unwrap(), &path);
            for (partner, row) in (0..).zip(rows) {
                let part = found.iter().find(|(known, _)| *known == partner);
                let cents = part.map_or(0, |(_, minor)| *minor);
                assert_eq!(format!("{}.{:02}", cents / 100, cents % 100), row[column], "{name}");
            }
        }
        assert_eq!((rows.len(), table[0].len()), (3, 1 + Model::NAMES.len()));
    }

    fn any_path() -> impl Strategy<Value = Vec<(u32, i64)>> {
        let hours = prop::collection::btree_set(0..24 * 90i64, 1..=20);
        (hours, prop::collection::vec(1..6u32, 20))
            .prop_map(|(hours, partners)| partners.into_iter().zip(hours).collect())
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(
            path in any_path(), model in prop::sample::select(&MODELS[..]),
            minor in 0..1_000_000_000_000i64,
        ) {
            let shares = parts_of(minor, model, &path);
            prop_assert_eq!(shares.iter().map(|share| share.1).sum::<i64>(), minor);
            prop_assert!(shares.iter().all(|share| share.1 >= 0));
            let partners: BTreeSet<u32> = shares.iter().map(|share| share.0).collect();
            prop_assert_eq!(partners.len(), shares.len(), "a partner has one part");
        }

        #[test]
        fn one_touch_alone_has_the_whole(
            hours in 0..24 * 90i64, model in prop::sample::select(&MODELS[..]),
        ) {
            prop_assert_eq!(parts(model, &[(7, hours)]), [(7, 10_001)]);
        }

        #[test]
        fn a_younger_touch_never_weighs_less_by_time(path in any_path(), days in 1..=60u16) {
            let decay = Model::TimeDecay { half_life_days: days };
            let weights = weights(decay, &times(&path));
            prop_assert!(weights.is_sorted(), "{:?}", weights);
            prop_assert_eq!(weights.last(), Some(&(1 << 24)));
        }

        #[test]
        fn equal_weights_pay_equal_to_the_cent(path in any_path()) {
            let found = parts(Model::Linear, &path);
            for (partner, minor) in &found {
                let n = path.iter().filter(|(p, _)| p == partner).count();
                let exact = i64::try_from(10_001 * n / path.len()).unwrap();
                prop_assert!((exact..=exact + 1).contains(minor), "{:?}", found);
            }
        }
    }
}

//! The long list: what is believed of a partner, giving way to what it shows. Pure.
//!
//! The weight of results is n/(n+k), n being the visitors of the last 180 days: the mean of a prior
//! worth k observations with n real ones. Before the first visitor the scorecard alone speaks.

use super::Member;
use super::scorecard::Declared;

/// Visitors that weigh as much as a scorecard. Results and belief are level after this many.
pub const PRIOR_VISITORS: i64 = 200;

/// What counts as belief while nobody has filled in a scorecard: neither for nor against.
const UNKNOWN_POINTS: i64 = 500;

/// A blended score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blend {
    /// 0 to 1000.
    pub points: i64,
    /// The weight of results, per mille.
    pub measured_weight: i64,
}

/// A line of the long list.
#[derive(Clone, Debug)]
pub struct Line {
    /// Who.
    pub member: Member,
    /// What is believed.
    pub declared: Declared,
    /// What it shows, 0 to 1000.
    pub measured: i64,
    /// Visitors of the last 180 days.
    pub n_visitors: i64,
    /// Both together.
    pub blend: Blend,
}

impl Line {
    /// Returns the arithmetic in words.
    pub fn why(&self) -> String {
        let declared = self.declared.points.map_or_else(
            || format!("no scorecard ({UNKNOWN_POINTS})"),
            |points| format!("scorecard {points}"),
        );
        format!(
            "{declared} with weight {PRIOR_VISITORS}, results {} with weight {} (visitors): {}.",
            self.measured, self.n_visitors, self.blend.points
        )
    }
}

/// Blends belief and results.
pub fn blend(declared: Option<i64>, measured: i64, n_visitors: i64) -> Blend {
    let (n, k) = (n_visitors.max(0), PRIOR_VISITORS);
    let believed = declared.unwrap_or(UNKNOWN_POINTS);
    Blend { points: (believed * k + measured * n) / (n + k), measured_weight: n * 1000 / (n + k) }
}

/// By what the list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The blended score, best first.
    Score,
    /// The scorecard, best first.
    Declared,
    /// Results, best first.
    Measured,
}

impl Sort {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Score, Self::Declared, Self::Measured];

    /// Returns its name in queries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Declared => "declared",
            Self::Measured => "measured",
        }
    }

    /// Returns the order of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Returns the key of a line: ascending keys are the order of the list.
    pub fn key(self, line: &Line) -> (i64, crate::ids::PartnerId) {
        let points = match self {
            Self::Score => line.blend.points,
            Self::Declared => line.declared.points.unwrap_or(-1),
            Self::Measured => line.measured,
        };
        (-points, line.member.partner_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn belief_gives_way_to_results() {
        for (declared, measured, n, points, weight) in [
            (Some(800), 100, 0, 800, 0),
            (Some(800), 100, 200, 450, 500),
            (Some(800), 100, 1800, 170, 900),
            (None, 100, 0, 500, 0),
            (None, 1000, 200, 750, 500),
        ] {
            let expected = Blend { points, measured_weight: weight };
            assert_eq!(blend(declared, measured, n), expected, "{declared:?} {measured} {n}");
        }
    }

    proptest! {
        #[test]
        fn a_blend_is_monotone_and_lies_between_its_parts(
            declared in 0i64..=1000, measured in 0i64..=1000, n in 0i64..1_000_000,
            more in 0i64..500,
        ) {
            let now = blend(Some(declared), measured, n);
            prop_assert!((declared.min(measured)..=declared.max(measured)).contains(&now.points));
            prop_assert!(blend(Some(declared + more), measured, n).points >= now.points);
            prop_assert!(blend(Some(declared), measured + more, n).points >= now.points);
            let later = blend(Some(declared), measured, n + more);
            prop_assert!(later.measured_weight >= now.measured_weight);
            prop_assert!((later.points - measured).abs() <= (now.points - measured).abs() + 1);
        }
    }
}

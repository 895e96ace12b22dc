//! The strongest evidence of a fall that one day offers about one partner.

use super::price::{Evidence, listing_strength};
use super::series::Day;

/// Half a click each way keeps a share finite and a silent window below 100 %.
const HALF_CLICK: f64 = 0.5;

/// Describes a stretch of days that brought fewer clicks than promised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Finding {
    /// -log10 of the p-value, priced: what listings are decided by. 0 without evidence.
    pub(crate) listing_strength: f32,
    /// -log10 of the p-value itself.
    pub(crate) strength: f32,
    /// Expected clicks per usual day.
    pub(crate) rate: f32,
    /// Share of them that still came.
    pub(crate) kept: f32,
    /// Relative variance of the expectation beyond chance.
    pub(crate) uncertainty: f32,
    /// First day of the stretch.
    pub(crate) since: u32,
}

impl Finding {
    pub(crate) const NONE: Self = Self {
        listing_strength: 0.0,
        strength: 0.0,
        rate: 0.0,
        kept: 1.0,
        uncertainty: 0.0,
        since: 0,
    };

    /// Narrows to `f32`: four digits are plenty, and there is one finding per partner and day.
    pub(crate) fn new(
        evidence: Evidence,
        p_value: f64,
        rate: f64,
        seen: f64,
        expected: f64,
        uncertainty: f64,
        since: Day,
    ) -> Self {
        let strength = -p_value.log10();
        Self {
            listing_strength: listing_strength(strength, evidence, rate) as f32,
            strength: strength as f32,
            rate: rate as f32,
            kept: ((seen + HALF_CLICK) / (expected + HALF_CLICK)) as f32,
            uncertainty: uncertainty as f32,
            since: u32::try_from(since).unwrap_or(u32::MAX),
        }
    }

    /// Chance of a stretch this low, before correcting for the many partners looked at.
    pub(crate) fn p_value(&self) -> f64 {
        10_f64.powf(-f64::from(self.strength))
    }

    /// Share of the clicks lost, 0 to 1.
    pub(crate) fn share_lost(&self) -> f64 {
        (1.0 - f64::from(self.kept)).clamp(0.0, 1.0)
    }

    /// First day of the stretch, as an index.
    pub(crate) fn since(&self) -> Day {
        self.since as usize
    }
}

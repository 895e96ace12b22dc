//! The kinds of reward: each file one formula, its fields in a plan, and how to read them.
//!
//! A new kind (tiers, recurring, a second level) adds its file, a variant here, and the fields it
//! needs to [`RuleDocument`]; the compiler then asks for everything else.

pub mod clicks;
pub mod flat;
pub mod percent;

use crate::commission::plan::{FieldError, RuleDocument};
use crate::money::{Bps, Money, MoneyError, Rounding};

pub use clicks::{ClickCount, Clicks};
pub use flat::Flat;
pub use percent::Percent;

/// A formula of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A share of the sale.
    Percent(Percent),
    /// The same amount each time.
    Flat(Flat),
    /// Both, added: the hybrid.
    PercentPlusFlat(Percent, Flat),
    /// An amount for clicks, which are no conversions.
    Clicks(Clicks),
}

/// The parts of a reward before its limits; a part the kind does not have is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The rate and what it came to.
    pub percent: Option<(Bps, Money)>,
    /// The fixed part.
    pub flat: Option<Money>,
}

impl Kind {
    /// Returns the code in plans: `percent`, `flat`, `percent_plus_flat`, `clicks`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Percent(_) => "percent",
            Self::Flat(_) => "flat",
            Self::PercentPlusFlat(..) => "percent_plus_flat",
            Self::Clicks(_) => "clicks",
        }
    }

    /// Returns the rate, if the kind has one and so needs the sale's amount.
    pub fn percent(&self) -> Option<Percent> {
        match self {
            Self::Percent(percent) | Self::PercentPlusFlat(percent, _) => Some(*percent),
            Self::Flat(_) | Self::Clicks(_) => None,
        }
    }

    /// Returns the price of clicks, if the kind has one.
    pub fn clicks(&self) -> Option<Clicks> {
        match self {
            Self::Clicks(clicks) => Some(*clicks),
            Self::Percent(_) | Self::Flat(_) | Self::PercentPlusFlat(..) => None,
        }
    }

    /// Returns the fixed part, if the kind has one.
    pub fn flat(&self) -> Option<Flat> {
        match self {
            Self::Flat(flat) | Self::PercentPlusFlat(_, flat) => Some(*flat),
            Self::Percent(_) | Self::Clicks(_) => None,
        }
    }

    /// Reckons the parts from the base, which a kind with a rate needs and others ignore.
    pub fn parts(&self, base: Option<Money>, rounding: Rounding) -> Result<Parts, MoneyError> {
        let percent = match (self.percent(), base) {
            (Some(Percent { rate }), Some(base)) => Some((rate, base.mul_bps(rate, rounding)?)),
            (Some(_) | None, _) => None,
        };
        Ok(Parts { percent, flat: self.flat().map(|Flat { amount }| amount) })
    }

    /// Reads the kind of the rule that stands at `pointer` in a plan.
    pub fn read(rule: &RuleDocument, pointer: &str) -> Result<Self, FieldError> {
        let kind = match rule.kind.as_str() {
            "percent" => Self::Percent(Percent::read(rule, pointer)?),
            "flat" => Self::Flat(Flat::read(rule, pointer)?),
            "percent_plus_flat" => {
                Self::PercentPlusFlat(Percent::read(rule, pointer)?, Flat::read(rule, pointer)?)
            }
            "clicks" => Self::Clicks(Clicks::read(rule, pointer)?),
            other => {
                let expected = "percent, flat, percent_plus_flat or clicks";
                return Err(FieldError::new(
                    format!("{pointer}/kind"),
                    format!("{other:?} is not a kind: expected {expected}"),
                ));
            }
        };
        // A field that has no say would be a surprise at payday.
        for (name, is_idle) in [
            ("percent_bps", rule.percent_bps.is_some() && kind.percent().is_none()),
            ("flat", rule.flat.is_some() && kind.flat().is_none() && kind.clicks().is_none()),
            ("per_clicks", rule.per_clicks.is_some() && kind.clicks().is_none()),
        ] {
            if is_idle {
                let message = format!("has no effect in a rule of kind {}: remove it", kind.code());
                return Err(FieldError::new(format!("{pointer}/{name}"), message));
            }
        }
        Ok(kind)
    }
}

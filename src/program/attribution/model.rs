//! Attribution models by name: how a conversion is shared by the clicks on its path. What each click
//! weighs is for settlement to reckon.

use super::WrongField;

/// Days after which a click weighs half, where nobody says.
const HALF_LIFE_DAYS: u16 = 7;
/// The longest half-life: beyond it the clicks of a usual window weigh nearly the same.
const HALF_LIFE_DAYS_MAX: u16 = 365;

/// How a conversion is shared by the clicks on its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The last click has all of it.
    LastClick,
    /// The first click has all of it.
    FirstClick,
    /// Each click has the same.
    Linear,
    /// The first and the last click have 40 % each, those between share 20 %; two have half each.
    Position,
    /// A click weighs half of one that is so many days younger.
    TimeDecay {
        /// The days, 1 to 365.
        half_life_days: u16,
    },
}

impl Model {
    /// The names of all models, the usual one first.
    pub const NAMES: [&str; 5] = ["last_click", "first_click", "linear", "position", "time_decay"];

    /// Returns the text form kept in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastClick => "last_click",
            Self::FirstClick => "first_click",
            Self::Linear => "linear",
            Self::Position => "position",
            Self::TimeDecay { .. } => "time_decay",
        }
    }

    /// Returns the half-life of the one model that has one.
    pub fn half_life_days(self) -> Option<u16> {
        match self {
            Self::TimeDecay { half_life_days } => Some(half_life_days),
            Self::LastClick | Self::FirstClick | Self::Linear | Self::Position => None,
        }
    }

    /// Reads a model by its name and the half-life that one of them has.
    pub fn read(name: &str, half_life_days: Option<u16>) -> Result<Self, WrongField> {
        let wrong = |pointer, detail: String| Err(WrongField { pointer, detail });
        let model = match (name, half_life_days) {
            ("last_click", _) => Self::LastClick,
            ("first_click", _) => Self::FirstClick,
            ("linear", _) => Self::Linear,
            ("position", _) => Self::Position,
            ("time_decay", days) => {
                let half_life_days = days.unwrap_or(HALF_LIFE_DAYS);
                if !(1..=HALF_LIFE_DAYS_MAX).contains(&half_life_days) {
                    return wrong("/half_life_days", format!("must be 1 to {HALF_LIFE_DAYS_MAX}"));
                }
                return Ok(Self::TimeDecay { half_life_days });
            }
            (_, _) => {
                return wrong("/model", format!("must be one of {}", Self::NAMES.join(", ")));
            }
        };
        match half_life_days {
            Some(_) => wrong("/half_life_days", "is for time_decay alone; leave it out".to_owned()),
            None => Ok(model),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in Model::NAMES {
            let model = Model::read(name, None).unwrap();
            assert_eq!(model.as_str(), name);
            assert_eq!(Model::read(name, model.half_life_days()), Ok(model));
        }
        let weekly = Model::TimeDecay { half_life_days: 7 };
        assert_eq!(Model::read("time_decay", None), Ok(weekly));
    }
}

//! Why a plan pays nothing, in words.

use super::plan::noun;
use crate::commission::plan::NoCommission;
use crate::language::Language;

impl NoCommission {
    /// Says why nothing is paid, as a sentence.
    pub fn words(&self, lang: Language) -> String {
        let Language::Ru = lang else { return format!("Nothing: {self}.") };
        let noun = |event| noun(Some(event), lang);
        let why = match self {
            Self::NoRule { event } => format!("план не платит за событие «{}»", noun(*event)),
            Self::NoRuleFor { event, unmet } => {
                format!("план платит за событие «{}», но не за это: см. {unmet}", noun(*event))
            }
            Self::NoRuleInCurrency { event, currency } => {
                format!("план платит за событие «{}», но не в {currency}", noun(*event))
            }
            Self::NoAmount { event } => {
                format!("план платит долю от суммы, а у события «{}» её нет", noun(*event))
            }
            Self::NothingLeft { amount } => {
                format!("от {amount} без налога, доставки и скидки ничего не остаётся")
            }
            Self::BelowOneUnit { rate, base } => {
                format!("{rate} от {base} меньше наименьшей единицы")
            }
            Self::NoRate { from, to } => format!("план платит в {to}, а курс из {from} неизвестен"),
            Self::Amounts(_) => "суммы не складываются".to_owned(),
        };
        format!("Ничего: {why}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::plan::EventKind;
    use crate::money::{Bps, Money};

    #[test]
    fn nothing_is_explained_in_both_languages() {
        let base = Money::new(2, "EUR".parse().unwrap());
        for (why, en, ru) in [
            (
                NoCommission::NoRule { event: EventKind::Lead },
                "Nothing: the plan pays nothing for lead.",
                "Ничего: план не платит за событие «заявка».",
            ),
            (
                NoCommission::BelowOneUnit { rate: Bps(100), base },
                "Nothing: 1 % of 0.02 EUR is less than the smallest unit.",
                "Ничего: 1 % от 0.02 EUR меньше наименьшей единицы.",
            ),
        ] {
            assert_eq!(why.words(Language::En), en);
            assert_eq!(why.words(Language::Ru), ru);
        }
    }
}

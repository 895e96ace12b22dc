//! A calculation in words, for partners and for finance; a whole plan in [`plan`], why nothing is
//! paid in [`nothing`].

mod nothing;
mod plan;

use self::plan::{a_period, noun};
use super::calculation::nano_text;
use super::calculation::{Calculation, Limit};
use super::counter::Owner;
use super::{Part, RecruiterMode};
use crate::commission::kind::{ClickCount, Clicks};
use crate::language::Language;
use crate::money::{Money, Rounding};

impl Calculation {
    /// Returns the arithmetic as one English sentence.
    pub fn sentence(&self) -> String {
        self.sentence_in(Language::En)
    }

    /// Returns the arithmetic as one sentence.
    pub fn sentence_in(&self, lang: Language) -> String {
        let steps: Vec<String> = [
            self.taken_off(lang),
            self.paid_back(lang),
            self.rate_in_words(lang),
            self.flat_in_words(lang),
            self.limit.map(|limit| limit_in_words(limit, lang)),
            self.part_in_words(lang),
        ]
        .into_iter()
        .flatten()
        .chain(self.caps_in_words(lang))
        .chain(self.rate_of_exchange(lang))
        .chain(self.recruiter_in_words(lang))
        .collect();
        let (rule, commission) = lang.pick(("Rule", "commission"), ("Правило", "комиссия"));
        let n = self.rule_index + 1;
        format!("{rule} {n}: {}; {commission} {}.", steps.join(", "), self.total)
    }

    fn rate_in_words(&self, lang: Language) -> Option<String> {
        let (rate, part) = self.percent?;
        let of = lang.pick("of", "от");
        let slices: Vec<String> = match self.slices.as_slice() {
            [] => vec![rate.to_string()],
            slices => slices.iter().map(|s| format!("{} {of} {}", s.rate, s.base)).collect(),
        };
        let mode = self.common.rounding;
        Some(match lang {
            Language::En => {
                format!("{} is {part} (rounded {})", slices.join(" and "), mode.code())
            }
            Language::Ru => {
                let mode = match mode {
                    Rounding::HalfEven => "половина к чётному",
                    Rounding::HalfUp => "половина вверх",
                    Rounding::Down => "вниз",
                };
                format!("{} — {part} (округление: {mode})", slices.join(" и "))
            }
        })
    }

    fn flat_in_words(&self, lang: Language) -> Option<String> {
        let flat = self.flat?;
        if let Some((price, count)) = self.rule.kind.clicks().zip(self.inputs.clicks) {
            return Some(clicks_in_words(price, count, (flat, self.common.rounding), lang));
        }
        let event = self.inputs.facts.event;
        Some(match (self.percent, lang) {
            (Some(_), _) => lang.pick(format!("plus a flat {flat}"), format!("плюс {flat}")),
            (None, Language::En) => format!("a flat {flat} for each {}", event.code()),
            (None, Language::Ru) => format!("{} — {flat}", noun(Some(event), lang)),
        })
    }

    fn part_in_words(&self, lang: Language) -> Option<String> {
        let split = self.inputs.split.as_ref()?;
        let of: u64 = split.weights.iter().map(|&w| u64::from(w)).sum();
        let weight = split.weights.get(split.index).copied().unwrap_or_default();
        let whole = self.whole;
        Some(lang.pick(
            format!("{weight} of {of} parts of {whole}"),
            format!("{weight} из {of} частей от {whole}"),
        ))
    }

    fn caps_in_words(&self, lang: Language) -> Vec<String> {
        let felt = self.caps.iter().filter(|step| step.is_felt());
        felt.map(|step| {
            let before = Money::new(step.before_minor, step.found.currency);
            let (within, most, beyond) = (step.within, step.cap.amount, step.beyond);
            let period = a_period(step.cap.period, lang);
            let whose = match step.cap.per {
                Owner::Partner => "",
                Owner::Program => lang.pick(" for the whole program", " на всю программу"),
            };
            let then = step.cap.then.map(|rate| {
                lang.pick(
                    format!(" and {beyond} for the rest at {rate}"),
                    format!(" и {beyond} за остальное по {rate}"),
                )
            });
            let then = then.unwrap_or_default();
            lang.pick(
                format!(
                    "{within} of it within the cap of {most} {period}{whose} ({before} earned \
                     before){then}"
                ),
                format!(
                    "из них {within} в пределах {most} {period}{whose} (раньше — {before}){then}"
                ),
            )
        })
        .collect()
    }

    fn rate_of_exchange(&self, lang: Language) -> Option<String> {
        let rate = self.inputs.rate.as_ref().filter(|_| self.is_converted)?;
        let day = rate.at.date_naive();
        let (to, figure, source) = (rate.to, nano_text(rate.rate_nano), &rate.source);
        Some(lang.pick(
            format!("in {to} at {figure} ({source}, {day})"),
            format!("в {to} по курсу {figure} ({source}, {day})"),
        ))
    }

    fn recruiter_in_words(&self, lang: Language) -> Option<String> {
        let part = self.recruiter?;
        let (rate, amount) = (part.rate, part.amount);
        match part.mode {
            RecruiterMode::OnTop => None,
            RecruiterMode::OutOf => Some(lang.pick(
                format!("less {rate} of it, {amount}, for the recruiter"),
                format!("минус {rate}, {amount}, пригласившему"),
            )),
        }
    }

    fn paid_back(&self, lang: Language) -> Option<String> {
        let (back, amount) = self.inputs.refunded.zip(self.inputs.facts.amount)?;
        Some(lang.pick(
            format!("{back} of {amount} were paid back"),
            format!("возвращено {back} из {amount}"),
        ))
    }

    /// Says how the amount became the base, if anything was taken off and the base counts.
    fn taken_off(&self, lang: Language) -> Option<String> {
        let facts = &self.inputs.facts;
        let amount = facts.amount?;
        let base = facts.base_less(&self.rule.less).ok()??;
        let part = |part: &Part| {
            let name = match part {
                Part::Tax => lang.pick("tax", "налог"),
                Part::Shipping => lang.pick("shipping", "доставка"),
                Part::Discount => lang.pick("discount", "скидка"),
            };
            Some(format!("{name} {}", facts.part(*part)?))
        };
        let less: Vec<String> = self.rule.less.iter().filter_map(part).collect();
        let counts = self.percent.is_some() && !less.is_empty();
        counts.then(|| {
            lang.pick(
                format!("{amount} less {} leaves {base}", less.join(" and ")),
                format!("{amount} минус {} — остаётся {base}", less.join(" и ")),
            )
        })
    }
}

fn clicks_in_words(
    price: Clicks,
    ClickCount { day, before, n }: ClickCount,
    (earned, mode): (Money, Rounding),
    lang: Language,
) -> String {
    let (amount, per, mode) = (price.amount, price.per, mode.code());
    let more = match before {
        0 => String::new(),
        before => lang.pick(
            format!(" more, after {before} that were paid before"),
            format!(" сверх {before} оплаченных раньше"),
        ),
    };
    let each = match per {
        1 => lang.pick(format!("{amount} each"), format!("{amount} за каждый")),
        per => lang.pick(
            format!("{amount} for {per} (rounded {mode})"),
            format!("{amount} за {per} (округление: {mode})"),
        ),
    };
    lang.pick(
        format!("{n} clicks of {day}{more}, {each}, is {earned}"),
        format!("кликов за {day}: {n}{more}, {each} — {earned}"),
    )
}

fn limit_in_words(limit: Limit, lang: Language) -> String {
    match limit {
        Limit::RaisedToMin(min) => lang
            .pick(format!("raised to the minimum of {min}"), format!("поднято до минимума {min}")),
        Limit::CutToMax(max) => {
            lang.pick(format!("cut to the maximum of {max}"), format!("снижено до максимума {max}"))
        }
    }
}

//! A calculation in words, for partners and for finance; a whole plan in [`plan`].

mod plan;

pub use plan::Language;

use super::calculation::nano_text;
use super::calculation::{Calculation, Limit};
use super::counter::{Owner, Period};
use super::{Part, RecruiterMode};
use crate::commission::kind::{ClickCount, Clicks};
use crate::money::{Money, Rounding};

impl Calculation {
    /// Returns the arithmetic as one English sentence.
    pub fn sentence(&self) -> String {
        let steps: Vec<String> = [
            self.taken_off(),
            self.paid_back(),
            self.rate_in_words(),
            self.flat_in_words(),
            self.limit.map(|limit| match limit {
                Limit::RaisedToMin(min) => format!("raised to the minimum of {min}"),
                Limit::CutToMax(max) => format!("cut to the maximum of {max}"),
            }),
            self.part_in_words(),
        ]
        .into_iter()
        .flatten()
        .chain(self.caps_in_words())
        .chain(self.rate_of_exchange())
        .chain(self.recruiter_in_words())
        .collect();
        format!("Rule {}: {}; commission {}.", self.rule_index + 1, steps.join(", "), self.total)
    }

    fn rate_in_words(&self) -> Option<String> {
        let (rate, part) = self.percent?;
        let of: Vec<String> = match self.slices.as_slice() {
            [] => vec![rate.to_string()],
            slices => slices.iter().map(|s| format!("{} of {}", s.rate, s.base)).collect(),
        };
        let mode = self.common.rounding.code();
        Some(format!("{} is {part} (rounded {mode})", of.join(" and ")))
    }

    fn flat_in_words(&self) -> Option<String> {
        let flat = self.flat?;
        if let Some((price, count)) = self.rule.kind.clicks().zip(self.inputs.clicks) {
            return Some(clicks_in_words(price, count, flat, self.common.rounding));
        }
        Some(match self.percent {
            Some(_) => format!("plus a flat {flat}"),
            None => format!("a flat {flat} for each {}", self.inputs.facts.event.code()),
        })
    }

    fn part_in_words(&self) -> Option<String> {
        let split = self.inputs.split.as_ref()?;
        let of: u64 = split.weights.iter().map(|&w| u64::from(w)).sum();
        let weight = split.weights.get(split.index).copied().unwrap_or_default();
        Some(format!("{weight} of {of} parts of {}", self.whole))
    }

    fn caps_in_words(&self) -> Vec<String> {
        let felt = self.caps.iter().filter(|step| step.is_felt());
        felt.map(|step| {
            let before = Money::new(step.before_minor, step.found.currency);
            let whose = match step.cap.per {
                Owner::Partner => "",
                Owner::Program => " for the whole program",
            };
            let then = match step.cap.then {
                Some(rate) => format!(" and {} for the rest at {rate}", step.beyond),
                None => String::new(),
            };
            format!(
                "{} of it within the cap of {} {}{whose} ({before} earned before){then}",
                step.within,
                step.cap.amount,
                a_period(step.cap.period)
            )
        })
        .collect()
    }

    fn rate_of_exchange(&self) -> Option<String> {
        let rate = self.inputs.rate.as_ref().filter(|_| self.is_converted)?;
        let day = rate.at.date_naive();
        let figure = nano_text(rate.rate_nano);
        Some(format!("in {} at {figure} ({}, {day})", rate.to, rate.source))
    }

    fn recruiter_in_words(&self) -> Option<String> {
        let part = self.recruiter?;
        match part.mode {
            RecruiterMode::OnTop => None,
            RecruiterMode::OutOf => {
                Some(format!("less {} of it, {}, for the recruiter", part.rate, part.amount))
            }
        }
    }

    fn paid_back(&self) -> Option<String> {
        let (back, amount) = self.inputs.refunded.zip(self.inputs.facts.amount)?;
        Some(format!("{back} of {amount} were paid back"))
    }

    /// Says how the amount became the base, if anything was taken off and the base counts.
    fn taken_off(&self) -> Option<String> {
        let facts = &self.inputs.facts;
        let amount = facts.amount?;
        let base = facts.base_less(&self.rule.less).ok()??;
        let parts: Vec<Part> =
            self.rule.less.iter().copied().filter(|part| facts.part(*part).is_some()).collect();
        let less: Vec<String> = parts
            .into_iter()
            .filter_map(|part| Some(format!("{} {}", part.code(), facts.part(part)?)))
            .collect();
        let counts = self.percent.is_some() && !less.is_empty();
        counts.then(|| format!("{amount} less {} leaves {base}", less.join(" and ")))
    }
}

fn clicks_in_words(price: Clicks, count: ClickCount, earned: Money, mode: Rounding) -> String {
    let ClickCount { day, before, n } = count;
    let more = match before {
        0 => String::new(),
        before => format!(" more, after {before} that were paid before"),
    };
    let each = match price.per {
        1 => format!("{} each", price.amount),
        per => format!("{} for {per} (rounded {})", price.amount, mode.code()),
    };
    format!("{n} clicks of {day}{more}, {each}, is {earned}")
}

/// Returns `a month` and so on.
pub(super) fn a_period(period: Period) -> &'static str {
    match period {
        Period::Day => "a day",
        Period::Week => "a week",
        Period::Month => "a month",
        Period::AllTime => "in all",
    }
}

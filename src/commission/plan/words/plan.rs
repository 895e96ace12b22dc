//! A plan in plain words, in English and in Russian.
//!
//! Amounts stand without their currency: the rule says at its beginning which it is for.

use super::super::cap::Cap;
use super::super::condition::{Condition, CustomerKind};
use super::super::tier::{Measure, TierMode, TierStep, Tiers};
use super::super::{
    Approval, EventKind, HoldBasis, Owner, Part, Period, PlanTerms, RecruiterMode, Rule,
    WithoutRate,
};
use crate::language::Language;
use crate::money::{Currency, Money, Rounding};

impl PlanTerms {
    /// Says the plan: a sentence for each rule, then what holds for all.
    pub fn words(&self, lang: Language) -> Vec<String> {
        let word = lang.pick("Rule", "Правило");
        let rule = |(n, rule): (usize, &std::sync::Arc<Rule>)| {
            format!("{word} {}: {}: {}.", n + 1, who(rule, lang), what(rule, lang))
        };
        let mut sentences: Vec<String> = self.rules.iter().enumerate().map(rule).collect();
        sentences.extend(self.common.caps.iter().map(|cap| budget(cap, lang)));
        sentences.extend(self.paid(lang));
        sentences.extend(self.recruiting(lang));
        sentences.push(self.held(lang));
        let mode = self.common.rounding;
        if mode != Rounding::default() {
            sentences.push(rounded(mode, lang));
        }
        sentences
    }

    fn paid(&self, lang: Language) -> Option<String> {
        let pay_in = self.common.pay_in?;
        let code = pay_in.currency;
        let rest = match pay_in.without_rate {
            WithoutRate::SaleCurrency => {
                lang.pick("stay in their own currency", "остаются в своей валюте")
            }
            WithoutRate::Nothing => lang.pick("earn nothing", "не оплачиваются"),
        };
        Some(lang.pick(
            format!("Paid in {code} by the rates of the program; sales without a rate {rest}."),
            format!("Выплата в {code} по курсам программы; продажи без курса {rest}."),
        ))
    }

    fn recruiting(&self, lang: Language) -> Option<String> {
        let share = self.common.recruiter?;
        let rate = share.rate;
        let (en, ru) = match share.mode {
            RecruiterMode::OnTop => ("on top of it", "сверх неё"),
            RecruiterMode::OutOf => ("out of it", "из неё"),
        };
        Some(lang.pick(
            format!("Whoever brought the partner has {rate} of its commission on sales, {en}."),
            format!("Пригласивший партнёра получает {rate} его комиссии с продаж, {ru}."),
        ))
    }

    fn held(&self, lang: Language) -> String {
        let days = self.hold_days;
        let since = match self.common.hold_basis {
            HoldBasis::Event => lang.pick("the event", "события"),
            HoldBasis::Delivery => lang.pick("the delivery", "доставки"),
        };
        match self.approval {
            Approval::Auto => lang.pick(
                format!("Approved by itself {days} days after {since}."),
                format!("Подтверждается сама через {days} дн. после {since}."),
            ),
            Approval::Manual => lang.pick(
                format!("Held {days} days after {since}, then approved by hand."),
                format!("Удерживается {days} дн. после {since}, затем подтверждается вручную."),
            ),
        }
    }
}

fn rounded(mode: Rounding, lang: Language) -> String {
    let (en, ru) = match mode {
        Rounding::HalfEven => ("to the even neighbor", "к чётному"),
        Rounding::HalfUp => ("up", "вверх"),
        Rounding::Down => ("down, and so is every fraction", "вниз, как и любая доля"),
    };
    lang.pick(
        format!("Half of the smallest unit is rounded {en}."),
        format!("Половина наименьшей единицы округляется {ru}."),
    )
}

pub(super) fn noun(event: Option<EventKind>, lang: Language) -> &'static str {
    let (en, ru) = match event {
        None => ("any event", "любое событие"),
        Some(EventKind::Sale) => ("sale", "продажа"),
        Some(EventKind::Lead) => ("lead", "заявка"),
        Some(EventKind::Signup) => ("signup", "регистрация"),
        Some(EventKind::Install) => ("install", "установка"),
        Some(EventKind::Renewal) => ("renewal", "продление"),
        Some(EventKind::Click) => ("click", "клик"),
    };
    lang.pick(en, ru)
}

impl EventKind {
    /// Returns its name for people.
    pub fn words(self, lang: Language) -> &'static str {
        noun(Some(self), lang)
    }
}

/// Says whom and what a rule is for.
fn who(rule: &Rule, lang: Language) -> String {
    let mut words = vec![noun(rule.event, lang).to_owned()];
    words.extend(rule.currency.map(|code| lang.pick(format!("in {code}"), format!("в {code}"))));
    words.extend(rule.conditions.iter().map(|condition| met(condition, lang)));
    let from = rule.from.map(|at| at.format("%Y-%m-%d %H:%M UTC"));
    let until = rule.until.map(|at| at.format("%Y-%m-%d %H:%M UTC"));
    words.extend(from.map(|at| lang.pick(format!("from {at}"), format!("с {at}"))));
    words.extend(until.map(|at| lang.pick(format!("until {at}"), format!("до {at}"))));
    words.join(" ")
}

fn met(condition: &Condition, lang: Language) -> String {
    let list = |all: &std::collections::BTreeSet<String>| {
        all.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    match condition {
        Condition::Partner(all) => {
            let ids: Vec<String> = all.iter().map(ToString::to_string).collect();
            let ids = ids.join(", ");
            lang.pick(format!("by {ids}"), format!("от {ids}"))
        }
        Condition::Group(all) => {
            let all = list(all);
            lang.pick(format!("by partners of group {all}"), format!("от партнёров группы {all}"))
        }
        Condition::Rank(all) => {
            let all = list(all);
            lang.pick(format!("by partners of rank {all}"), format!("от партнёров ранга {all}"))
        }
        Condition::Placement(all) => {
            let all = list(all);
            lang.pick(format!("from placements {all}"), format!("с площадок {all}"))
        }
        Condition::Category(all) => {
            let all = list(all);
            lang.pick(format!("of category {all}"), format!("категории {all}"))
        }
        Condition::Customer(CustomerKind::New) => {
            lang.pick("to a new customer", "новому клиенту").to_owned()
        }
        Condition::Customer(CustomerKind::Returning) => {
            lang.pick("to a returning customer", "повторному клиенту").to_owned()
        }
        Condition::Country(all) => {
            let all = list(all);
            lang.pick(format!("from {all}"), format!("из {all}"))
        }
        Condition::WithinMonths(months) => lang.pick(
            format!("within {months} months of the first sale"),
            format!("в течение {months} мес. после первой продажи"),
        ),
    }
}

/// Says what a rule pays.
fn what(rule: &Rule, lang: Language) -> String {
    let rate = rule.kind.percent().map(|percent| {
        let of = amount_of(rule, lang);
        lang.pick(format!("{} of {of}", percent.rate), format!("{} от {of}", percent.rate))
    });
    let flat = rule.kind.flat().map(|flat| flat.amount.to_decimal_string());
    let clicks = rule.kind.clicks().map(|clicks| {
        let amount = clicks.amount.to_decimal_string();
        match clicks.per {
            1 => lang.pick(
                format!("{amount} each, a visitor once a day"),
                format!("{amount} за каждый, посетитель раз в день"),
            ),
            per => lang.pick(
                format!("{amount} for {per} of them, a visitor once a day"),
                format!("{amount} за {per}, посетитель раз в день"),
            ),
        }
    });
    let mut text = match (rate, flat) {
        (None, None) => clicks.unwrap_or_default(),
        (Some(rate), Some(flat)) => {
            lang.pick(format!("{rate} plus {flat}"), format!("{rate} и {flat}"))
        }
        (Some(rate), None) => rate,
        (None, Some(flat)) => lang.pick(format!("{flat} each"), format!("{flat} за каждое")),
    };
    let decimal = |money: Money| money.to_decimal_string();
    if let Some(min) = rule.min.map(decimal) {
        text += &lang.pick(format!(", at least {min}"), format!(", не менее {min}"));
    }
    if let Some(max) = rule.max.map(decimal) {
        text += &lang.pick(format!(", at most {max}"), format!(", не более {max}"));
    }
    for step in rule.tiers.iter().flat_map(|t| t.steps.iter().map(move |step| (t, step))) {
        text += &tier(step.0, step.1, rule.currency, lang);
    }
    for cap in &rule.caps {
        let (amount, period) = (decimal(cap.amount), a_period(cap.period, lang));
        let whose = whose(cap.per, lang);
        text += &lang.pick(
            format!(", up to {amount} {period}{whose}"),
            format!(", до {amount} {period}{whose}"),
        );
    }
    if let Some(then) = rule.caps.iter().find_map(|cap| cap.then) {
        text += &lang.pick(format!("; then {then}"), format!("; затем {then}"));
    }
    text
}

fn amount_of(rule: &Rule, lang: Language) -> String {
    let of = match rule.event {
        Some(EventKind::Sale) => lang.pick("the sale", "продажи"),
        Some(EventKind::Renewal) => lang.pick("the renewal", "продления"),
        Some(EventKind::Lead | EventKind::Signup | EventKind::Install | EventKind::Click)
        | None => lang.pick("the amount", "суммы"),
    };
    let part = |part: &Part| match part {
        Part::Tax => lang.pick("tax", "налога"),
        Part::Shipping => lang.pick("shipping", "доставки"),
        Part::Discount => lang.pick("discount", "скидки"),
    };
    match rule.less.iter().map(part).collect::<Vec<_>>().as_slice() {
        [] => of.to_owned(),
        [rest @ .., last] if !rest.is_empty() => {
            let (rest, and) = (rest.join(", "), lang.pick("and", "и"));
            format!("{of} {} {rest} {and} {last}", lang.pick("without", "без"))
        }
        parts => format!("{of} {} {}", lang.pick("without", "без"), parts.join(", ")),
    }
}

fn tier(tiers: &Tiers, step: &TierStep, currency: Option<Currency>, lang: Language) -> String {
    let rate = step.rate.map(|rate| rate.to_string());
    let pay = [rate, step.flat.map(Money::to_decimal_string)].into_iter().flatten();
    let pay = pay.collect::<Vec<_>>().join(lang.pick(" plus ", " и "));
    let from = match (tiers.by, currency) {
        (Measure::Amount, Some(currency)) => {
            let amount = Money::new(step.from, currency).to_decimal_string();
            lang.pick(format!("above {amount}"), format!("свыше {amount}"))
        }
        (Measure::Amount | Measure::Count, _) => {
            lang.pick(format!("from number {}", step.from), format!("начиная с {}-й", step.from))
        }
    };
    let period = a_period(tiers.period, lang);
    match tiers.mode {
        TierMode::Progressive => format!("; {pay} {from} {period}"),
        TierMode::Retroactive => lang.pick(
            format!("; {pay} for all of the period {from} {period}"),
            format!("; {pay} за весь период {from} {period}"),
        ),
    }
}

fn budget(cap: &Cap, lang: Language) -> String {
    let (amount, period) = (cap.amount, a_period(cap.period, lang));
    match cap.per {
        Owner::Partner => lang.pick(
            format!("A partner earns at most {amount} {period}."),
            format!("Партнёр получает не более {amount} {period}."),
        ),
        Owner::Program => lang.pick(
            format!("All partners together earn at most {amount} {period}."),
            format!("Все партнёры вместе получают не более {amount} {period}."),
        ),
    }
}

fn whose(per: Owner, lang: Language) -> &'static str {
    match per {
        Owner::Partner => "",
        Owner::Program => lang.pick(" for all partners together", " на всех партнёров"),
    }
}

/// Returns `a month` and so on.
pub(super) fn a_period(period: Period, lang: Language) -> &'static str {
    let (en, ru) = match period {
        Period::Day => ("a day", "в день"),
        Period::Week => ("a week", "в неделю"),
        Period::Month => ("a month", "в месяц"),
        Period::AllTime => ("in all", "всего"),
    };
    lang.pick(en, ru)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commission::plan::PlanDocument;

    fn say(json: &str, lang: Language) -> Vec<String> {
        let document: PlanDocument = serde_json::from_str(json).unwrap();
        PlanTerms::try_from(&document).unwrap().words(lang)
    }

    #[test]
    fn a_plan_is_said_as_a_partner_manager_would_say_it() {
        let plan = r#"{"v":1,"rules":[{"event":"sale","kind":"percent","percent_bps":2000,
            "currency":"EUR","less":["shipping"],"min":"5.00",
            "caps":[{"period":"month","amount":"500.00","then_percent_bps":1500}]}]}"#;
        assert_eq!(
            say(plan, Language::En)[0],
            "Rule 1: sale in EUR: 20 % of the sale without shipping, at least 5.00, up to 500.00 a \
             month; then 15 %."
        );
        assert_eq!(
            say(plan, Language::Ru)[0],
            "Правило 1: продажа в EUR: 20 % от продажи без доставки, не менее 5.00, до 500.00 в \
             месяц; затем 15 %."
        );
    }

    #[test]
    fn clicks_are_said_with_how_often_a_visitor_counts() {
        let plan = r#"{"v":1,"rules":[
            {"event":"click","kind":"clicks","flat":"0.05","currency":"EUR","countries":["DE"],
             "caps":[{"period":"day","amount":"20.00"}]},
            {"event":"click","kind":"clicks","flat":"7.50","per_clicks":1000,"currency":"EUR"}]}"#;
        assert_eq!(
            say(plan, Language::En)[..2],
            [
                "Rule 1: click in EUR from DE: 0.05 each, a visitor once a day, up to 20.00 a day.",
                "Rule 2: click in EUR: 7.50 for 1000 of them, a visitor once a day.",
            ]
        );
        assert_eq!(
            say(plan, Language::Ru)[..2],
            [
                "Правило 1: клик в EUR из DE: 0.05 за каждый, посетитель раз в день, до 20.00 в \
                 день.",
                "Правило 2: клик в EUR: 7.50 за 1000, посетитель раз в день.",
            ]
        );
    }

    #[test]
    fn conditions_tiers_and_what_holds_for_all_are_said() {
        let plan = r#"{"v":1,"hold_days":14,"approval":"manual","rules":[
            {"event":"renewal","kind":"percent_plus_flat","percent_bps":750,"flat":"1.00",
             "currency":"EUR","within_months":12,"countries":["AT","DE"],"customer":"returning"},
            {"event":"lead","kind":"flat","flat":"5.00","currency":"EUR","tiers":{"period":"week",
             "mode":"retroactive","steps":[{"from_count":11,"flat":"6.00"}]}},
            {"event":"sale","kind":"percent","percent_bps":2000,"currency":"EUR","groups":["gold"],
             "tiers":{"period":"month","mode":"progressive",
             "steps":[{"from_amount":"1000.00","percent_bps":2500}]}}],
            "caps":[{"period":"month","per":"program","amount":"9000.00","currency":"EUR"}],
            "pay_in":{"currency":"EUR"},"recruiter":{"percent_bps":1000}}"#;
        assert_eq!(
            say(plan, Language::En),
            [
                "Rule 1: renewal in EUR within 12 months of the first sale from AT, DE to a \
                 returning customer: 7.5 % of the renewal without tax, shipping and discount plus \
                 1.00.",
                "Rule 2: lead in EUR: 5.00 each; 6.00 for all of the period from number 11 a week.",
                "Rule 3: sale in EUR by partners of group gold: 20 % of the sale without tax, \
                 shipping and discount; 25 % above 1000.00 a month.",
                "All partners together earn at most 9000.00 EUR a month.",
                "Paid in EUR by the rates of the program; sales without a rate stay in their own \
                 currency.",
                "Whoever brought the partner has 10 % of its commission on sales, on top of it.",
                "Held 14 days after the event, then approved by hand.",
            ]
        );
        assert_eq!(
            say(plan, Language::Ru)[1],
            "Правило 2: заявка в EUR: 5.00 за каждое; 6.00 за весь период начиная с 11-й в неделю."
        );
    }
}

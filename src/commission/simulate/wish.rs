//! A partner's own question: what do I earn if I sell so much?
//!
//! The same pricing as for real conversions, from the counters of the partner as they stand. The
//! conversions that are wished for happen one after the other at this moment.

use std::collections::{BTreeMap, HashMap};

use super::clicks::BookedDay;
use super::past::Past;
use super::replay::{Ground, Replay, Span};
use crate::clock::Timestamp;
use crate::commission::plan::tier::TierMode;
use crate::commission::plan::{
    Calculation, Circumstances, CustomerKind, Inputs, Language, NoCommission, PlanTerms,
    PriceFacts, Sum, Volume, price,
};
use crate::commission::pricing::{PricingFacts, SumKey, SumState};
use crate::ids::{PartnerId, ProgramId};
use crate::money::{Currency, Money};

/// Lines of one question, at most.
pub const LINES_MAX: usize = 50;
/// Conversions of one question, all lines together, at most: each is priced by itself.
pub const CONVERSIONS_MAX: u64 = 10_000;
/// Steps told of one line, at most; tiers and caps make a handful.
const STEPS_MAX: usize = 40;

/// So many conversions of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What is priced.
    pub facts: PriceFacts,
    /// The category of what is sold.
    pub category: Option<String>,
    /// The customers' country.
    pub country: Option<String>,
    /// Where the link stands.
    pub placement: Option<String>,
    /// Whether the customers are new.
    pub customer: Option<CustomerKind>,
    /// How many.
    pub count: u32,
}

/// Who asks, when, by which plan.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The program.
    pub program_id: ProgramId,
    /// The partner.
    pub partner_id: PartnerId,
    /// The moment: its periods are those that count.
    pub at: Timestamp,
    /// The plan.
    pub terms: &'a PlanTerms,
}

/// What a question comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For each line.
    pub lines: Vec<LineAnswer>,
    /// All together, in each currency.
    pub totals: BTreeMap<Currency, i64>,
    /// What each period comes to when all has happened.
    pub whole: BTreeMap<SumKey, Volume>,
    /// Whether a tier is reached that raises what was earned earlier in its period.
    pub raises_earlier: bool,
}

/// What a line comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineAnswer {
    /// What it earns, in each currency: one, but where a cap is in another.
    pub totals: BTreeMap<Currency, i64>,
    /// Conversions that earn alike, one after the other.
    pub steps: Vec<StepAnswer>,
    /// Conversions beyond those told in `steps`.
    pub n_more: u32,
}

/// Conversions that follow one another and earn the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepAnswer {
    /// The first of them within the line, from 1.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// What each earns; none for nothing.
    pub each: Option<Money>,
    /// How the first of them is reckoned, or why it is nothing.
    pub sentence: String,
}

impl Asker<'_> {
    /// Returns the sums that the plan may ask for at this moment.
    pub fn keys(&self, facts: &PricingFacts) -> Vec<SumKey> {
        let key = |counter| facts.key(self.program_id, self.partner_id, self.at, counter);
        self.terms.counters().into_iter().map(key).collect()
    }

    /// Answers the question; `facts` hold the sums of [`Asker::keys`].
    pub fn answer(&self, facts: &PricingFacts, wishes: &[Wish], lang: Language) -> Answer {
        // Twice: a retroactive tier asks for the whole of its period, these conversions included.
        let whole = self.run(facts, wishes, &BTreeMap::new(), lang).whole;
        let mut answer = self.run(facts, wishes, &whole, lang);
        answer.raises_earlier = self.raises_earlier(&facts.sums, &whole);
        answer
    }

    fn run(
        &self,
        facts: &PricingFacts,
        wishes: &[Wish],
        whole: &BTreeMap<SumKey, Volume>,
        lang: Language,
    ) -> Answer {
        let (sums, zones) = (facts.sums.clone(), facts.zones.clone());
        let mut counting = PricingFacts { sums, zones, ..PricingFacts::default() };
        let mut answer = Answer::default();
        for wish in wishes {
            let inputs = self.inputs(facts, wish);
            let mut line = LineAnswer::default();
            for n in 1..=wish.count {
                let priced = self.price(&counting, &inputs, whole);
                if let Ok(calculation) = &priced {
                    let counted = counting.counted(self.program_id, calculation);
                    counting.absorb(&counted, self.at);
                    let total = calculation.total;
                    *line.totals.entry(total.currency).or_default() += total.minor;
                    *answer.totals.entry(total.currency).or_default() += total.minor;
                }
                line.tell(n, &priced, lang);
            }
            answer.lines.push(line);
        }
        for (key, state) in &counting.sums {
            answer.whole.insert(*key, state.volume);
        }
        answer
    }

    fn price(
        &self,
        facts: &PricingFacts,
        inputs: &Inputs,
        whole: &BTreeMap<SumKey, Volume>,
    ) -> Result<Calculation, NoCommission> {
        price(self.terms, inputs, |counter| {
            let key = facts.key(self.program_id, self.partner_id, self.at, counter);
            let state = facts.sums.get(&key).copied().unwrap_or_default();
            let whole = whole.get(&key).copied().unwrap_or(state.volume);
            Sum { before: state.volume, whole, earned_minor: state.earned_minor }
        })
    }

    fn inputs(&self, facts: &PricingFacts, wish: &Wish) -> Inputs {
        let person = facts.people.get(&(self.program_id, self.partner_id));
        let person = person.cloned().unwrap_or_default();
        let footing = person.footing_at(self.at);
        let text = |text: &Option<String>| text.as_deref().map(Into::into);
        let around = Circumstances {
            recruiter: person.recruiter_at(self.at),
            rank: footing.rank,
            group: footing.group,
            placement: text(&wish.placement),
            category: text(&wish.category),
            country: text(&wish.country),
            customer: wish.customer,
            // A renewal of a customer of today is within every number of months.
            customer_since: None,
            ..Circumstances::new(self.partner_id, self.at)
        };
        let rate = facts.rate_by(self.program_id, self.terms, &wish.facts, self.at);
        Inputs { rate, ..Inputs::new(wish.facts, around) }
    }

    /// Tells whether the step of a retroactive tier is reached that was not reached before.
    fn raises_earlier(
        &self,
        began: &HashMap<SumKey, SumState>,
        whole: &BTreeMap<SumKey, Volume>,
    ) -> bool {
        let rules = self.terms.rules.iter();
        rules.filter_map(|rule| Some((rule.scope, rule.tiers.as_ref()?))).any(|(scope, tiers)| {
            let counter = tiers.counter(scope);
            let of = |volume| Sum { whole: volume, before: volume, earned_minor: 0 };
            let found = whole.iter().find(|(key, _)| key.counter == counter);
            let Some((key, after)) = found else { return false };
            let before = began.get(key).map(|state| state.volume).unwrap_or_default();
            tiers.mode == TierMode::Retroactive
                && before.n > 0
                && tiers.reached(&of(*after), Volume::default())
                    > tiers.reached(&of(before), Volume::default())
        })
    }
}

/// Reckons what a partner earned earlier again, when whole periods come to `whole`: by how much it
/// rises, and what the sums of its periods come to by that. What is given of clicks and conversions is
/// in the order of time, from the beginning of the earliest period that counts; where partners share a
/// budget, it is that of all.
pub fn raise(
    ground: Ground,
    (partner_id, span): (PartnerId, Span),
    (days, pasts): (Vec<BookedDay>, Vec<Past>),
    whole: &BTreeMap<SumKey, Volume>,
) -> (BTreeMap<Currency, i64>, HashMap<SumKey, SumState>) {
    let mut replay = Replay::new(ground, None, span);
    replay.stand(days);
    pasts.iter().for_each(|past| replay.count(past, None));
    // Of the one who asks the wishes are in it, too.
    replay.know_whole(whole.iter().map(|(key, volume)| (*key, *volume)));
    pasts.iter().for_each(|past| replay.take(past, None));
    let sums = replay.sums().clone();
    let own = replay.finish().partners.into_iter().filter(|((of, _), _)| *of == partner_id);
    let raised = own.map(|((_, currency), tally)| (currency, tally.difference_minor()));
    (raised.filter(|(_, by)| *by != 0).collect(), sums)
}

/// By how much a tier that is reached raises what was earned earlier in its period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raise {
    /// Nothing is raised.
    Nothing,
    /// By so much, in each currency.
    By(BTreeMap<Currency, i64>),
    /// There is too much to reckon again.
    Unknown,
}

impl Answer {
    /// Says the answer, step by step.
    pub fn sentences(&self, wishes: &[Wish], raise: &Raise, lang: Language) -> Vec<String> {
        let mut said = Vec::new();
        for (wish, line) in wishes.iter().zip(&self.lines) {
            let of = wish.facts.amount.map(|amount| format!(" {amount}")).unwrap_or_default();
            let event = wish.facts.event.words(lang);
            said.push(format!("{} × {event}{of}: {}.", wish.count, sum(&line.totals, lang)));
            for step in &line.steps {
                let (first, last) = (step.first, step.last);
                let each = step.each.map_or_else(String::new, |each| match first == last {
                    true => format!(" {each}."),
                    false => lang.pick(format!(" {each} each."), format!(" по {each}.")),
                });
                let which = match first == last {
                    true => lang.pick(format!("Number {first}:"), format!("№ {first}:")),
                    false => lang
                        .pick(format!("Numbers {first} to {last}:"), format!("№ {first}–{last}:")),
                };
                said.push(format!("{which}{each} {}", step.sentence));
            }
            if line.n_more > 0 {
                let n = line.n_more;
                said.push(lang.pick(
                    format!("{n} more of this line are in its sum."),
                    format!("Ещё {n} учтены в сумме этой строки."),
                ));
            }
        }
        said.push(match raise {
            Raise::Nothing => None,
            Raise::By(by) => Some(lang.pick(
                format!("What was earned earlier in the period is raised by {}.", sum(by, lang)),
                format!("Заработанное раньше в этом периоде вырастет на {}.", sum(by, lang)),
            )),
            Raise::Unknown => Some(lang.pick(
                "What was earned earlier in the period is raised, too; by how much is seen when it \
                 has happened."
                    .to_owned(),
                "Заработанное раньше в этом периоде тоже вырастет; на сколько, будет видно потом."
                    .to_owned(),
            )),
        }
        .unwrap_or_default());
        said.retain(|sentence| !sentence.is_empty());
        said.push(lang.pick(
            format!("In all {}.", sum(&self.totals, lang)),
            format!("Всего {}.", sum(&self.totals, lang)),
        ));
        said
    }
}

/// Says a sum in several currencies.
fn sum(totals: &BTreeMap<Currency, i64>, lang: Language) -> String {
    let texts: Vec<String> =
        totals.iter().map(|(currency, minor)| Money::new(*minor, *currency).to_string()).collect();
    match texts.as_slice() {
        [] => lang.pick("nothing", "ничего").to_owned(),
        texts => texts.join(" + "),
    }
}

impl LineAnswer {
    fn tell(&mut self, n: u32, priced: &Result<Calculation, NoCommission>, lang: Language) {
        let each = priced.as_ref().ok().map(|calculation| calculation.total);
        let is_full = self.steps.len() == STEPS_MAX;
        match self.steps.last_mut() {
            Some(step) if step.each == each && step.last + 1 == n => step.last = n,
            Some(_) if is_full => self.n_more += 1,
            Some(_) | None => {
                let sentence = match priced {
                    Ok(calculation) => calculation.sentence_in(lang),
                    Err(why) => why.words(lang),
                };
                self.steps.push(StepAnswer { first: n, last: n, each, sentence });
            }
        }
    }
}

//! The route of a partner's own question: what do I earn if I sell so much?

use std::collections::BTreeMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::run;
use super::store;
use super::wish::{Answer, Asker, CONVERSIONS_MAX, LINES_MAX, LineAnswer, Raise, StepAnswer, Wish};
use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::plan::{CustomerKind, EventKind, Language, PriceFacts, version_at};
use crate::commission::pricing;
use crate::db::DbTx;
use crate::ids::{PartnerId, PlanVersionId, ProgramId};
use crate::money::{AmountRule, Currency, Money};
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, StrictJson, transact};

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(simulate_earnings);
}

/// What a partner asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What would be sold, in this order; 1 to 50 lines, 10000 conversions together.
    pub lines: Vec<WishLine>,
    /// `en` (by default) or `ru`: the language of sentences.
    pub lang: Option<String>,
}

/// So many conversions of one kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishLine {
    /// `sale` (by default), `lead`, `signup`, `install` or `renewal`.
    pub event: Option<String>,
    /// What each customer pays, in major units.
    #[schema(example = "149.90")]
    pub amount: Option<String>,
    /// ISO 4217 code; needed with an amount.
    #[schema(example = "EUR")]
    pub currency: Option<String>,
    /// Tax within the amount.
    pub tax: Option<String>,
    /// Shipping within the amount.
    pub shipping: Option<String>,
    /// The category of what is sold.
    pub category: Option<String>,
    /// The customers' country, in two letters.
    pub country: Option<String>,
    /// Where the link stands.
    pub placement: Option<String>,
    /// `new` or `returning` customers.
    pub customer: Option<String>,
    /// How many; 1 where it is not given.
    pub count: Option<u32>,
}

/// What it would earn.
#[derive(Debug, Serialize, ToSchema)]
pub struct EarningsBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The moment: what the partner has earned so far in its periods counts.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The edition of the plan.
    #[schema(value_type = String)]
    pub plan_version_id: PlanVersionId,
    /// All lines together, in each currency.
    pub totals: Vec<SumBody>,
    /// For each line.
    pub lines: Vec<LineBody>,
    /// By how much what was earned earlier in the period rises, because a tier is reached that
    /// holds for all of it; null where there is too much to reckon again.
    pub raised: Option<Vec<SumBody>>,
    /// The answer in sentences.
    pub sentences: Vec<String>,
}

/// A sum.
#[derive(Debug, Serialize, ToSchema)]
pub struct SumBody {
    /// In major units.
    #[schema(example = "29.98")]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: &'static str,
}

/// What a line comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineBody {
    /// In each currency: one, but where a cap is in another.
    pub totals: Vec<SumBody>,
    /// Conversions that follow one another and earn the same.
    pub steps: Vec<StepBody>,
    /// Conversions in the sum that no step tells of.
    pub more: u32,
}

/// Conversions that follow one another and earn the same.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepBody {
    /// The first of them, from 1.
    pub first: u32,
    /// The last of them.
    pub last: u32,
    /// What each earns; null for nothing.
    pub each: Option<SumBody>,
    /// How the first of them is reckoned.
    pub sentence: String,
}

impl From<Money> for SumBody {
    fn from(money: Money) -> Self {
        Self { amount: money.to_decimal_string(), currency: money.currency.code() }
    }
}

fn sums(totals: BTreeMap<Currency, i64>) -> Vec<SumBody> {
    totals.into_iter().map(|(currency, minor)| Money::new(minor, currency).into()).collect()
}

impl From<LineAnswer> for LineBody {
    fn from(line: LineAnswer) -> Self {
        let step = |step: StepAnswer| StepBody {
            first: step.first,
            last: step.last,
            each: step.each.map(SumBody::from),
            sentence: step.sentence,
        };
        Self {
            totals: sums(line.totals),
            steps: line.steps.into_iter().map(step).collect(),
            more: line.n_more,
        }
    }
}

/// Answers what a partner would earn, from its counters as they stand. Nothing is written.
#[utoipa::path(tag = "partners", request_body = WishBody, responses(
    (status = 200, body = EarningsBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/simulate")]
async fn simulate_earnings(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    id: Path<String>,
    body: StrictJson<WishBody>,
) -> Result<HttpResponse, Problem> {
    let partner_id: PartnerId = path_id(&id)?;
    let program_id = body.0.program_id;
    caller.check_own(program_id, partner_id)?;
    let (wishes, lang) = body.0.read()?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        answer(db, (program_id, partner_id, now), &wishes, lang).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

async fn answer(
    db: &mut DbTx,
    (program_id, partner_id, at): (ProgramId, PartnerId, Timestamp),
    wishes: &[Wish],
    lang: Language,
) -> Result<EarningsBody, Problem> {
    store::begin_reading(db).await?;
    let may_earn = store::may_earn(db, program_id, partner_id).await?;
    if !may_earn.ok_or_else(|| Problem::new(Code::NotFound))? {
        let detail = "The partner is blocked or not active in the program: it earns nothing.";
        return Err(Problem::new(Code::InvalidTransition).detail(detail));
    }
    let mut ground = run::load_ground(db, program_id, None).await?;
    let version = version_at(&ground.versions, at).cloned().ok_or_else(|| {
        let detail = "No edition of the program's plan is in force now.";
        Problem::new(Code::InvalidTransition).detail(detail)
    })?;
    let asker = Asker { program_id, partner_id, at, terms: &version.terms };
    let keys = asker.keys(&ground.facts).into_iter().collect();
    ground.facts.sums = pricing::store::load_sums(db, &keys).await?;
    let mut told: Answer = asker.answer(&ground.facts, wishes, lang);
    let mut raise = Raise::Nothing;
    if told.raises_earlier {
        let (by, sums) = run::find_raise(db, &ground, &asker, &told.whole).await?;
        raise = by;
        // What is raised takes up room below caps.
        ground.facts.sums.extend(sums);
        told = asker.answer(&ground.facts, wishes, lang);
    }
    Ok(EarningsBody {
        program_id,
        partner_id,
        at,
        plan_version_id: version.id,
        sentences: told.sentences(wishes, &raise, lang),
        totals: sums(told.totals),
        lines: told.lines.into_iter().map(LineBody::from).collect(),
        raised: match raise {
            Raise::Nothing => Some(Vec::new()),
            Raise::By(by) => Some(sums(by)),
            Raise::Unknown => None,
        },
    })
}

impl WishBody {
    fn read(self) -> Result<(Vec<Wish>, Language), Problem> {
        let lang = self.lang.as_deref().unwrap_or("en");
        let mut problem = Problem::new(Code::InvalidField);
        let language = Language::from_code(lang);
        if language.is_none() {
            problem = problem.error("/lang", format!("{lang:?} is neither en nor ru"));
        }
        let n_lines = self.lines.len();
        if !(1..=LINES_MAX).contains(&n_lines) {
            problem =
                problem.error("/lines", format!("{n_lines} lines: expected 1 to {LINES_MAX}"));
        }
        let mut wishes = Vec::new();
        for (n, line) in self.lines.into_iter().take(LINES_MAX).enumerate() {
            match line.read() {
                Ok(wish) => wishes.push(wish),
                Err((field, why)) => problem = problem.error(format!("/lines/{n}/{field}"), why),
            }
        }
        let n_all: u64 = wishes.iter().map(|wish| u64::from(wish.count)).sum();
        if n_all > CONVERSIONS_MAX {
            let why = format!("{n_all} conversions together: at most {CONVERSIONS_MAX}");
            problem = problem.error("/lines", why);
        }
        match language {
            Some(language) if problem.errors().is_empty() => Ok((wishes, language)),
            Some(_) | None => Err(problem),
        }
    }
}

impl WishLine {
    fn read(self) -> Result<Wish, (&'static str, String)> {
        let event = self.event.as_deref().unwrap_or("sale");
        let kinds = EventKind::ALL.map(EventKind::code).join(", ");
        let event = EventKind::from_code(event)
            .filter(|kind| *kind != EventKind::Click)
            .ok_or_else(|| ("event", format!("{event:?} is none of {kinds}")))?;
        let currency = self.currency.as_deref().map(str::parse::<Currency>).transpose();
        let currency = currency.map_err(|e| ("currency", e.to_string()))?;
        let money = |field: &'static str, text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let currency = currency.ok_or_else(|| ("currency", "is needed".to_owned()))?;
            let read = Money::parse_amount(text, currency, AmountRule::ZeroOrMore);
            read.map(Some).map_err(|e| (field, e.to_string()))
        };
        let amount = money("amount", &self.amount)?;
        if amount.is_none() && matches!(event, EventKind::Sale | EventKind::Renewal) {
            return Err(("amount", format!("is needed for {}", event.code())));
        }
        let facts = PriceFacts {
            tax: money("tax", &self.tax)?,
            shipping: money("shipping", &self.shipping)?,
            ..PriceFacts::new(event, amount)
        };
        let customer = match self.customer.as_deref() {
            None => None,
            Some(code) => {
                Some(CustomerKind::ALL.into_iter().find(|kind| kind.code() == code).ok_or_else(
                    || ("customer", format!("{code:?} is neither new nor returning")),
                )?)
            }
        };
        let count = self.count.unwrap_or(1);
        if count == 0 {
            return Err(("count", "must be at least 1".to_owned()));
        }
        let (category, country, placement) = (self.category, self.country, self.placement);
        Ok(Wish { facts, category, country, placement, customer, count })
    }
}

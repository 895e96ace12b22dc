//! The route of the what-if: a line for how far it is, one for each partner, one for the result.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, post, rt};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::outcome::{CapKey, CapTally, Example, Tally};
use super::replay::{Draft, Span};
use super::run::{self, Ask, Attribute, Progress, ReplayError, Told};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::{Timestamp, midnight};
use crate::commission::plan::{InvalidPlan, Language, PlanTerms};
use crate::commission::plan_http::{NewPlanBody, WarningBody};
use crate::db::Db;
use crate::ids::{ConversionId, PartnerId, ProgramId};
use crate::money::{Currency, Money};
use crate::program::store as program_store;
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached};

/// Lines that wait for a slow reader.
const LINES_WAITING: usize = 64;

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(simulate_plan);
}

/// What is to be replayed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when: a day, `2026-10-01`, or RFC 3339.
    #[schema(example = "2026-10-01")]
    pub from: String,
    /// Until before when; now where it is not given.
    pub to: Option<String>,
    /// The draft, as it would be published; the plan as it is where none is given. It prices from
    /// `from` on, so its own `effective_from` is not looked at.
    pub plan: Option<NewPlanBody>,
}

/// A line of the answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SimulatedLine {
    /// How far it is.
    Progress {
        /// Conversions done.
        done: u64,
        /// Of so many.
        all: u64,
    },
    /// What a partner would have more, or less; the largest difference first.
    Partner(Box<PartnerLine>),
    /// The last line: what it comes to in all.
    Result(Box<ResultLine>),
    /// The last line where it could not be ended.
    Problem {
        /// The problem, as any other answer would have it.
        #[schema(value_type = Object)]
        problem: serde_json::Value,
    },
}

/// What a partner has now, and what it would have had.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnerLine {
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: FiguresBody,
}

/// Figures now and then, in major units.
#[derive(Debug, Serialize, ToSchema)]
pub struct FiguresBody {
    /// ISO 4217 code.
    pub currency: &'static str,
    /// What the ledger holds.
    #[schema(example = "1200.00")]
    pub now: String,
    /// What it would have been.
    #[schema(example = "1350.00")]
    pub then: String,
    /// What would be more, or less.
    #[schema(example = "150.00")]
    pub difference: String,
    /// What of both was taken back or added by hand, and stays.
    pub by_hand: String,
    /// Conversions with something in this currency, now or then.
    pub conversions: u64,
    /// Those that differ.
    pub changed: u64,
    /// Those that pay something now and would pay nothing.
    pub to_zero: u64,
}

/// What it comes to in all.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultLine {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when.
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// Until before when.
    #[schema(value_type = String)]
    pub to: Timestamp,
    /// The draft in words; left out where the plan was replayed as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Vec<String>>,
    /// What to think twice about in the draft.
    pub warnings: Vec<WarningBody>,
    /// Conversions of partners in that time.
    pub conversions: u64,
    /// Those of them that were rejected or reversed: they earn nothing by any plan.
    pub over: u64,
    /// Conversions that were read, those before and after for the sake of tiers and caps included.
    pub read: u64,
    /// All partners together, in each currency.
    pub totals: Vec<FiguresBody>,
    /// What of it clicks earned; `conversions` counts partners' days.
    pub clicks: Vec<FiguresBody>,
    /// Partners that have something now and would have nothing, in some currency.
    pub partners_to_zero: u64,
    /// Why conversions would pay nothing that pay something now, and how many they are.
    #[schema(value_type = Object)]
    pub nothing_because: BTreeMap<&'static str, u64>,
    /// What caps and budgets cut off by the arithmetic that is stored now.
    pub caps_now: Vec<CapBody>,
    /// What they would have cut off.
    pub caps_then: Vec<CapBody>,
    /// The conversions with the largest differences.
    pub examples: Vec<ExampleBody>,
    /// Partners whose tiers and caps the service is about to reckon again: until then what the
    /// ledger holds of them is provisional, and a replay may differ from it.
    pub provisional_partners: i64,
}

/// What a cap cut off.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapBody {
    /// The rule, from 1; left out for a cap of the whole plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// `day`, `week`, `month` or `all_time`.
    pub period: &'static str,
    /// `partner` or `program`.
    pub per: &'static str,
    /// The most.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: &'static str,
    /// Conversions that felt it.
    pub conversions: u64,
    /// What it cut off in all.
    pub cut: String,
}

/// A conversion that differs much.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExampleBody {
    /// The conversion; `GET /v1/conversions/{id}/explanation` tells how it is now.
    #[schema(value_type = String)]
    pub conversion_id: ConversionId,
    /// For whom.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// ISO 4217 code.
    pub currency: &'static str,
    /// What the ledger holds.
    pub now: String,
    /// What it would have been.
    pub then: String,
    /// How it would have been reckoned.
    pub sentence: Option<String>,
}

impl FiguresBody {
    /// Returns the figures of a tally.
    pub(crate) fn new(currency: Currency, tally: &Tally) -> Self {
        let text = |minor| Money::new(minor, currency).to_decimal_string();
        Self {
            currency: currency.code(),
            now: text(tally.now_minor),
            then: text(tally.then_minor),
            difference: text(tally.difference_minor()),
            by_hand: text(tally.by_hand_minor),
            conversions: tally.n_conversions,
            changed: tally.n_changed,
            to_zero: tally.n_to_zero,
        }
    }
}

impl CapBody {
    fn new((key, tally): (&CapKey, &CapTally)) -> Self {
        let (rule, period, per, amount_minor, currency) = *key;
        let text = |minor| Money::new(minor, currency).to_decimal_string();
        Self {
            rule: rule.map(|index| index + 1),
            period,
            per,
            amount: text(amount_minor),
            currency: currency.code(),
            conversions: tally.n_conversions,
            cut: text(tally.cut_minor),
        }
    }
}

impl From<Example> for ExampleBody {
    fn from(example: Example) -> Self {
        let text = |minor| Money::new(minor, example.currency).to_decimal_string();
        Self {
            conversion_id: example.conversion_id,
            partner_id: example.partner_id,
            currency: example.currency.code(),
            now: text(example.now_minor),
            then: text(example.then_minor),
            sentence: example.sentence,
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Busy => Self::new(Code::Unavailable)
                .detail("Too many replays are running at this moment. Try again in a minute.")
                .retry_after(60),
            ReplayError::TooLong | ReplayError::TooManySums => {
                Self::new(Code::InvalidField).error("/from", error.to_string())
            }
            // Class 57: the statement was canceled because it took too long.
            ReplayError::Database(e)
                if e.as_database_error().is_some_and(|e| e.code().as_deref() == Some("57014")) =>
            {
                Self::new(Code::InvalidField)
                    .error("/from", "reading took too long; ask for a shorter time")
            }
            ReplayError::Database(e) => e.into(),
            ReplayError::NobodyWaits | ReplayError::Stored(_) | ReplayError::Ended => {
                Self::internal(error)
            }
        }
    }
}

/// Replays history by a draft and tells who would have had more and who less. Nothing is changed.
///
/// The answer is NDJSON: `progress` lines while it runs, a `partner` line for each partner and
/// currency, at last a `result` line, or a `problem` line. What is wrong with the draft is told
/// before, as when it is published.
#[utoipa::path(tag = "programs", request_body = SimulateBody, responses(
    (status = 200, content_type = "application/x-ndjson", body = SimulatedLine),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/plans/simulate")]
async fn simulate_plan(
    app: Data<App>,
    caller: Caller<scope::CommissionsRead>,
    body: StrictJson<SimulateBody>,
) -> Result<HttpResponse, Problem> {
    let SimulateBody { program_id, from, to, plan } = body.0;
    caller.check_reach(program_id)?;
    let terms = plan.map(|plan| PlanTerms::try_from(&plan.into_document()));
    let terms = terms.transpose().map_err(in_plan)?;
    let (now, db) = (app.clock.now(), app.db.clone());
    let program = detached(async move {
        let mut db = db.acquire().await?;
        Ok(program_store::find_program(&mut db, program_id).await?)
    })
    .await?
    .ok_or_else(|| Problem::new(Code::NotFound))?;
    let zone: Tz = program.time_zone.parse().unwrap_or(Tz::UTC);
    let span = read_span(&from, to.as_deref(), zone, now)?;
    let draft = terms.map(|terms| Draft { from: span.from, terms: terms.into() });
    let ask = Ask { program_id, span, draft, now };
    answer(app.db.clone(), ask, None, |ask, told| result_line(ask, told).bytes()).await
}

/// Answers with a replay while it runs: how far it is, a line for each partner, and the last line as
/// `end` makes it.
pub(crate) async fn answer(
    db: Db,
    ask: Ask,
    attribute: Option<Attribute>,
    end: impl FnOnce(&Ask, Told) -> Bytes + 'static,
) -> Result<HttpResponse, Problem> {
    let (line_to, mut lines) = mpsc::channel(LINES_WAITING);
    // A task of its own: it ends in its own time when the reader goes away.
    rt::spawn(async move {
        let progress_to = line_to.clone();
        let tell = |progress| tell(&progress_to, progress);
        match run::run(&db, &ask, attribute, tell).await {
            Ok(told) => {
                let partners: Vec<Bytes> = partner_lines(&told);
                for line in partners.into_iter().chain([end(&ask, told)]) {
                    // Nobody reads: then nobody misses the rest either.
                    if line_to.send(Ok(line)).await.is_err() {
                        break;
                    }
                }
            }
            Err(error) => drop(line_to.send(Err(error)).await),
        }
    });
    match lines.recv().await {
        Some(Ok(first)) => Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "application/x-ndjson"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .streaming(rest(first, lines))),
        Some(Err(error)) => Err(error.into()),
        None => Err(ReplayError::Ended.into()),
    }
}

/// Says of each mistake where it is in this body.
fn in_plan(invalid: InvalidPlan) -> Problem {
    let problem = Problem::new(Code::InvalidField);
    let errors = invalid.errors.into_iter();
    errors.fold(problem, |p, e| p.error(format!("/plan{}", e.pointer), e.message))
}

/// Reads the two ends of a span: days of the zone, or RFC 3339.
pub(crate) fn read_span(
    from: &str,
    to: Option<&str>,
    zone: Tz,
    now: Timestamp,
) -> Result<Span, Problem> {
    let wrong = |field: &str, why: &str| Problem::new(Code::InvalidField).error(field, why);
    let read = |field: &str, text: &str| {
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(midnight(day, zone));
        }
        let time = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
        let why = "must be a day like 2026-10-01 or a time like 2026-10-01T00:00:00Z";
        time.map_err(|_| wrong(field, why))
    };
    let from = read("/from", from)?;
    let to = to.map_or(Ok(now), |to| read("/to", to))?;
    if from < to {
        Ok(Span { from, to })
    } else {
        Err(wrong("/to", "must be later than from: it is the first moment that is not replayed"))
    }
}

type Lines = mpsc::Sender<Result<Bytes, ReplayError>>;

/// Tells how far it is, unless the reader is slow; returns whether there is one.
fn tell(to: &Lines, progress: Progress) -> bool {
    let line = SimulatedLine::Progress { done: progress.n_done, all: progress.n_all };
    match to.try_send(Ok(line.bytes())) {
        Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
        Err(mpsc::error::TrySendError::Closed(_)) => false,
    }
}

/// Returns a line for each partner, the largest difference first.
fn partner_lines(told: &Told) -> Vec<Bytes> {
    let mut partners: Vec<(&(PartnerId, Currency), &Tally)> =
        told.outcome.partners.iter().collect();
    let size = |tally: &Tally| tally.difference_minor().unsigned_abs();
    partners.sort_by_key(|(whose, tally)| (Reverse(size(tally)), **whose));
    let line = |((partner_id, currency), tally): (&(PartnerId, Currency), &Tally)| {
        SimulatedLine::Partner(Box::new(PartnerLine {
            partner_id: *partner_id,
            name: told.names.get(partner_id).cloned().unwrap_or_default(),
            figures: FiguresBody::new(*currency, tally),
        }))
        .bytes()
    };
    partners.into_iter().map(line).collect()
}

/// Returns what a replay by a draft came to.
fn result_line(ask: &Ask, told: Told) -> SimulatedLine {
    let is_to_zero = |tally: &&Tally| tally.now_minor > 0 && tally.then_minor <= 0;
    let partners_to_zero = told.outcome.partners.values().filter(is_to_zero).count() as u64;
    let terms = ask.draft.as_ref().map(|draft| &draft.terms);
    let totals = told.outcome.totals();
    let outcome = told.outcome;
    SimulatedLine::Result(Box::new(ResultLine {
        program_id: ask.program_id,
        from: ask.span.from,
        to: ask.span.to,
        sentences: terms.map(|terms| terms.words(Language::En)),
        warnings: terms
            .map_or_else(Vec::new, |terms| terms.warnings())
            .into_iter()
            .map(WarningBody::from)
            .collect(),
        conversions: outcome.n_conversions,
        over: outcome.n_over,
        read: told.n_read,
        totals: totals.iter().map(|(currency, tally)| FiguresBody::new(*currency, tally)).collect(),
        clicks: outcome
            .clicks
            .iter()
            .map(|(currency, tally)| FiguresBody::new(*currency, tally))
            .collect(),
        partners_to_zero,
        nothing_because: outcome.nothing_because,
        caps_now: outcome.caps_now.iter().map(CapBody::new).collect(),
        caps_then: outcome.caps_then.iter().map(CapBody::new).collect(),
        examples: outcome.examples.into_iter().map(ExampleBody::from).collect(),
        provisional_partners: told.n_marked,
    }))
}

impl SimulatedLine {
    fn bytes(&self) -> Bytes {
        let mut text = serde_json::to_string(self).expect("a line holds text and numbers only");
        text.push('\n');
        text.into()
    }
}

/// Returns the lines of an answer that is on its way; an error is its last one.
fn rest(
    first: Bytes,
    lines: mpsc::Receiver<Result<Bytes, ReplayError>>,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let later = futures_util::stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?.unwrap_or_else(|error| {
            let problem = Problem::from(error);
            let body = serde_json::to_value(problem.body(None, None)).unwrap_or_else(|_| json!({}));
            SimulatedLine::Problem { problem: body }.bytes()
        });
        Some((Ok(line), lines))
    });
    futures_util::stream::once(std::future::ready(Ok(first))).chain(later)
}

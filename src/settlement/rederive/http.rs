//! The route of models: what another one would have paid, with progress while it is reckoned.

use std::collections::HashSet;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpResponse, post};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::parts_by;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::simulate::http::{FiguresBody, answer, read_span};
use crate::commission::simulate::run::{Ask, Attribute, Told};
use crate::commission::simulate::store;
use crate::ids::{PartnerId, ProgramId};
use crate::program;
use crate::program::attribution::Model;
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached};

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(rederive);
}

/// What is to be shared anew.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RederiveBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when: a day of the program's time zone, or RFC 3339.
    #[schema(example = "2026-10-01")]
    pub from: String,
    /// Until before when; now where it is not given.
    pub to: Option<String>,
    /// `last_click`, `first_click`, `linear`, `position` or `time_decay`.
    #[schema(example = "linear")]
    pub model: String,
    /// Days after which a click weighs half, 1 to 365; of `time_decay` alone, and 7 if left out.
    pub half_life_days: Option<u16>,
}

/// The last line: what a model comes to in all.
#[derive(Debug, Serialize, ToSchema)]
pub struct RederivedLine {
    /// `result`.
    pub r#type: &'static str,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// From when.
    #[schema(value_type = String)]
    pub from: Timestamp,
    /// Until before when.
    #[schema(value_type = String)]
    pub to: Timestamp,
    /// The model that was tried.
    pub model: &'static str,
    /// Its half-life; of `time_decay` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_life_days: Option<u16>,
    /// Conversions of partners in that time.
    pub conversions: u64,
    /// Those of them that were rejected or reversed: they earn nothing by any model.
    pub over: u64,
    /// All partners together, in each currency.
    pub totals: Vec<FiguresBody>,
    /// Partners whose tiers and caps the service is about to reckon again: until then what the
    /// ledger holds of them is provisional.
    pub provisional_partners: i64,
}

impl RederivedLine {
    fn new(ask: &Ask, model: Model, told: &Told) -> Self {
        let totals = told.outcome.totals();
        Self {
            r#type: "result",
            program_id: ask.program_id,
            from: ask.span.from,
            to: ask.span.to,
            model: model.as_str(),
            half_life_days: model.half_life_days(),
            conversions: told.outcome.n_conversions,
            over: told.outcome.n_over,
            totals: totals.iter().map(|(of, tally)| FiguresBody::new(*of, tally)).collect(),
            provisional_partners: told.n_marked,
        }
    }

    fn bytes(&self) -> Bytes {
        let mut text = serde_json::to_string(self).expect("a line holds text and numbers only");
        text.push('\n');
        text.into()
    }
}

/// Tells what another attribution model would have paid, per partner. Nothing is changed.
///
/// The answer is NDJSON, as that of `POST /v1/plans/simulate`: `progress` lines while it runs, a
/// `partner` line for each partner and currency, at last a `result` line, or a `problem` line.
#[utoipa::path(tag = "attribution", request_body = RederiveBody, responses(
    (status = 200, content_type = "application/x-ndjson", body = RederivedLine),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/attribution/rederive")]
async fn rederive(
    app: Data<App>,
    caller: Caller<scope::CommissionsRead>,
    body: StrictJson<RederiveBody>,
) -> Result<HttpResponse, Problem> {
    let RederiveBody { program_id, from, to, model, half_life_days } = body.0;
    caller.check_reach(program_id)?;
    let model = Model::read(&model, half_life_days)
        .map_err(|field| Problem::new(Code::InvalidField).error(field.pointer, field.detail))?;
    let (db, now) = (app.db.clone(), app.clock.now());
    let (program, active) = detached(async move {
        let mut db = db.acquire().await?;
        let program = program::store::find_program(&mut db, program_id).await?;
        let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok((program, store::load_earning(&mut db, program_id).await?))
    })
    .await?;
    let zone: Tz = program.time_zone.parse().unwrap_or(Tz::UTC);
    let span = read_span(&from, to.as_deref(), zone, now)?;
    let active: HashSet<PartnerId> = active.into_iter().collect();
    let attribute: Attribute =
        Box::new(move |past| parts_by(model, past, |partner| active.contains(&partner)));
    let ask = Ask { program_id, span, draft: None, now };
    let end = move |ask: &Ask, told: Told| RederivedLine::new(ask, model, &told).bytes();
    answer(app.db.clone(), ask, Some(attribute), end).await
}

//! The routes of closed months and of statements.

#![expect(unused_qualifications, reason = "utoipa repeats the type of the query")]

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
// Renamed, because utoipa takes whatever is called `Bytes` for a body that it could describe.
use actix_web::web::{Bytes as RawBody, Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::account::{Caller as Identity, audit_store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission;
use crate::ids::{PartnerId, ProgramId, StatementId, UserId};
use crate::ledger::closing::{Books, CloseError};
use crate::ledger::period::{CannotClose, ClosedPeriod, Month};
use crate::ledger::statement_store::{Filter, Listed};
use crate::ledger::{period_store, statement, statement_store};
use crate::program::store as program_store;
use crate::web::body::{check_json, parse_json};
use crate::web::fields::path_id;
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// Adds the routes of closed months and statements.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(close_period).service(list_periods).service(list_statements).service(get_statement);
}

impl From<CloseError> for Problem {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::Refused(CannotClose::Closed(_)) => {
                Self::new(Code::PeriodClosed).detail(format!("{error}."))
            }
            CloseError::Refused(CannotClose::NotOver { .. } | CannotClose::NotNext(_)) => {
                Self::new(Code::InvalidField).error("/period", error.to_string())
            }
            CloseError::DoesNotFit(_) | CloseError::NotFixed(_) => Self::internal(error),
            CloseError::Database(e) => e.into(),
        }
    }
}

/// Whose month to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
}

/// A month whose books are closed.
#[derive(Debug, Serialize, ToSchema)]
pub struct PeriodBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The month.
    #[schema(example = "2026-10")]
    pub period: String,
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// The first moment after it.
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// The last transaction of the ledger when it was closed.
    pub last_sequence: i64,
    /// The hash of the ledger's chain there, hexadecimal: kept elsewhere, it proves the book.
    pub chain_hash: String,
    /// Who closed it.
    #[schema(value_type = String)]
    pub closed_by: UserId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub closed_at: Timestamp,
    /// How many statements it has; told when it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statements: Option<u64>,
}

impl PeriodBody {
    fn new(p: &ClosedPeriod, statements: Option<u64>) -> Self {
        Self {
            program_id: p.program_id,
            period: p.month.to_string(),
            from: p.starts_at,
            to: p.ends_at,
            last_sequence: p.last_sequence,
            chain_hash: hex(&p.chain_hash),
            closed_by: p.closed_by,
            closed_at: p.closed_at,
            statements,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Closes a month of a program and writes its statements; what comes later is in the next month.
#[utoipa::path(tag = "ledger", request_body = CloseBody, responses(
    (status = 200, body = PeriodBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/periods/{period}/close")]
async fn close_period(
    app: Data<App>,
    caller: Caller<scope::PayoutsWrite>,
    req: HttpRequest,
    period: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    check_json(req.headers())?;
    let program_id = parse_json::<CloseBody>(&bytes)?.program_id;
    caller.check_reach(program_id)?;
    let wrong = |e: &dyn ToString| Problem::new(Code::InvalidField).error("/period", e.to_string());
    let month: Month = period.parse().map_err(|e| wrong(&e))?;
    let (identity, request_id, now) =
        (Identity::clone(&caller), caller.request_id.clone(), app.clock.now());
    once(&app, &req, &caller, KeyRule::Required, &bytes, async move |db| {
        let program = program_store::find_program(db, program_id).await?;
        let program = program.ok_or_else(|| Problem::new(Code::NotFound))?;
        let time_zone: Tz = program.time_zone.parse().map_err(Problem::internal)?;
        let books = Books { program_id, name: program.name, time_zone };
        let (closed, n) =
            commission::closing::close(db, &books, month, identity.user_id, now).await?;
        let entry = audit_store::Entry::by(&identity, "period.close", month)
            .program(program_id)
            .details(serde_json::json!({"statements": n, "last_sequence": closed.last_sequence}))
            .request(&request_id);
        audit_store::record(db, entry, now).await?;
        Ok(Answer::ok(PeriodBody::new(&closed, Some(n))))
    })
    .await
}

/// Whose closed months to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
}

/// Lists the closed months of a program, the newest first.
#[utoipa::path(tag = "ledger", params(PeriodFilter, PageQuery),
    responses((status = 200, body = Page<PeriodBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/periods")]
async fn list_periods(
    app: Data<App>,
    caller: Caller<scope::ReportsRead>,
    filter: Query<PeriodFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(filter.program_id)?;
    let (limit, program_id) = (page.limit()?, filter.program_id);
    let before: Option<Month> = match page.after::<String>()? {
        Some(text) => Some(text.parse().map_err(|e: crate::ledger::period::BadMonth| {
            Problem::new(Code::InvalidField).error("/cursor", e.to_string())
        })?),
        None => None,
    };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(period_store::load_closed(&mut db, &[program_id], before, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |p| p.month.to_string());
    Ok(HttpResponse::Ok().json(page.map(|p| PeriodBody::new(&p, None))))
}

/// Which statements to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementFilter {
    /// Of this program; of all that the key reaches where it is not given.
    #[param(value_type = Option<String>)]
    pub program_id: Option<ProgramId>,
    /// Of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Of this month: `2026-10`.
    pub period: Option<String>,
}

/// A statement as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatementBody {
    /// Its key.
    #[schema(value_type = String)]
    pub id: StatementId,
    /// Its number.
    #[schema(example = "ST-2026-10-000123")]
    pub number: String,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who was told.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its month.
    pub period: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Pending at the beginning.
    pub pending_opening: String,
    /// Pending at the end.
    pub pending_closing: String,
    /// Payable at the beginning.
    pub opening: String,
    /// Payable at the end.
    pub closing: String,
    /// How many entries it has.
    pub lines: i64,
    /// SHA-256 of its document, hexadecimal.
    pub sha256: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<Listed> for StatementBody {
    fn from(s: Listed) -> Self {
        Self {
            id: s.statement_id,
            number: s.number,
            program_id: s.program_id,
            partner_id: s.partner_id,
            period: s.period,
            currency: s.payable.0.currency.code().to_owned(),
            pending_opening: s.pending.0.to_decimal_string(),
            pending_closing: s.pending.1.to_decimal_string(),
            opening: s.payable.0.to_decimal_string(),
            closing: s.payable.1.to_decimal_string(),
            lines: s.n_lines,
            sha256: hex(&s.sha256),
            created_at: s.created_at,
        }
    }
}

/// Lists statements, the newest first.
#[utoipa::path(tag = "ledger", params(StatementFilter, PageQuery),
    responses((status = 200, body = Page<StatementBody>), (status = 422, body = ProblemBody)))]
#[get("/v1/statements")]
async fn list_statements(
    app: Data<App>,
    caller: Caller<Own<scope::ReportsRead>>,
    query: Query<StatementFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, before) = (page.limit()?, page.after()?);
    let partner = caller.whose(query.partner_id)?;
    let programs = match query.program_id {
        Some(id) => {
            caller.check_reach(id)?;
            Some(vec![id])
        }
        None => caller.programs.clone(),
    };
    let period = query.period.as_deref().map(str::parse::<Month>).transpose();
    let wrong = |e: &dyn ToString| Problem::new(Code::InvalidField).error("/period", e.to_string());
    let period = period.map_err(|e| wrong(&e))?;
    let filter = Filter { programs, id: None, partner, period, before };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(statement_store::load_statements(&mut db, &filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |s| s.statement_id).map(StatementBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// In which form to show a statement.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatementForm {
    /// `json`, `ndjson` (the document itself) or `html`, a page that prints well; `json` where it
    /// is not given.
    pub format: Option<String>,
}

/// Shows a statement, the same bytes each time.
#[utoipa::path(tag = "ledger", params(StatementForm), responses(
    (status = 200, content_type = "application/json", body = Object),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/statements/{id}")]
async fn get_statement(
    app: Data<App>,
    caller: Caller<Own<scope::ReportsRead>>,
    id: Path<String>,
    form: Query<StatementForm>,
) -> Result<HttpResponse, Problem> {
    let id: StatementId = path_id(&id)?;
    let (db, identity) = (app.db.clone(), Identity::clone(&caller));
    let (listed, document) = detached(async move {
        let mut db = db.acquire().await?;
        let filter = Filter { id: Some(id), ..Filter::default() };
        let found = statement_store::load_statements(&mut db, &filter, 1).await?.pop();
        let found = found.filter(|s| identity.owns(s.program_id, s.partner_id));
        let found = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        let document = statement_store::load_document(&mut db, found.program_id, id).await?;
        Ok((found, document))
    })
    .await?;
    let unreadable = || Problem::internal(std::io::Error::other("a statement cannot be read"));
    let (kind, body) = match form.format.as_deref().unwrap_or("json") {
        "ndjson" => ("application/x-ndjson", document),
        "json" => {
            let json = statement::to_json(&document).ok_or_else(unreadable)?;
            ("application/json", json.to_string())
        }
        "html" => {
            let page = statement::to_html(&document, &hex(&listed.sha256));
            ("text/html; charset=utf-8", page.ok_or_else(unreadable)?)
        }
        _ => {
            return Err(
                Problem::new(Code::InvalidField).error("/format", "must be json, ndjson or html")
            );
        }
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        // Of the document itself, whatever the form.
        .insert_header(("X-Document-SHA-256", hex(&listed.sha256)))
        .body(body))
}

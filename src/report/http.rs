//! Handlers of reports.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::web::{self, Data, Path};
use actix_web::{HttpResponse, HttpResponseBuilder, get, rt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{Datelike as _, NaiveDate, SecondsFormat};
use chrono_tz::Tz;
use futures_util::{Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::Db;
use crate::ids::{PartnerId, ProgramId};
use crate::program::{Program, store as program_store};
use crate::report::export::Format;
use crate::report::export::csv::Dialect;
use crate::report::export::json::Totals;
use crate::report::period::{BadWindow, Window};
use crate::report::stream::{self, Piece};
use crate::report::{self, Params, Preparation, REGISTRY, Report, ReportError};
use crate::telemetry;
use crate::web::{Code, Problem, ProblemBody, Query, detached};

const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
/// Pieces of an answer that wait for a slow reader.
const PIECES_WAITING: usize = 2;
/// Seconds after which a reader asks again whose day is being learned: a large program takes some.
const LEARNING_S: u32 = 3;
/// What a page or a picture may load: nothing but its own styles.
pub(crate) const PICTURES_ONLY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Adds the routes of reports.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_reports).service(show_summary).service(show_report);
    report::decline::picture_http::configure(cfg);
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Unknown { .. } => Self::new(Code::NotFound)
                .detail(format!("{}.", capitalized(&error.to_string())))
                .with("reports", report::known_names()),
            ReportError::TooManyRows | ReportError::SheetFull => {
                Self::new(Code::InvalidField).error("/to", error.to_string())
            }
            ReportError::Busy => Self::new(Code::Unavailable)
                .detail(format!("{}.", capitalized(&error.to_string())))
                .retry_after(5),
            // Class 57: the statement was canceled because it took too long.
            ReportError::Database(e)
                if e.as_database_error().is_some_and(|e| e.code().as_deref() == Some("57014")) =>
            {
                Self::new(Code::InvalidField)
                    .error("/to", "reading took too long; ask for a shorter time")
            }
            ReportError::Database(e) => e.into(),
            ReportError::BadFigure(_)
            | ReportError::NobodyReads
            | ReportError::File(_)
            | ReportError::Workbook(_) => Self::internal(error),
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// What a report is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReportQuery {
    /// The program that it is about.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only of this partner: `traffic`. A partner's key reads its own alone.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// From when: a day, `2026-10-01`, or RFC 3339; the first of the month where it is not given.
    pub from: Option<String>,
    /// Until before when; the end of today where it is not given.
    pub to: Option<String>,
    /// IANA name of the time zone of days; the program's where it is not given.
    pub tz: Option<String>,
    /// The currency of amounts; the program's where it is not given.
    pub currency: Option<String>,
    /// `json`, `ndjson`, `csv` or `xlsx`, and `html` of `activity-decline`; `json` where it is not
    /// given.
    pub format: Option<String>,
    /// `rfc4180`, `excel` or `excel-eu`, of CSV; `rfc4180` where it is not given.
    pub dialect: Option<String>,
}

impl ReportQuery {
    /// Asks for what a report says of a day, yesterday where none is given.
    pub(crate) fn on_day(program_id: ProgramId, day: Option<NaiveDate>) -> Self {
        let text = |day: Option<NaiveDate>| day.map(|day| day.to_string());
        Self {
            program_id,
            partner_id: None,
            from: text(day),
            to: text(day.and_then(|day| day.succ_opt())),
            tz: None,
            currency: None,
            format: None,
            dialect: None,
        }
    }
}

/// A report that there is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportBody {
    /// Its name in the address.
    pub name: &'static str,
    /// What it tells.
    pub description: &'static str,
    /// Its columns, in their order.
    pub columns: Vec<&'static str>,
}

/// Lists the reports that there are.
#[utoipa::path(tag = "reports", responses((status = 200, body = Vec<ReportBody>)))]
#[get("/v1/reports")]
async fn list_reports(caller: Caller<Own<scope::ReportsRead>>) -> HttpResponse {
    let open = REGISTRY.iter().filter(|r| caller.partner_id.is_none() || r.is_by_partner());
    let reports = open.map(|r| ReportBody {
        name: r.name(),
        description: r.description(),
        columns: r.columns().iter().map(|c| c.name).collect(),
    });
    HttpResponse::Ok().json(reports.collect::<Vec<_>>())
}

/// Finds the report that a caller asks for, narrowed to what is the caller's own: of a partner, only
/// those that tell of nobody else.
fn admit(
    caller: &Caller<Own<scope::ReportsRead>>,
    name: &str,
    mut query: ReportQuery,
) -> Result<(&'static dyn Report, ReportQuery), Problem> {
    let report = report::find(name)?;
    caller.check_reach(query.program_id)?;
    query.partner_id = caller.whose(query.partner_id)?;
    match query.partner_id {
        Some(_) if report.is_by_partner() => Ok((report, query)),
        Some(_) if caller.partner_id.is_some() => Err(Problem::new(Code::NotFound)),
        Some(_) => Err(Problem::new(Code::InvalidField)
            .error("/partner_id", "this report cannot be read of one partner alone")),
        None => Ok((report, query)),
    }
}

/// Reads a report, row by row as it comes.
///
/// The json holds the rows and, under `summary`, what `…/summary` tells of them. What is short comes
/// with `X-Row-Count` and `Digest`; of what is long, `…/summary` tells them.
#[utoipa::path(tag = "reports", params(ReportQuery), responses(
    (status = 200, content_type = "application/json", body = Object),
    (status = 202, body = BeingLearned, description = "The day is learned first; ask again after `Retry-After`."),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[get("/v1/reports/{name}")]
async fn show_report(
    app: Data<App>,
    caller: Caller<Own<scope::ReportsRead>>,
    name: Path<String>,
    query: Query<ReportQuery>,
) -> Result<HttpResponse, Problem> {
    let (report, query) = admit(&caller, &name, query.into_inner())?;
    let is_page = query.format.as_deref() == Some("html");
    let format = if is_page { Format::Json } else { read_format(&query)? };
    let params = match prepare(&app, report, query).await? {
        Ok(params) => params,
        Err(being_learned) => return Ok(being_learned),
    };
    let db = app.db.clone();
    if is_page {
        return show_page(db, report.name(), params).await;
    }
    let (to, mut pieces) = mpsc::channel(PIECES_WAITING);
    let asked = params.clone();
    // A task of its own: it ends in its own time when the reader goes away.
    rt::spawn(async move {
        if let Err(error) = stream::send(&db, report, &asked, format, &to).await {
            // Nobody reads: then nobody misses the error either.
            drop(to.send(Err(error)).await);
        }
    });
    let mut response = head(report.name(), &params, format);
    match pieces.recv().await {
        Some(Ok(Piece::Whole { bytes, n_rows })) => {
            let digest = format!("sha-256={}", STANDARD.encode(Sha256::digest(&bytes)));
            response.insert_header(("X-Row-Count", n_rows)).insert_header(("Digest", digest));
            Ok(response.body(bytes))
        }
        Some(Ok(Piece::Part(first))) => Ok(response.streaming(rest(first, pieces))),
        Some(Err(error)) => Err(error.into()),
        None => Err(Problem::internal(ReportError::NobodyReads)),
    }
}

/// A report whose day is being learned; it can be read in a moment.
#[derive(Debug, Serialize, ToSchema)]
pub struct BeingLearned {
    /// Its name.
    pub report: &'static str,
    /// `learning`.
    #[schema(value_type = String)]
    pub state: &'static str,
    /// The day that was asked for.
    #[schema(value_type = String)]
    pub day: NaiveDate,
    /// The newest day before it of which the report can be read now; ask with `to` the day after.
    #[schema(value_type = Option<String>)]
    pub learned_until: Option<NaiveDate>,
    /// In words.
    pub detail: String,
}

/// Finds what a report is asked for; where its day would take seconds to learn, has it learned
/// behind the scenes, and returns what the reader hears meanwhile.
async fn prepare(
    app: &Data<App>,
    report: &'static dyn Report,
    query: ReportQuery,
) -> Result<Result<Params, HttpResponse>, Problem> {
    let (db, now) = (app.db.clone(), app.clock.now());
    let (params, preparation) = detached(async move {
        let params = find_params(&db, &query, now).await?;
        let preparation = report::find_preparation(&db, report, &params).await?;
        Ok::<_, Problem>((params, preparation))
    })
    .await?;
    let Some(Preparation { program_id, day, learned_until }) = preparation else {
        return Ok(Ok(params));
    };
    app.wishes.add((program_id, day));
    let known = match learned_until {
        Some(until) => format!("the report of {until} can be read now"),
        None => "no day before it is known yet".to_owned(),
    };
    let detail =
        format!("The clicks up to {day} are being learned; ask again in a moment; {known}.");
    let state = "learning";
    let body = BeingLearned { report: report.name(), state, day, learned_until, detail };
    let mut response = HttpResponse::Accepted();
    response.insert_header((CACHE_CONTROL, "no-store")).insert_header((RETRY_AFTER, LEARNING_S));
    Ok(Err(response.json(body)))
}

/// Returns the bytes of an answer that is on its way. An error cuts the connection, so that what
/// was sent is not taken for the whole.
fn rest(
    first: web::Bytes,
    pieces: mpsc::Receiver<Result<Piece, ReportError>>,
) -> impl Stream<Item = Result<web::Bytes, ReportError>> {
    let later = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?.map(|piece| match piece {
            Piece::Whole { bytes, .. } | Piece::Part(bytes) => bytes,
        });
        Some((piece.inspect_err(note), pieces))
    });
    futures_util::stream::once(std::future::ready(Ok(first))).chain(later)
}

fn note(error: &ReportError) {
    tracing::error!("a report ended early: {}", telemetry::with_causes(error));
}

/// What a report comes to.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryBody {
    /// Its name.
    pub report: &'static str,
    /// From when, RFC 3339.
    pub from: String,
    /// Until before when.
    pub to: String,
    /// Time zone of its days.
    pub time_zone: &'static str,
    /// Currency of its amounts.
    pub currency: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// Length of the file in the format and dialect asked for; of xlsx, that of the csv.
    pub bytes: u64,
    /// SHA-256 of that file, in hexadecimal.
    pub sha256: String,
    /// Its totals, which each report names. That of `activity-decline` has `source`: `the daily run`
    /// where the day was learned beforehand, `learned for this report` where the report had to,
    /// which takes longer and says the same.
    #[schema(value_type = Object, example = json!({"day": "2026-11-26", "partners": 60, "listed": 3,
        "too_young": 0, "lost_commission_next_28d": "412.50", "incident": null,
        "source": "the daily run"}))]
    pub summary: serde_json::Value,
}

/// Tells the totals of a report, the number of its rows, and length and SHA-256 of its file.
#[utoipa::path(tag = "reports", params(ReportQuery), responses(
    (status = 200, body = SummaryBody), (status = 202, body = BeingLearned),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/reports/{name}/summary")]
async fn show_summary(
    app: Data<App>,
    caller: Caller<Own<scope::ReportsRead>>,
    name: Path<String>,
    query: Query<ReportQuery>,
) -> Result<HttpResponse, Problem> {
    let (report, query) = admit(&caller, &name, query.into_inner())?;
    let format = read_format(&query)?;
    let params = match prepare(&app, report, query).await? {
        Ok(params) => params,
        Err(being_learned) => return Ok(being_learned),
    };
    let (db, asked) = (app.db.clone(), params.clone());
    let measure = detached(async move {
        stream::measure(&db, report, &asked, format).await.map_err(Problem::from)
    })
    .await?;
    let summary = serde_json::to_value(Totals(&measure.summary)).map_err(Problem::internal)?;
    let time = |at: Timestamp| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(SummaryBody {
        report: report.name(),
        from: time(params.window.from),
        to: time(params.window.to),
        time_zone: params.window.time_zone.name(),
        currency: params.currency.code(),
        rows: measure.n_rows,
        bytes: measure.n_bytes,
        sha256: measure.sha256.iter().map(|b| format!("{b:02x}")).collect(),
        summary,
    }))
}

/// A page has pictures, no scripts, and loads nothing.
async fn show_page(db: Db, name: &'static str, params: Params) -> Result<HttpResponse, Problem> {
    let page =
        detached(async move { Ok::<_, Problem>(report::read_page(&db, name, params).await?) })
            .await?;
    let no_page = || Problem::new(Code::InvalidField).error("/format", "this report has no page");
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, PICTURES_ONLY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(page.ok_or_else(no_page)?))
}

/// Finds the program that a report is asked for and fills in its usual settings.
pub(crate) async fn find_params(
    db: &Db,
    query: &ReportQuery,
    now: Timestamp,
) -> Result<Params, Problem> {
    let program = {
        let mut db = db.acquire().await?;
        program_store::find_program(&mut db, query.program_id).await?
    };
    read_params(query, &program.ok_or_else(|| Problem::new(Code::NotFound))?, now)
}

fn read_format(query: &ReportQuery) -> Result<Format, Problem> {
    let wrong = |field: &str, why: String| Problem::new(Code::InvalidField).error(field, why);
    let dialect = query.dialect.as_deref().map(str::parse::<Dialect>).transpose();
    let dialect = dialect.map_err(|e| wrong("/dialect", e.to_string()))?;
    match (query.format.as_deref().unwrap_or("json"), dialect) {
        ("csv", dialect) => Ok(Format::Csv(dialect.unwrap_or(Dialect::Rfc4180))),
        ("json" | "ndjson" | "xlsx", Some(_)) => {
            Err(wrong("/dialect", "is a matter of csv alone".to_owned()))
        }
        ("json", None) => Ok(Format::Json),
        ("ndjson", None) => Ok(Format::Ndjson),
        ("xlsx", None) => Ok(Format::Xlsx),
        (_, _) => Err(wrong("/format", "must be json, ndjson, csv, xlsx or html".to_owned())),
    }
}

fn read_params(query: &ReportQuery, program: &Program, now: Timestamp) -> Result<Params, Problem> {
    let wrong = |field: &str, why: String| Problem::new(Code::InvalidField).error(field, why);
    let zone = query.tz.as_ref().unwrap_or(&program.time_zone);
    let time_zone: Tz = zone
        .parse()
        .map_err(|_| wrong("/tz", "must be an IANA name like Europe/Berlin".to_owned()))?;
    let today = now.with_timezone(&time_zone).date_naive();
    let text = |given: &Option<String>, usual: Option<NaiveDate>| {
        given.clone().or_else(|| usual.map(|day| day.to_string())).unwrap_or_default()
    };
    let (from, to) = (text(&query.from, today.with_day(1)), text(&query.to, today.succ_opt()));
    let window = Window::parse(&from, &to, time_zone).map_err(|e| {
        let field = match &e {
            BadWindow::NotATime(text) if from.starts_with(text.as_str()) => "/from",
            BadWindow::NotATime(_) | BadWindow::Empty => "/to",
        };
        wrong(field, e.to_string())
    })?;
    let code = query.currency.as_ref().unwrap_or(&program.currency);
    let currency = code.parse().map_err(|e| wrong("/currency", format!("{e}")))?;
    let (program_id, partner_id) = (query.program_id, query.partner_id);
    Ok(Params { program_id, partner_id, window, currency, now })
}

/// Returns the head of an answer, all but what is known only when the report has been read.
fn head(report: &str, params: &Params, format: Format) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store"));
    // A table of rows cannot say whose days it means.
    response.insert_header(("X-Tributary-Time-Zone", params.window.time_zone.name()));
    match format {
        Format::Json => response.insert_header((CONTENT_TYPE, "application/json")),
        Format::Ndjson => response.insert_header((CONTENT_TYPE, "application/x-ndjson")),
        Format::Csv(dialect) => {
            let is_safe = if dialect.is_safe_in_spreadsheets() { "1" } else { "0" };
            response
                .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8; header=present"))
                .insert_header((CONTENT_DISPOSITION, attachment(report, params, "csv")))
                .insert_header(("X-Tributary-Csv-Safe", is_safe))
        }
        Format::Xlsx => response
            .insert_header((CONTENT_TYPE, XLSX))
            .insert_header((CONTENT_DISPOSITION, attachment(report, params, "xlsx"))),
    };
    response
}

fn attachment(report: &str, params: &Params, ending: &str) -> String {
    let (from, to) = params.window.days();
    let currency = params.currency;
    format!("attachment; filename=\"tributary_{report}_{from}_{to}_{currency}.{ending}\"")
}

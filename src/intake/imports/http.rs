//! The routes of files: bring one, try one, see how far it is and what became of each line.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use std::collections::BTreeMap;

use actix_web::http::header::{CONTENT_DISPOSITION, LOCATION};
use actix_web::web::{Bytes, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, get, post, rt};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::receiving::{
    CHUNKS_WAITING, Chunk, FILE_MAX_BYTES, ReceiveError, Received, read_lines, receive,
};
use super::store::{self, Import, ImportRow};
use super::{message_prefix, sending};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::sheet::{Line, SheetError};
use crate::ids::{ConversionId, ImportId, ProgramId, ReceiptId, SourceId};
use crate::intake::trial::foresee;
use crate::program::source_store;
use crate::settlement::record;
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached, transact};

/// Lines that the answer to a trial names, at most; its counts are of all.
const TRIAL_ROWS_MAX: usize = 1_000;
/// Lines of a download read at once.
const DOWNLOAD_AT_ONCE: i64 = 2_000;
const VERDICTS: [&str; 9] = [
    "to_send",
    "sent",
    "refused",
    "settled",
    "duplicate",
    "conflict",
    "rejected",
    "waiting",
    "dead_letter",
];

/// Adds the routes; before that of one conversion, whose address would take them.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(bring_file).service(get_import).service(list_import_rows);
}

/// What a file is for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// The source whose orders these are.
    #[param(value_type = String)]
    pub source_id: SourceId,
    /// What the file is called; `conversions.csv` by default.
    pub file_name: Option<String>,
    /// Why it is brought; required unless it is a trial.
    pub reason: Option<String>,
    /// `true` writes nothing and answers with the verdict of each line.
    pub dry_run: Option<bool>,
}

/// An import as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ImportId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The source.
    #[schema(value_type = String)]
    pub source_id: SourceId,
    /// What the file is called.
    pub file_name: String,
    /// Its length.
    pub n_bytes: i64,
    /// `receiving`, `running` or `done`.
    pub status: String,
    /// Lines by what became of them.
    pub rows: BTreeMap<String, i64>,
    /// Lines in all.
    pub n_rows: i64,
    /// Who brought it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it last moved.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

/// What a file would do.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct TrialBody {
    /// Lines by verdict, all of them.
    pub rows: BTreeMap<String, i64>,
    /// Lines in all.
    pub n_rows: i64,
    /// The lines, refused ones and others, in the order of the file; at most 1,000.
    pub lines: Vec<RowBody>,
    /// Lines that are counted and not named.
    pub n_left_out: i64,
}

/// A line and its verdict.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowBody {
    /// Its number in the file; the header is line 1.
    pub line: i32,
    /// `to_send`, `sent`, `refused`, or what settlement said: `settled`, `duplicate`, `conflict`,
    /// `rejected`, `waiting`, `dead_letter`.
    pub verdict: String,
    /// The order that it names.
    pub order_id: Option<String>,
    /// The column that is wrong.
    pub field: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// How to mend it.
    pub fix: Option<String>,
    /// The receipt, once it is settled.
    #[schema(value_type = Option<String>)]
    pub receipt: Option<ReceiptId>,
    /// The conversion, if there is one.
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
}

impl From<ImportRow> for RowBody {
    fn from(row: ImportRow) -> Self {
        Self {
            line: row.line,
            verdict: row.verdict,
            order_id: row.order_id,
            field: row.field,
            reason: row.reason,
            fix: row.fix,
            receipt: row.receipt_id,
            conversion_id: row.conversion_id,
        }
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Sheet(SheetError::Header(refusal)) => Self::new(Code::InvalidField)
                .error(
                    format!("/{}", refusal.field),
                    format!("{}; {}", refusal.reason, refusal.fix),
                ),
            ReceiveError::Sheet(SheetError::Bytes(e))
                if e.kind() == std::io::ErrorKind::FileTooLarge =>
            {
                Self::new(Code::PayloadTooLarge)
                    .detail("A file may have 50 MB; split it.")
                    .with("limit_bytes", FILE_MAX_BYTES)
            }
            ReceiveError::Sheet(SheetError::Bytes(_)) => {
                Self::new(Code::InvalidField).error("", "the file ended too early; bring it again")
            }
            ReceiveError::Database(e) => e.into(),
            ReceiveError::Reader(e) => Self::internal(e),
        }
    }
}

/// Brings a CSV file of conversions, or tries one with `dry_run=true`.
#[utoipa::path(tag = "conversions", params(FileQuery),
    request_body(content = String, content_type = "text/csv"), responses(
    (status = 200, body = TrialBody, description = "A trial; or the import of this file, which was there."),
    (status = 202, body = ImportBody, description = "A new import, which runs."),
    (status = 404, body = ProblemBody), (status = 413, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/conversions/imports")]
async fn bring_file(
    app: Data<App>,
    caller: Caller<scope::ConversionsWrite>,
    req: HttpRequest,
    query: Query<FileQuery>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let is_trial = query.dry_run.unwrap_or(false);
    let import = new_import(&app, &caller, query, is_trial).await?;
    let too_long = req.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
    if too_long.is_some_and(|n: u64| n > FILE_MAX_BYTES) {
        return Err(Problem::new(Code::PayloadTooLarge)
            .detail("A file may have 50 MB; split it.")
            .with("limit_bytes", FILE_MAX_BYTES));
    }
    let (feed, chunks) = mpsc::channel(CHUNKS_WAITING);
    // A task of its own: whoever goes away in the middle leaves a cut file, which is forgotten.
    let shared = app.clone();
    let working = rt::spawn(async move {
        if is_trial {
            try_file(&shared, &import, chunks).await
        } else {
            take_file(&shared, &caller, &import, chunks).await
        }
    });
    pour(payload, feed).await;
    working.await.map_err(Problem::internal)?
}

async fn new_import(
    app: &Data<App>,
    caller: &Caller<scope::ConversionsWrite>,
    query: FileQuery,
    is_trial: bool,
) -> Result<Import, Problem> {
    caller.check_reach(query.program_id)?;
    let file_name = query.file_name.unwrap_or_else(|| "conversions.csv".to_owned());
    let reason = query.reason.unwrap_or_default();
    let mut wrong = Mistakes::default();
    wrong.text("/file_name", &file_name, NAME_MAX);
    if !is_trial {
        wrong.text("/reason", &reason, NAME_MAX);
    }
    wrong.end()?;
    let (db, source_id) = (app.db.clone(), query.source_id);
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(source_store::find_source(&mut db, source_id).await?)
    })
    .await?;
    let source = found.filter(|s| s.program_id == query.program_id).ok_or_else(|| {
        Problem::new(Code::InvalidField)
            .error("/source_id", "is no source of this program; take one of GET /v1/sources")
    })?;
    let now = app.clock.now();
    Ok(Import {
        program_id: source.program_id,
        import_id: ImportId::new(),
        source_id,
        file_name,
        file_hash: None,
        n_bytes: 0,
        status: "receiving".to_owned(),
        actor: caller.actor(),
        reason,
        created_at: now,
        updated_at: now,
    })
}

/// Hands the body on, chunk by chunk, as fast as lines are taken.
async fn pour(mut payload: Payload, feed: mpsc::Sender<Chunk>) {
    while let Some(chunk) = payload.next().await {
        let Ok(bytes) = chunk else { return };
        if feed.send(Chunk::Bytes(bytes)).await.is_err() {
            return;
        }
    }
    // Whoever reads may have given up already; its answer says why.
    drop(feed.send(Chunk::End).await);
}

async fn take_file(
    app: &Data<App>,
    caller: &Caller<scope::ConversionsWrite>,
    import: &Import,
    chunks: mpsc::Receiver<Chunk>,
) -> Result<HttpResponse, Problem> {
    let (id, is_new) = match receive(app, import, chunks).await? {
        Received::New(id) => (id, true),
        Received::Known(id) => (id, false),
    };
    if is_new {
        let entry = Entry::by(caller, "conversion.import", id)
            .program(import.program_id)
            .details(json!({"file_name": import.file_name, "reason": import.reason}))
            .request(&caller.request_id);
        let now = app.clock.now();
        transact(&app.db, async move |db| Ok(audit_store::record(db, entry, now).await?)).await?;
    }
    let body = shown(app, id, |_| true).await?;
    let mut response = if is_new { HttpResponse::Accepted() } else { HttpResponse::Ok() };
    Ok(response.insert_header((LOCATION, format!("/v1/conversions/imports/{id}"))).json(body))
}

async fn shown(
    app: &Data<App>,
    id: ImportId,
    may_see: impl FnOnce(ProgramId) -> bool + 'static,
) -> Result<ImportBody, Problem> {
    let db = app.db.clone();
    detached(async move {
        let mut db = db.acquire().await?;
        let import = store::find(&mut db, id)
            .await?
            .filter(|import| may_see(import.program_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        let counts = store::count_rows(&mut db, &import, &message_prefix(&import)).await?;
        Ok(ImportBody {
            id,
            program_id: import.program_id,
            source_id: import.source_id,
            file_name: import.file_name,
            n_bytes: import.n_bytes,
            status: import.status,
            n_rows: counts.iter().map(|(_, n)| n).sum(),
            rows: counts.into_iter().collect(),
            actor: import.actor,
            reason: import.reason,
            created_at: import.created_at,
            updated_at: import.updated_at,
        })
    })
    .await
}

/// Says of each line what would become of it; nothing is written.
async fn try_file(
    app: &Data<App>,
    import: &Import,
    chunks: mpsc::Receiver<Chunk>,
) -> Result<HttpResponse, Problem> {
    let (mut lines, reading) = read_lines(app, chunks);
    let mut told = TrialBody::default();
    while let Some(batch) = lines.recv().await {
        for row in try_lines(app, import, batch).await? {
            *told.rows.entry(row.verdict.clone()).or_default() += 1;
            told.n_rows += 1;
            if told.lines.len() < TRIAL_ROWS_MAX {
                told.lines.push(row);
            } else {
                told.n_left_out += 1;
            }
        }
    }
    reading.await.map_err(Problem::internal)?.map_err(ReceiveError::from)?;
    Ok(HttpResponse::Ok().json(told))
}

async fn try_lines(
    app: &Data<App>,
    import: &Import,
    batch: Vec<Line>,
) -> Result<Vec<RowBody>, Problem> {
    let sending = sending(import, app.clock.now());
    let mut rows = Vec::with_capacity(batch.len());
    let mut messages = Vec::new();
    let mut asked = Vec::new();
    for Line { number, order_id, report } in batch {
        let mut row = RowBody {
            line: number,
            verdict: "refused".to_owned(),
            order_id,
            field: None,
            reason: None,
            fix: None,
            receipt: None,
            conversion_id: None,
        };
        match report {
            Ok(report) => {
                let id = format!("trial:{}:{number}", import.import_id);
                let record = sending.record(id, report.content_hash(), &report);
                messages.push(record::message(&record).map_err(Problem::internal)?);
                asked.push(rows.len());
            }
            Err(refusal) => {
                row.field = Some(refusal.field);
                row.reason = Some(refusal.reason);
                row.fix = Some(refusal.fix);
            }
        }
        rows.push(row);
    }
    let mut db = app.db.begin().await?;
    let foreseen = foresee(app, &mut db, messages).await;
    db.rollback().await?;
    for (place, one) in asked.into_iter().zip(foreseen?) {
        rows[place].verdict = one.verdict.to_owned();
        rows[place].reason = one.reason;
    }
    Ok(rows)
}

/// Shows how far an import is.
#[utoipa::path(tag = "conversions", responses(
    (status = 200, body = ImportBody), (status = 404, body = ProblemBody)))]
#[get("/v1/conversions/imports/{id}")]
async fn get_import(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ImportId = path_id(&id)?;
    let body = shown(&app, id, move |program| caller.reaches(program)).await?;
    Ok(HttpResponse::Ok().json(body))
}

/// Which lines to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RowFilter {
    /// Only these: `to_send`, `sent`, `refused`, `settled`, `duplicate`, `conflict`, `rejected`,
    /// `waiting` or `dead_letter`.
    pub verdict: Option<String>,
    /// `json`, a page at a time, or `csv`, all of them.
    pub format: Option<String>,
}

/// Lists the lines of an import with what became of each.
#[utoipa::path(tag = "conversions", params(RowFilter, PageQuery), responses(
    (status = 200, content((Page<RowBody> = "application/json"), (String = "text/csv"))),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/conversions/imports/{id}/rows")]
async fn list_import_rows(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    id: Path<String>,
    filter: Query<RowFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let id: ImportId = path_id(&id)?;
    let RowFilter { verdict, format } = filter.into_inner();
    let (limit, after) = (page.limit()?, page.after::<i32>()?.unwrap_or(0));
    let format = format.unwrap_or_else(|| "json".to_owned());
    let mut wrong = Mistakes::default();
    wrong.one_of("/format", &format, &["json", "csv"]);
    if let Some(verdict) = &verdict {
        wrong.one_of("/verdict", verdict, &VERDICTS);
    }
    wrong.end()?;
    let db = app.db.clone();
    let import = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find(&mut db, id).await?.filter(|i| caller.reaches(i.program_id));
        found.ok_or_else(|| Problem::new(Code::NotFound))
    })
    .await?;
    if format == "csv" {
        return Ok(download(app, import, verdict));
    }
    let rows = read_rows(&app, &import, verdict, after, i64::from(limit) + 1).await?;
    let page = Page::new(rows, limit, |row| row.line).map(RowBody::from);
    Ok(HttpResponse::Ok().json(page))
}

async fn read_rows(
    app: &Data<App>,
    import: &Import,
    verdict: Option<String>,
    after: i32,
    limit: i64,
) -> Result<Vec<ImportRow>, Problem> {
    let (db, import) = (app.db.clone(), import.clone());
    detached(async move {
        let mut db = db.acquire().await?;
        let prefix = message_prefix(&import);
        let verdict = verdict.as_deref();
        Ok(store::list_rows(&mut db, &import, &prefix, verdict, after, limit).await?)
    })
    .await
}

/// Streams all lines, a few thousand at a time.
fn download(app: Data<App>, import: Import, verdict: Option<String>) -> HttpResponse {
    let name = format!("attachment; filename=\"{}.csv\"", import.import_id);
    let head = "line,verdict,order_id,field,reason,fix,receipt,conversion_id\r\n";
    let head = stream::once(async move { Ok(Bytes::from_static(head.as_bytes())) });
    let parts = stream::try_unfold(Some(0), move |after| {
        let (app, import, verdict) = (app.clone(), import.clone(), verdict.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let rows = read_rows(&app, &import, verdict, after, DOWNLOAD_AT_ONCE).await?;
            let Some(last) = rows.last().map(|row| row.line) else { return Ok(None) };
            Ok(Some((as_csv(rows)?, Some(last))))
        }
    });
    HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, name))
        .streaming(head.chain(parts).map_err(|e: Problem| std::io::Error::other(e.to_string())))
}

fn as_csv(rows: Vec<ImportRow>) -> Result<Bytes, Problem> {
    let mut out =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        let or_empty = |text: Option<String>| text.unwrap_or_default();
        out.write_record([
            row.line.to_string(),
            row.verdict,
            or_empty(row.order_id),
            or_empty(row.field),
            or_empty(row.reason),
            or_empty(row.fix),
            or_empty(row.receipt_id.map(|id| id.to_string())),
            or_empty(row.conversion_id.map(|id| id.to_string())),
        ])
        .map_err(Problem::internal)?;
    }
    out.into_inner().map(Bytes::from).map_err(|e| Problem::internal(e.into_error()))
}

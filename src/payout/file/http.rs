//! Handlers of payment files: making them, listing them, downloading them again.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use utoipa_actix_web::service_config::ServiceConfig;

use super::FileFormat;
use crate::account::Scope;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::PayoutBatchId;
use crate::money::Money;
use crate::payout::action::{self, Export};
use crate::payout::http::{Who, parse_id, read_label};
use crate::payout::store;
use crate::payout::store::files::{StoredFile, load_files};
use crate::payout::wire::{FileBody, FileQuery, hex};
use crate::web::{Code, Problem, ProblemBody, Query, transact};

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_files).service(download_file);
}

/// Lists the payment files of a batch that were made, with their SHA-256.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = Vec<FileBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}/files")]
async fn list_files(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    let files: Vec<FileBody> = transact(&app.db, async move |db| {
        let batch = store::find_batch(db, id).await?;
        who.check(batch.as_ref().map(|b| b.program_id))?;
        let batch = batch.ok_or_else(|| Problem::new(Code::NotFound))?;
        let files = load_files(db, &batch, None).await?;
        Ok(files.into_iter().map(|f| file_body(f, batch.totals.net)).collect())
    })
    .await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"data": files, "has_more": false})))
}

fn file_body(file: StoredFile, like: Money) -> FileBody {
    let total = |minor| Money::new(minor, like.currency).to_decimal_string();
    FileBody {
        sha256: hex(&file.sha256),
        format: file.format,
        part: file.part,
        items: file.n_payouts,
        total: file.total_minor.map(total),
        payer: file.bank_label,
        created_at: file.created_at,
    }
}

/// Downloads a payment file of a batch; the first download takes the payouts that go this way to
/// the bank, every later one gives the same bytes.
#[utoipa::path(tag = "payouts", params(FileQuery), responses(
    (status = 200, content_type = "application/octet-stream", body = String),
    (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[get("/v1/payout-batches/{id}/file")]
async fn download_file(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
    query: Query<FileQuery>,
) -> Result<HttpResponse, Problem> {
    let id: PayoutBatchId = parse_id(&id)?;
    let (format, asked) = read_export(&query)?;
    let number = query.part.unwrap_or(1);
    let who = Who::new(&caller, app.clock.now());
    let sealer = app.sealer.clone();
    let (file, n_parts, batch) = transact(&app.db, async move |db| {
        who.check_batch(db, id).await?;
        let (files, batch, is_first) = action::export(db, &sealer, id, &asked, &who.actor).await?;
        if is_first && !who.identity.role.allows(Scope::PayoutsWrite) {
            return Err(Problem::new(Code::InsufficientScope).detail(
                "The first download takes the batch to the bank and needs payouts:write; \
                 afterwards the file can be read.",
            ));
        }
        let n_parts = files.len();
        for file in files.iter().filter(|f| is_first || f.part == number) {
            let action = if is_first { "payout_batch.export" } else { "payout_batch.download" };
            let details = serde_json::json!({
                "format": file.format, "part": file.part, "sha256": hex(&file.sha256),
                "items": file.n_payouts,
            });
            who.record(db, action, id, batch.program_id, details).await?;
        }
        Ok((files.into_iter().find(|f| f.part == number), n_parts, batch))
    })
    .await?;
    let file = file.ok_or_else(|| {
        let why = format!("must be 1 to {n_parts}: that many parts the file has");
        Problem::new(Code::InvalidField).error("/part", why)
    })?;
    let part = if n_parts > 1 { format!("_part{number}") } else { String::new() };
    let currency = batch.totals.net.currency;
    let end = format.extension();
    let name =
        format!("tributary_payout_{}_{currency}_{}{part}.{end}", batch.period, format.code());
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(format.content_type())
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header(("X-Content-Sha256", hex(&file.sha256)))
        .insert_header(("Digest", format!("sha-256={}", STANDARD.encode(&file.sha256))))
        .insert_header(("X-Tributary-Parts", n_parts.to_string()));
    if format == FileFormat::Csv {
        answer.insert_header(("X-Tributary-Csv-Safe", "0"));
    }
    Ok(answer.body(file.bytes))
}

fn read_export(query: &FileQuery) -> Result<(FileFormat, Export), Problem> {
    let code = query.format.as_deref().unwrap_or("csv");
    let format = FileFormat::from_code(code).ok_or_else(|| {
        let known = FileFormat::ALL.map(FileFormat::code).join(", ");
        Problem::new(Code::InvalidField).error("/format", format!("must be one of {known}"))
    })?;
    let payer = read_label("/payer", query.payer.as_deref())?.to_string();
    Ok((format, Export { format, payer }))
}

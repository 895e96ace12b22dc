//! The routes of dead letters. They belong to the whole service, since what cannot be read names no
//! program; so only a key that reaches every program sees them.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{DeadLetterId, ReceiptId};
use crate::intake::append_http::append;
use crate::intake::letters::store::{self, Letter};
use crate::settlement::waiting;
use crate::stream::{PackedBatch, StreamEvent, unpack};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached, transact};

const STATUSES: [&str; 2] = ["waiting", "replayed"];
/// What a letter without a place in the stream came from.
const WAITING_ROOM: &str = "waiting room";
const NOT_STORED: &str = "The event could not be stored; replay it again.";

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_letters).service(get_letter).service(replay_letter);
}

/// Which dead letters to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LetterFilter {
    /// `waiting` by default; or `replayed`.
    pub status: Option<String>,
}

/// A dead letter as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct LetterBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: DeadLetterId,
    /// `waiting` or `replayed`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// `click`, `conversion`, `parked`, or `unknown` where it cannot be read.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// Why it could not be settled.
    pub error: String,
    /// Where it came from: stream, entry, place within the entry; or `waiting room`.
    #[schema(example = "trb:{0}:events 1795342504000-0 record 0")]
    pub position: String,
    /// When that was found.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it was sent again.
    #[schema(value_type = Option<String>)]
    pub replayed_at: Option<Timestamp>,
    /// By whom.
    pub replayed_by: Option<String>,
    /// What it says, where that is a conversion that can be read; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub record: Option<Value>,
    /// Its bytes in base64; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl LetterBody {
    fn new(letter: Letter) -> Self {
        let kind = match unpack(&letter.bytes).next() {
            Some(Ok(StreamEvent::Click(_))) => "click",
            Some(Ok(StreamEvent::Conversion(_))) => "conversion",
            Some(Ok(StreamEvent::Parked(_))) => "parked",
            Some(Err(_)) | None => "unknown",
        };
        let position = position(&letter).unwrap_or_else(|| WAITING_ROOM.to_owned());
        Self {
            id: letter.dead_letter_id,
            status: STATUSES[usize::from(letter.replayed_at.is_some())],
            kind,
            position,
            error: letter.error,
            created_at: letter.created_at,
            replayed_at: letter.replayed_at,
            replayed_by: letter.replayed_by,
            record: None,
            bytes: None,
        }
    }

    fn whole(letter: Letter) -> Self {
        let record = match unpack(&letter.bytes).next() {
            Some(Ok(StreamEvent::Conversion(record) | StreamEvent::Parked(record))) => {
                serde_json::to_value(record).ok()
            }
            Some(Ok(StreamEvent::Click(_)) | Err(_)) | None => None,
        };
        let bytes = Some(STANDARD.encode(&letter.bytes));
        Self { record, bytes, ..Self::new(letter) }
    }
}

/// Returns where in the stream a letter came from.
fn position(letter: &Letter) -> Option<String> {
    let Letter { prefix, shard, ms, seq, record, .. } = letter;
    let (prefix, shard, ms) = (prefix.as_ref()?, (*shard)?, (*ms)?);
    let (seq, record) = ((*seq)?, (*record)?);
    Some(format!("{prefix}:{{{shard}}}:events {ms}-{seq} record {record}"))
}

/// Refuses a key of some programs: a dead letter may be of any.
fn check_reach<S>(caller: &Caller<S>) -> Result<(), Problem> {
    if caller.programs.is_none() {
        return Ok(());
    }
    Err(Problem::new(Code::InsufficientScope)
        .detail("Dead letters belong to the whole service; this key reaches only some programs."))
}

/// Lists events that could not be settled, oldest first.
#[utoipa::path(tag = "conversions", params(LetterFilter, PageQuery), responses(
    (status = 200, body = Page<LetterBody>), (status = 422, body = ProblemBody)))]
#[get("/v1/dead-letters")]
async fn list_letters(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    filter: Query<LetterFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    check_reach(&caller)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let status = filter.into_inner().status.unwrap_or_else(|| STATUSES[0].to_owned());
    let mut wrong = Mistakes::default();
    wrong.one_of("/status", &status, &STATUSES);
    wrong.end()?;
    let (db, is_replayed) = (app.db.clone(), status == STATUSES[1]);
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list(&mut db, is_replayed, after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.dead_letter_id).map(LetterBody::new);
    Ok(HttpResponse::Ok().json(page))
}

/// Shows an event that could not be settled, with its bytes.
#[utoipa::path(tag = "conversions", responses(
    (status = 200, body = LetterBody), (status = 404, body = ProblemBody)))]
#[get("/v1/dead-letters/{id}")]
async fn get_letter(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    check_reach(&caller)?;
    let id: DeadLetterId = path_id(&id)?;
    let found = transact(&app.db, async move |db| Ok(store::lock(db, id).await?)).await?;
    let letter = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(LetterBody::whole(letter)))
}

/// Forgets that the message was given up. This holds before the event is sent: settlement would
/// take it for one that is answered. Where sending fails, the letter is still there to be replayed.
async fn reopen(app: &App, id: DeadLetterId) -> Result<(), Problem> {
    transact(&app.db, async move |db| {
        let found = store::lock(db, id).await?;
        let Some(letter) = found.filter(|l| l.replayed_at.is_none()) else { return Ok(()) };
        if let Some(Ok(StreamEvent::Conversion(record))) = unpack(&letter.bytes).next() {
            waiting::store::reopen(db, ReceiptId(record.receipt)).await?;
        }
        Ok(())
    })
    .await
}

/// Sends an event to settlement again, after what was wrong is mended. Asking twice sends it once.
#[utoipa::path(tag = "conversions", responses(
    (status = 200, body = LetterBody), (status = 404, body = ProblemBody),
    (status = 503, body = ProblemBody)))]
#[post("/v1/dead-letters/{id}/replay")]
async fn replay_letter(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    check_reach(&caller)?;
    let id: DeadLetterId = path_id(&id)?;
    reopen(&app, id).await?;
    let (now, shared) = (app.clock.now(), app.clone());
    let letter = transact(&app.db, async move |db| {
        let found = store::lock(db, id).await?;
        let mut letter = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        if letter.replayed_at.is_some() {
            return Ok(letter);
        }
        let actor = caller.actor();
        store::mark_replayed(db, id, &actor, now).await?;
        let entry = Entry::by(&caller, "dead_letter.replay", id)
            .details(json!({"error": letter.error}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        // Last: if this fails nothing is marked, and if the commit fails, the next replay sends the
        // same event, which settles once.
        let event = PackedBatch::from_bytes(letter.bytes.clone(), 1);
        append(&shared, &event, NOT_STORED).await?;
        (letter.replayed_at, letter.replayed_by) = (Some(now), Some(actor));
        Ok(letter)
    })
    .await?;
    Ok(HttpResponse::Ok().json(LetterBody::whole(letter)))
}

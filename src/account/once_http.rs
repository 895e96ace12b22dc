//! `Idempotency-Key`: the same request twice has one effect and one answer.
//!
//! The answer is stored in the transaction of the effect, so there is never one without the
//! other. Failures are not stored: the same key may be tried again. Header names and the status
//! codes follow the IETF draft "The Idempotency-Key HTTP Header Field".

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, LOCATION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use sha2::{Digest as _, Sha256};

use crate::account::http::Caller;
use crate::account::idempotency_store::{self as store, RequestKey, StoredAnswer};
use crate::app::App;
use crate::db::DbTx;
use crate::web::{Code, Problem, transact};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer was given before.
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_LEN_MAX: usize = 255;

/// Whether a request may come without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// It may: repeating it does no harm.
    Optional,
    /// It may not: it moves money.
    Required,
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Where the new object is.
    pub location: Option<String>,
    /// The body.
    pub body: serde_json::Value,
}

impl Answer {
    /// Answers 200 with a body.
    pub fn ok(body: impl serde::Serialize) -> Self {
        Self::new(StatusCode::OK, None, body)
    }

    /// Answers 201 with a body and where the new object is.
    pub fn created(location: String, body: impl serde::Serialize) -> Self {
        Self::new(StatusCode::CREATED, Some(location), body)
    }

    fn new(status: StatusCode, location: Option<String>, body: impl serde::Serialize) -> Self {
        let body = serde_json::to_value(body).expect("answers hold text, numbers and lists only");
        Self { status, location, body }
    }
}

/// Does the work once for its key and answers; without a key it just does it.
pub async fn once<S>(
    app: &Data<App>,
    req: &HttpRequest,
    caller: &Caller<S>,
    rule: KeyRule,
    body: &Bytes,
    work: impl AsyncFnOnce(&mut DbTx) -> Result<Answer, Problem> + 'static,
) -> Result<HttpResponse, Problem> {
    let Some(key) = read_key(req)? else {
        if rule == KeyRule::Required {
            return Err(Problem::new(Code::IdempotencyKeyRequired).detail(
                "Send the header Idempotency-Key with a value of your own, such as a UUID.",
            ));
        }
        return Ok(respond(transact(&app.db, work).await?, false));
    };
    let request = RequestKey {
        api_key_id: caller.api_key_id,
        method: req.method().to_string(),
        path: req.path().to_owned(),
        key,
    };
    let fingerprint = Sha256::digest(body).to_vec();
    let now = app.clock.now();
    let (answer, is_replayed) = transact(&app.db, async move |db| {
        if !store::try_lock(db, &request).await? {
            return Err(Problem::new(Code::RequestInProgress).retry_after(1));
        }
        if let Some(stored) = store::find_answer(db, &request).await? {
            return replay(stored, &fingerprint).map(|answer| (answer, true));
        }
        let answer = work(db).await?;
        let stored = StoredAnswer {
            fingerprint,
            status: i16::try_from(answer.status.as_u16()).unwrap_or(200),
            location: answer.location.clone(),
            body: serde_json::to_vec(&answer.body).map_err(Problem::internal)?,
        };
        store::insert_answer(db, &request, &stored, now).await?;
        Ok((answer, false))
    })
    .await?;
    Ok(respond(answer, is_replayed))
}

/// Reads the key, bare or as the quoted string of the draft.
fn read_key(req: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(value) = req.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let key = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let is_good =
        (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if is_good {
        Ok(Some(key.to_owned()))
    } else {
        Err(Problem::new(Code::IdempotencyKeyRequired)
            .detail("Idempotency-Key must be 1 to 255 visible ASCII characters."))
    }
}

fn replay(stored: StoredAnswer, fingerprint: &[u8]) -> Result<Answer, Problem> {
    if stored.fingerprint != fingerprint {
        return Err(Problem::new(Code::IdempotencyKeyReused));
    }
    let status = u16::try_from(stored.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
    Ok(Answer {
        status: status.unwrap_or(StatusCode::OK),
        location: stored.location,
        body: serde_json::from_slice(&stored.body).map_err(Problem::internal)?,
    })
}

fn respond(answer: Answer, is_replayed: bool) -> HttpResponse {
    let mut response = HttpResponseBuilder::new(answer.status);
    if let Some(location) = answer.location {
        response.insert_header((LOCATION, location));
    }
    if is_replayed {
        response.insert_header((IDEMPOTENT_REPLAYED, "true"));
    }
    response.json(answer.body)
}

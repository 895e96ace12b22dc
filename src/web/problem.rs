//! Problems: every error answer of the API, as RFC 9457 `application/problem+json`.
//!
//! The table of [`Code`]s is the only place that knows status numbers. A rule's error becomes a
//! [`Problem`] through `From` in the `http.rs` beside it; an unknown failure becomes
//! [`Problem::internal`], which tells the log everything and the caller a request id.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};

use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, Responder, ResponseError};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::telemetry;

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Longest detail of a problem, in characters: it may quote what the caller sent.
const DETAIL_MAX_CHARS: usize = 500;

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not without a change.
    Never,
    /// Yes, after `Retry-After` where it is given.
    Later,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    slug: &'static str,
    status: u16,
    retry: Retry,
    title: &'static str,
    advice: &'static str,
}

/// Writes down each code once: variant, slug, status, retry, title; its doc line is the advice.
macro_rules! codes {
    ($($(#[doc = $advice:literal])+ $id:ident = $slug:literal, $status:literal, $retry:ident, $title:literal;)+) => {
        /// What went wrong, as a word that never changes; the doc lines say what to do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $advice])+ $id,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$id),+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$id => Row {
                        slug: $slug, status: $status, retry: Retry::$retry, title: $title,
                        advice: concat!($($advice),+),
                    },)+
                }
            }
        }
    };
}

#[rustfmt::skip]
codes! {
    /// Send valid JSON in UTF-8.
    MalformedJson = "malformed-json", 400, Never, "The body is not valid JSON";
    /// Correct what `errors` points at.
    InvalidField = "invalid-field", 422, Never, "A field is missing or has a wrong value";
    /// Send `Authorization: Bearer` with a live API key.
    Unauthenticated = "unauthenticated", 401, Never, "No valid API key";
    /// Use a key whose role and programs cover this.
    InsufficientScope = "insufficient-scope", 403, Never, "The API key may not do this";
    /// Check the address and the id; what another program owns is not found either.
    NotFound = "not-found", 404, Never, "There is nothing here";
    /// Use a method of the `Allow` header.
    MethodNotAllowed = "method-not-allowed", 405, Never, "The method does not exist here";
    /// Sign the raw bytes of the body with a secret of this source.
    InvalidSignature = "invalid-signature", 401, Never, "The signature does not match";
    /// Sign with the current time; compare your clock with `server_time`.
    TimestampOutOfTolerance = "timestamp-out-of-tolerance", 401, Never, "The timestamp is too far from now";
    /// Check the source id in the address.
    UnknownSource = "unknown-source", 404, Never, "There is no such conversion source";
    /// Stop sending; ask the program's manager to enable the source.
    SourceDisabled = "source-disabled", 410, Never, "The conversion source is disabled";
    /// Give every message its own `webhook-id`.
    WebhookIdReused = "webhook-id-reused", 422, Never, "The webhook id was used with another body";
    /// Send `conversion.updated` to change an order that is known.
    ConversionConflict = "conversion-conflict", 409, Never, "The order is known with other content";
    /// Send `Idempotency-Key`, 1 to 255 visible ASCII characters.
    IdempotencyKeyRequired = "idempotency-key-required", 400, Never, "An idempotency key is required";
    /// Use a new key for a new request.
    IdempotencyKeyReused = "idempotency-key-reused", 422, Never, "The idempotency key was used with another body";
    /// Wait for the first request with this key to end, then repeat.
    RequestInProgress = "request-in-progress", 409, Later, "A request with this idempotency key is still running";
    /// Do one of `allowed` instead.
    InvalidTransition = "invalid-transition", 409, Never, "The state does not allow this";
    /// Let another user approve.
    SameActor = "same-actor", 403, Never, "Nobody approves what they created";
    /// Book it into an open period.
    PeriodClosed = "period-closed", 409, Never, "The period is closed";
    /// Cancel the batch, or wait for the next one.
    BatchLocked = "batch-locked", 409, Never, "The payout batch can no longer change";
    /// Use the currency of the program.
    CurrencyMismatch = "currency-mismatch", 422, Never, "The currencies differ";
    /// Lower the amount, or wait for earnings.
    NegativeBalance = "negative-balance", 409, Never, "The balance would become negative";
    /// Send less in one request.
    PayloadTooLarge = "payload-too-large", 413, Never, "The body is too large";
    /// Send `Content-Type: application/json`.
    UnsupportedMediaType = "unsupported-media-type", 415, Never, "The media type is not supported";
    /// Send the body uncompressed.
    UnsupportedEncoding = "unsupported-encoding", 415, Never, "The content encoding is not supported";
    /// Read the object again and repeat with its `ETag`.
    PreconditionFailed = "precondition-failed", 412, Never, "The object has changed since it was read";
    /// Wait as long as `Retry-After` says.
    QuotaExceeded = "quota-exceeded", 429, Later, "Too many requests";
    /// Wait as long as `Retry-After` says; nothing was stored.
    Unavailable = "unavailable", 503, Later, "The service cannot do this now";
    /// Repeat with the same idempotency key; if it stays, report the request id.
    Internal = "internal", 500, Later, "Something failed on our side";
}

impl Code {
    /// Returns the word in `code` and at the end of `type`.
    pub const fn slug(self) -> &'static str {
        self.row().slug
    }

    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).expect("the table holds valid statuses")
    }

    /// Returns the title, the same for every problem of this code.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Tells whether the same request may succeed later.
    pub const fn retry(self) -> Retry {
        self.row().retry
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.slug())
    }
}

impl utoipa::PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().map(|code| code.slug())))
            .description(Some("What went wrong, as a word that never changes."))
            .into()
    }
}

impl ToSchema for Code {
    fn name() -> std::borrow::Cow<'static, str> {
        "ProblemCode".into()
    }
}

/// A problem on its way to the caller. Handlers return it as their error.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    extensions: Map<String, Value>,
    allow: Option<String>,
    retry_after_s: Option<u32>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, or `/` and the name of a query parameter.
    #[schema(example = "/data/amount")]
    pub pointer: String,
    /// What is wrong there.
    #[schema(example = "must be greater than zero")]
    pub detail: String,
}

/// A problem as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:tributary:problem:` and the code.
    #[schema(example = "urn:tributary:problem:invalid-field")]
    pub r#type: String,
    /// The same for every problem of this code.
    pub title: &'a str,
    /// The HTTP status, repeated.
    #[schema(example = 422)]
    pub status: u16,
    /// What went wrong, as a word that never changes.
    pub code: Code,
    /// What went wrong this time, and what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
    /// The path of the request, without its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<&'a str>,
    /// Finds the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// What is wrong, field by field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    /// More, depending on the code.
    #[serde(flatten)]
    pub extensions: &'a Map<String, Value>,
}

impl Problem {
    /// Returns a problem that says no more than its code.
    pub fn new(code: Code) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            extensions: Map::new(),
            allow: None,
            retry_after_s: None,
        }
    }

    /// Logs the whole chain of `source`, once, in the span of the request, and returns a problem
    /// that shows nothing of it. Made for `map_err(Problem::internal)`.
    pub fn internal(source: impl Error) -> Self {
        tracing::error!("request failed: {}", telemetry::with_causes(&source));
        Self::new(Code::Internal)
    }

    /// Says what went wrong this time, in full sentences, and what to do next.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(cut(detail.into()));
        self
    }

    /// Adds what is wrong with one field; `pointer` is a JSON pointer, empty for the whole body.
    pub fn error(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: cut(detail.into()) });
        self
    }

    /// Adds a member of this code's own; it cannot replace a standard one.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let standard =
            ["type", "title", "status", "code", "detail", "instance", "request_id", "errors"];
        debug_assert!(!standard.contains(&name), "{name} is a standard member");
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Sets `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Sets `Allow`, which a 405 must carry (RFC 9110 section 15.5.6).
    pub fn allow(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into());
        self
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the field errors.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Returns the body, with the request it answers where that is known.
    pub fn body<'a>(
        &'a self,
        instance: Option<&'a str>,
        request_id: Option<&'a str>,
    ) -> ProblemBody<'a> {
        ProblemBody {
            r#type: format!("urn:tributary:problem:{}", self.code.slug()),
            title: self.code.title(),
            status: self.code.row().status,
            code: self.code,
            detail: self.detail.as_deref(),
            instance,
            request_id,
            errors: &self.errors,
            extensions: &self.extensions,
        }
    }

    /// Returns the whole answer.
    pub(super) fn response(
        &self,
        instance: Option<&str>,
        request_id: Option<&str>,
    ) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.content_type(CONTENT_TYPE).insert_header((header::CACHE_CONTROL, "no-store"));
        if self.code == Code::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        let body = serde_json::to_string(&self.body(instance, request_id))
            .expect("a problem holds strings and JSON values only");
        response.body(body)
    }
}

/// In OpenAPI: `responses((status = 200, …), Problem)` says that anything else is a problem.
impl utoipa::IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let schema = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description("Anything else is a problem (RFC 9457).")
            .content(CONTENT_TYPE, content)
            .build();
        BTreeMap::from([("default".to_owned(), response.into())])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.slug())?;
        self.detail.iter().try_for_each(|detail| write!(f, ": {detail}"))?;
        self.errors.iter().try_for_each(|e| write!(f, "; {} {}", e.pointer, e.detail))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// Answers without request id; [`super::request_id::middleware`] adds it.
    fn error_response(&self) -> HttpResponse {
        self.response(None, None)
    }
}

impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::from_error(self)
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(DETAIL_MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Returns the table of codes for the documentation, in Markdown.
pub fn markdown_table() -> String {
    let mut out = String::from(
        "| Status | Code | Meaning | What to do | Same again? |\n|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let Row { slug, status, retry, title, advice } = code.row();
        let retry = match retry {
            Retry::Never => "no",
            Retry::Later => "later",
        };
        writeln!(out, "| {status} | `{slug}` | {title} |{advice} | {retry} |")
            .expect("a String takes every write");
    }
    out
}

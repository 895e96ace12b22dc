//! The routes of the daily mail's recipients.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, put};
use lettre::Address;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::ProgramId;
use crate::outbound::digest::Locale;
use crate::outbound::digest_store::{self as store, Recipients};
use crate::program::store as programs;
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached, transact};

const EMAILS_MAX: usize = 20;
/// Longest address that mail servers take (RFC 5321, with the brackets).
const EMAIL_MAX: usize = 254;

/// Adds the routes of recipients.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(set_digest).service(get_digest);
}

/// Who is to get the mail.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDigestBody {
    /// Their addresses, at most 20; none stops the mail.
    #[schema(example = json!(["anna@shop.example"]))]
    pub emails: Vec<String>,
    /// `en` (the default) or `ru`.
    pub locale: Option<String>,
}

/// Who gets the mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct DigestBody {
    /// Their addresses.
    pub emails: Vec<String>,
    /// The language.
    pub locale: String,
    /// Whether this deployment has a mail server (`TRIBUTARY_SMTP_URL`); without one nothing is sent.
    pub has_mail_server: bool,
}

impl DigestBody {
    fn new(recipients: Recipients, app: &App) -> Self {
        Self {
            emails: recipients.emails,
            locale: recipients.locale,
            has_mail_server: app.config.smtp_url.is_some(),
        }
    }
}

/// Sets who gets the daily mail of a program.
#[utoipa::path(tag = "programs", request_body = NewDigestBody, responses(
    (status = 200, body = DigestBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/digest")]
async fn set_digest(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    id: Path<String>,
    body: StrictJson<NewDigestBody>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = path_id(&id)?;
    caller.check_reach(id)?;
    let locale = body.0.locale.unwrap_or_else(|| Locale::En.as_str().to_owned());
    let recipients = Recipients { emails: body.0.emails, locale };
    let mut wrong = Mistakes::default();
    wrong.one_of("/locale", &recipients.locale, &[Locale::En.as_str(), Locale::Ru.as_str()]);
    wrong.check(recipients.emails.len() <= EMAILS_MAX, "/emails", "must hold at most 20 addresses");
    let is_email = |text: &String| text.len() <= EMAIL_MAX && text.parse::<Address>().is_ok();
    let detail = "each must be an address such as anna@shop.example";
    wrong.check(recipients.emails.iter().all(is_email), "/emails", detail);
    wrong.end()?;
    let now = app.clock.now();
    let entry = Entry::by(&caller, "digest.set", id)
        .program(id)
        // The log is kept for ever; addresses are not.
        .details(json!({"n_emails": recipients.emails.len(), "locale": recipients.locale}))
        .request(&caller.request_id);
    let recipients = transact(&app.db, async move |db| {
        if programs::find_program(db, id).await?.is_none() {
            return Err(Problem::new(Code::NotFound));
        }
        store::set_recipients(db, id, &recipients, now).await?;
        audit_store::record(db, entry, now).await?;
        Ok(recipients)
    })
    .await?;
    Ok(HttpResponse::Ok().json(DigestBody::new(recipients, &app)))
}

/// Shows who gets the daily mail of a program.
#[utoipa::path(tag = "programs", responses(
    (status = 200, body = DigestBody), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/digest")]
async fn get_digest(
    app: Data<App>,
    caller: Caller<scope::ProgramsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = path_id(&id)?;
    caller.check_reach(id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        if programs::find_program(&mut db, id).await?.is_none() {
            return Err(Problem::new(Code::NotFound));
        }
        Ok(store::find_recipients(&mut db, id).await?)
    })
    .await?;
    let nobody = || Recipients { emails: Vec::new(), locale: Locale::En.as_str().to_owned() };
    Ok(HttpResponse::Ok().json(DigestBody::new(found.unwrap_or_else(nobody), &app)))
}

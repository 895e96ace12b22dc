//! Partners' own keys: with one a partner signs links offline, without calling us.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo};
use crate::link::mint_store::{self as store, MintTerms};
use crate::link::token::{FIRST_MINTED, mint_key};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Problem, ProblemBody, StrictJson, transact};

/// Long enough to change a site that somebody else publishes.
const OVERLAP_HOURS_DEFAULT: u16 = 72;
const OVERLAP_HOURS_MAX: u16 = 720;

/// Adds the routes of partners' own keys.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(show_minting_key).service(rotate_minting_key);
}

/// Whose key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintingKeyQuery {
    /// The program whose links it signs.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
}

/// Whose key is to be changed, and how soon.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MintingKeyRotation {
    /// The program whose links it signs.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Hours for which links of the older key stay good, 0 to 720; 72 by default, 0 revokes them
    /// at once.
    pub overlap_hours: Option<u16>,
}

/// A partner's own key. Whoever has it signs links of this partner in this program, and no others.
#[derive(Debug, Serialize, ToSchema)]
pub struct MintingKeyBody {
    /// The program whose links it signs.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The partner whose links it signs.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The key, to be kept secret; `examples/mint-link.*` show how to sign with it.
    #[schema(example = "trbm_QAAH0gAAA-k…")]
    pub key: String,
    /// Rises with each change of the key.
    pub epoch: i32,
    /// Until when links of the key before this one are good.
    #[schema(value_type = Option<String>)]
    pub previous_until: Option<Timestamp>,
    /// The first link number that the partner may choose; the last is 4294967295.
    pub first_link_number: u32,
    /// Links that get a row of their own, at most; what is above counts for the partner alone.
    pub links_max: i32,
    /// A link signed with the key, to compare a minter with: number `first_link_number`, no expiry.
    pub example: String,
}

fn show(
    app: &App,
    program_id: ProgramId,
    partner_id: PartnerId,
    terms: MintTerms,
) -> Result<MintingKeyBody, Problem> {
    let roots = app.config.mint_keys.as_ref().ok_or_else(|| {
        Problem::new(Code::NotFound)
            .detail("Partners mint no links here: TRIBUTARY_MINT_KEYS is not set.")
    })?;
    let program = ProgramNo(u32::try_from(terms.program_number).map_err(Problem::internal)?);
    let partner = PartnerNo(u32::try_from(terms.partner_number).map_err(Problem::internal)?);
    let epoch = u16::try_from(terms.epoch).map_err(Problem::internal)?;
    let key = mint_key(roots, program, partner, epoch);
    let token = key.sign(FIRST_MINTED, None).map_err(Problem::internal)?;
    let example = app.config.public_url.join(&format!("r/{token}")).map_err(Problem::internal)?;
    let LinkNo(first_link_number) = FIRST_MINTED;
    Ok(MintingKeyBody {
        program_id,
        partner_id,
        key: key.expose(),
        epoch: terms.epoch,
        previous_until: terms.previous_until.filter(|until| *until > app.clock.now()),
        first_link_number,
        links_max: terms.links_max,
        example: example.into(),
    })
}

async fn find(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<MintTerms, Problem> {
    let terms = store::lock_terms(db, program_id, partner_id).await?.ok_or_else(|| {
        Problem::new(Code::NotFound).detail("The partner is not enrolled in this program.")
    })?;
    if terms.is_active {
        return Ok(terms);
    }
    Err(Problem::new(Code::InvalidTransition)
        .detail("The partner is blocked or not active in the program: links of it lead nowhere."))
}

/// Shows a partner's own key, with which it signs links without calling us.
#[utoipa::path(tag = "links", request_body = MintingKeyQuery, responses(
    (status = 200, body = MintingKeyBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/minting-keys")]
async fn show_minting_key(
    app: Data<App>,
    caller: Caller<scope::LinksWrite>,
    id: Path<String>,
    body: StrictJson<MintingKeyQuery>,
) -> Result<HttpResponse, Problem> {
    let partner_id: PartnerId = path_id(&id)?;
    let program_id = body.0.program_id;
    caller.check_reach(program_id)?;
    let now = app.clock.now();
    let terms = transact(&app.db, async move |db| {
        let terms = find(db, program_id, partner_id).await?;
        let entry = Entry::by(&caller, "partner.show_minting_key", partner_id)
            .program(program_id)
            .details(json!({"epoch": terms.epoch}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(terms)
    })
    .await?;
    let answer = show(&app, program_id, partner_id, terms)?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// Gives a partner a new key; links of the older one are good for some hours more.
///
/// Links of the key before the older one are revoked at once.
#[utoipa::path(tag = "links", request_body = MintingKeyRotation, responses(
    (status = 201, body = MintingKeyBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/minting-keys/rotate")]
async fn rotate_minting_key(
    app: Data<App>,
    caller: Caller<scope::LinksWrite>,
    id: Path<String>,
    body: StrictJson<MintingKeyRotation>,
) -> Result<HttpResponse, Problem> {
    let partner_id: PartnerId = path_id(&id)?;
    let program_id = body.0.program_id;
    caller.check_reach(program_id)?;
    let overlap_hours = body.0.overlap_hours.unwrap_or(OVERLAP_HOURS_DEFAULT);
    let mut wrong = Mistakes::default();
    wrong.check(overlap_hours <= OVERLAP_HOURS_MAX, "/overlap_hours", "must be 0 to 720");
    wrong.end()?;
    let now = app.clock.now();
    let until = now + TimeDelta::hours(i64::from(overlap_hours));
    let terms = transact(&app.db, async move |db| {
        let mut terms = find(db, program_id, partner_id).await?;
        terms.epoch += 1;
        if u16::try_from(terms.epoch).is_err() {
            return Err(Problem::new(Code::InvalidTransition).detail("All epochs are used up."));
        }
        terms.previous_until = Some(until);
        store::raise_epoch(db, program_id, partner_id, until, now).await?;
        let entry = Entry::by(&caller, "partner.rotate_minting_key", partner_id)
            .program(program_id)
            .details(json!({"epoch": terms.epoch, "previous_until": until}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(terms)
    })
    .await?;
    app.keeper.refresh_soon().await;
    let answer = show(&app, program_id, partner_id, terms)?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

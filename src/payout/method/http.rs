//! Handlers of payout methods, tax profiles and the accounts that pay.
//!
//! A partner belongs to the whole deployment: who changes where its money goes must reach every
//! program that pays it. Account numbers go in and never come out.

use actix_web::web::{Bytes as RawBody, Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, put};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::store::{self, MethodRow, NewMethod, PayerRow};
use super::{MethodDocument, Mistake, PayoutMethod, Route, seal};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{PartnerId, ProgramId};
use crate::money::Bps;
use crate::partner;
use crate::payout::http::{Who, parse_id, read_json, read_label};
use crate::payout::tax::{LegalType, TaxProfile, VatTreatment};
use crate::signing::tag;
use crate::web::{Code, Problem, ProblemBody, detached, transact};

/// Adds the routes.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(put_method)
        .service(get_method)
        .service(put_tax_profile)
        .service(get_tax_profile)
        .service(put_payer)
        .service(list_payers);
}

/// A payout method as it is shown: the account is masked.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodBody {
    /// `sepa`, `paypal`, `wise`, `ru_bank` or `manual`.
    pub kind: String,
    /// The account, so that its owner knows it.
    #[schema(example = "DE••••3000")]
    pub account_masked: String,
    /// `active`, or `returned`: a bank sent money back, nothing is paid until it is set anew.
    pub status: String,
    /// Why the bank sent money back.
    pub returned_reason: Option<String>,
    /// When it was last set.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

impl From<MethodRow> for MethodBody {
    fn from(row: MethodRow) -> Self {
        Self {
            kind: row.kind,
            account_masked: row.account_masked,
            status: row.status,
            returned_reason: row.returned_reason,
            updated_at: row.updated_at,
        }
    }
}

/// What tax law says about a partner.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxProfileBody {
    /// `person`, `npd` (self-employed in Russia), `sole_trader` or `company`.
    #[schema(example = "company")]
    pub legal_type: String,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "DE")]
    pub tax_country: String,
    /// Tax number.
    #[serde(default)]
    pub tax_id: Option<String>,
    /// VAT number.
    #[serde(default)]
    #[schema(example = "DE123456789")]
    pub vat_id: Option<String>,
    /// `S` standard, `AE` reverse charge, `G` export, `O` outside the scope, `none` not registered.
    #[schema(example = "S")]
    pub vat_treatment: String,
    /// VAT on top, in hundredths of a percent; zero unless `S`.
    #[serde(default)]
    #[schema(example = 1900)]
    pub vat_rate_bps: u32,
    /// Tax held back, in hundredths of a percent.
    #[serde(default)]
    pub withholding_bps: u32,
    /// When the partner agreed that we write its invoices; needed for `S`, `AE` and `G`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub self_billing_agreed_at: Option<Timestamp>,
}

impl TaxProfileBody {
    fn read(self, now: Timestamp) -> Result<TaxProfile, Problem> {
        let mut mistakes: Vec<Mistake> = Vec::new();
        let legal_type = LegalType::from_code(&self.legal_type);
        if legal_type.is_none() {
            let known = LegalType::ALL.map(LegalType::code).join(", ");
            mistakes.push(("/legal_type", format!("must be one of {known}")));
        }
        let vat_treatment = VatTreatment::from_code(&self.vat_treatment);
        if vat_treatment.is_none() {
            let known = VatTreatment::ALL.map(VatTreatment::code).join(", ");
            mistakes.push(("/vat_treatment", format!("must be one of {known}")));
        }
        for (pointer, text) in [("/tax_id", &self.tax_id), ("/vat_id", &self.vat_id)] {
            let fits =
                |t: &String| (1..=40).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic());
            if !text.as_ref().is_none_or(fits) {
                mistakes.push((pointer, "must have 1 to 40 visible ASCII characters".to_owned()));
            }
        }
        if self.self_billing_agreed_at.is_some_and(|at| at > now) {
            let why = "must not be later than now".to_owned();
            mistakes.push(("/self_billing_agreed_at", why));
        }
        let profile = legal_type.zip(vat_treatment).map(|(legal_type, vat_treatment)| TaxProfile {
            legal_type,
            tax_country: self.tax_country,
            tax_id: self.tax_id,
            vat_id: self.vat_id,
            vat_treatment,
            vat_rate: Bps(self.vat_rate_bps),
            withholding: Bps(self.withholding_bps),
            self_billing_agreed_at: self.self_billing_agreed_at,
        });
        let own = profile.as_ref().map(TaxProfile::mistakes).unwrap_or_default();
        mistakes.extend(own.into_iter().map(|(pointer, why)| (pointer, why.to_owned())));
        match profile {
            Some(profile) if mistakes.is_empty() => Ok(profile),
            Some(_) | None => Err(refused(mistakes)),
        }
    }
}

impl From<TaxProfile> for TaxProfileBody {
    fn from(p: TaxProfile) -> Self {
        Self {
            legal_type: p.legal_type.code().to_owned(),
            tax_country: p.tax_country,
            tax_id: p.tax_id,
            vat_id: p.vat_id,
            vat_treatment: p.vat_treatment.code().to_owned(),
            vat_rate_bps: p.vat_rate.0,
            withholding_bps: p.withholding.0,
            self_billing_agreed_at: p.self_billing_agreed_at,
        }
    }
}

fn refused(mistakes: Vec<Mistake>) -> Problem {
    let problem = Problem::new(Code::InvalidField);
    mistakes.into_iter().fold(problem, |problem, (pointer, why)| problem.error(pointer, why))
}

/// Whether a partner is only looked at, or changed for every program that it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Refuses a partner that is not there for the caller, and a change by one who does not reach every
/// program that the partner is in.
async fn check_partner(
    db: &mut DbTx,
    who: &Who,
    partner_id: PartnerId,
    access: Access,
) -> Result<(), Problem> {
    let missing = || Problem::new(Code::NotFound);
    partner::store::find_partner(db, partner_id).await?.ok_or_else(missing)?;
    let all = partner::store::list_enrollments(db, partner_id).await?;
    let n_reached = all.iter().filter(|e| who.identity.reaches(e.program_id)).count();
    if n_reached == 0 && who.identity.programs.is_some() {
        return Err(missing());
    }
    if access == Access::Write && n_reached < all.len() {
        return Err(Problem::new(Code::InsufficientScope)
            .detail("The partner is also in programs that this key does not reach."));
    }
    Ok(())
}

/// Says where a partner's money goes; what was there before is forgotten.
#[utoipa::path(tag = "payouts", request_body = MethodDocument, responses(
    (status = 200, body = MethodBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[put("/v1/partners/{id}/payout-method")]
async fn put_method(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = parse_id(&id)?;
    let document: MethodDocument = read_json(&req, &bytes)?;
    let method = PayoutMethod::read(&document).map_err(refused)?;
    let new = sealed_method(&app, id, &document, &method);
    let who = Who::new(&caller, app.clock.now());
    let row = transact(&app.db, async move |db| {
        check_partner(db, &who, id, Access::Write).await?;
        let before = store::find_method(db, id).await?;
        store::put_method(db, id, &new, who.actor.user_id, who.actor.at).await?;
        let entry = Entry::by(&who.identity, "payout_method.set", id)
            .details(json!({
                "before": before.map(|m| json!({"kind": m.kind, "account": m.account_masked})),
                "after": {"kind": new.kind.code(), "account": new.account_masked},
            }))
            .request(&caller.request_id);
        audit_store::record(db, entry, who.actor.at).await?;
        store::find_method(db, id).await?.ok_or_else(|| Problem::new(Code::NotFound))
    })
    .await?;
    Ok(HttpResponse::Ok().json(MethodBody::from(row)))
}

/// Seals a method for its partner, beside the hash that finds it behind another one.
pub fn sealed_method(
    app: &App,
    id: PartnerId,
    document: &MethodDocument,
    method: &PayoutMethod,
) -> NewMethod {
    let key = &app.config.secrets_key;
    let account = method.account();
    NewMethod {
        kind: method.kind(),
        sealed: seal(&app.sealer, id.0.as_bytes(), document),
        account_masked: method.account_masked(),
        account_tag: account
            .map(|a| tag(key, "tributary/payout/account", a.as_bytes()).to_vec())
            .unwrap_or_default(),
    }
}

/// Shows where a partner's money goes; the account is masked.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = MethodBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/payout-method")]
async fn get_method(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    let row = transact(&app.db, async move |db| {
        check_partner(db, &who, id, Access::Read).await?;
        let missing = || {
            Problem::new(Code::NotFound)
                .detail("The partner has no payout method yet; set one with PUT.")
        };
        store::find_method(db, id).await?.ok_or_else(missing)
    })
    .await?;
    Ok(HttpResponse::Ok().json(MethodBody::from(row)))
}

/// Says what tax law says about a partner.
#[utoipa::path(tag = "payouts", request_body = TaxProfileBody, responses(
    (status = 200, body = TaxProfileBody), (status = 403, body = ProblemBody),
    (status = 404, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[put("/v1/partners/{id}/tax-profile")]
async fn put_tax_profile(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    req: HttpRequest,
    id: Path<String>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = parse_id(&id)?;
    let body: TaxProfileBody = read_json(&req, &bytes)?;
    let who = Who::new(&caller, app.clock.now());
    let profile = body.read(who.actor.at)?;
    let answer = TaxProfileBody::from(profile.clone());
    transact(&app.db, async move |db| {
        check_partner(db, &who, id, Access::Write).await?;
        let before = store::load_tax_profiles(db, &[id]).await?.remove(&id);
        store::put_tax_profile(db, id, &profile, who.actor.user_id, who.actor.at).await?;
        let entry = Entry::by(&who.identity, "tax_profile.set", id)
            .details(json!({
                "before": before.map(TaxProfileBody::from), "after": TaxProfileBody::from(profile),
            }))
            .request(&caller.request_id);
        Ok(audit_store::record(db, entry, who.actor.at).await?)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Shows what tax law says about a partner.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = TaxProfileBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/tax-profile")]
async fn get_tax_profile(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: PartnerId = parse_id(&id)?;
    let who = Who::new(&caller, app.clock.now());
    let profile = transact(&app.db, async move |db| {
        check_partner(db, &who, id, Access::Read).await?;
        let missing = || {
            Problem::new(Code::NotFound)
                .detail("The partner has no tax profile yet; set one with PUT.")
        };
        store::load_tax_profiles(db, &[id]).await?.remove(&id).ok_or_else(missing)
    })
    .await?;
    Ok(HttpResponse::Ok().json(TaxProfileBody::from(profile)))
}

/// An account that pays, as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayerBody {
    /// Its short name, which the ledger has too.
    #[schema(example = "main")]
    pub label: String,
    /// `sepa` or `ru_bank`.
    pub kind: String,
    /// The account, so that its owner knows it.
    pub account_masked: String,
    /// When it was last set.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

impl From<PayerRow> for PayerBody {
    fn from(row: PayerRow) -> Self {
        Self {
            label: row.label,
            kind: row.kind,
            account_masked: row.account_masked,
            updated_at: row.updated_at,
        }
    }
}

/// Says which account pays for a program, under the short name that the ledger calls it by.
#[utoipa::path(tag = "payouts", request_body = MethodDocument, responses(
    (status = 200, body = PayerBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/programs/{id}/payer-accounts/{label}")]
async fn put_payer(
    app: Data<App>,
    caller: Caller<scope::ProgramsWrite>,
    req: HttpRequest,
    path: Path<(String, String)>,
    bytes: RawBody,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&path.0)?;
    caller.check_reach(id)?;
    let label = read_label("/label", Some(&path.1))?;
    let document: MethodDocument = read_json(&req, &bytes)?;
    let method = PayoutMethod::read(&document).map_err(refused)?;
    match &method.route {
        Route::Sepa { .. } | Route::RuBank(_) => {}
        Route::Paypal { .. } | Route::Wise { .. } | Route::Manual { .. } => {
            let why = "must be sepa or ru_bank: only these files name the account that pays";
            return Err(Problem::new(Code::InvalidField).error("/kind", why));
        }
    }
    let row = PayerRow {
        label: label.to_string(),
        kind: method.kind().code().to_owned(),
        sealed: seal(&app.sealer, id.0.as_bytes(), &document),
        account_masked: method.account_masked(),
        updated_at: app.clock.now(),
    };
    let who = Who::new(&caller, app.clock.now());
    let answer = PayerBody::from(row.clone());
    transact(&app.db, async move |db| {
        if crate::program::store::find_program(db, id).await?.is_none() {
            return Err(Problem::new(Code::NotFound));
        }
        store::put_payer(db, id, &row, who.actor.user_id).await?;
        let details = json!({"label": row.label, "kind": row.kind, "account": row.account_masked});
        who.record(db, "payer_account.set", id, id, details).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Lists the accounts that pay for a program.
#[utoipa::path(tag = "payouts",
    responses((status = 200, body = Vec<PayerBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/programs/{id}/payer-accounts")]
async fn list_payers(
    app: Data<App>,
    caller: Caller<scope::PayoutsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ProgramId = parse_id(&id)?;
    caller.check_reach(id)?;
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_payers(&mut db, id).await?)
    })
    .await?;
    let rows: Vec<PayerBody> = rows.into_iter().map(PayerBody::from).collect();
    Ok(HttpResponse::Ok().json(json!({"data": rows, "has_more": false})))
}

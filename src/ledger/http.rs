//! The routes of the ledger: what a partner is owed.

#![expect(unused_qualifications, reason = "utoipa repeats the type of the query")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::ledger::book::store::load_balances_as_of;
use crate::ledger::store::{self, Balance};
use crate::partner;
use crate::web::fields::{path_id, time};
use crate::web::{Code, Problem, ProblemBody, Query, detached};

/// Adds the routes of the ledger.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(get_balance);
    super::book::http::configure(cfg);
    super::period_http::configure(cfg);
}

/// Whose book to look into.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BalanceFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// What takes effect before this time, RFC 3339; all of it by default.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "time")]
    pub as_of: Option<Timestamp>,
}

/// What a partner is owed by a program.
#[derive(Debug, Serialize, ToSchema)]
pub struct PartnerBalanceBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// One line for each currency that anything was ever earned in.
    pub balances: Vec<BalanceBody>,
}

/// What is owed in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceBody {
    /// ISO 4217 code.
    pub currency: String,
    /// Earned, but its hold is not over; in major units.
    #[schema(example = "29.98")]
    pub pending: String,
    /// Owed and in no payout; below zero after a clawback, and then carried forward.
    #[schema(example = "120.00")]
    pub payable: String,
}

impl From<Balance> for BalanceBody {
    fn from(balance: Balance) -> Self {
        Self {
            currency: balance.pending.currency.code().to_owned(),
            pending: balance.pending.to_decimal_string(),
            payable: balance.payable.to_decimal_string(),
        }
    }
}

/// Shows what a partner is owed by a program.
#[utoipa::path(tag = "ledger", params(BalanceFilter), responses(
    (status = 200, body = PartnerBalanceBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/balance")]
async fn get_balance(
    app: Data<App>,
    caller: Caller<Own<scope::LedgerRead>>,
    id: Path<String>,
    filter: Query<BalanceFilter>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id): (PartnerId, _) = (path_id(&id)?, filter.program_id);
    let as_of = filter.as_of;
    caller.check_own(program_id, partner_id)?;
    let db = app.db.clone();
    let balances = detached(async move {
        let mut db = db.acquire().await?;
        if partner::store::find_enrollment(&mut db, program_id, partner_id).await?.is_none() {
            return Err(Problem::new(Code::NotFound));
        }
        let balances = match as_of {
            Some(at) => load_balances_as_of(&mut db, program_id, partner_id, at).await,
            None => store::partner_balances(&mut db, program_id, partner_id).await,
        };
        Ok(balances?)
    })
    .await?;
    let balances = balances.into_iter().map(BalanceBody::from).collect();
    Ok(HttpResponse::Ok().json(PartnerBalanceBody { program_id, partner_id, balances }))
}

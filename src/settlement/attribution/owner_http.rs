//! The route that tells whose a customer is.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{ConversionId, PartnerId, ProgramId};
use crate::program::{attribution as policies, store as programs};
use crate::settlement::attribution::store;
use crate::signing::hash_customer;
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{Code, Problem, ProblemBody, StrictJson, detached};

/// Adds the route.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(find_owner);
}

/// A customer to be looked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnerQuestion {
    /// The shop's name of the customer, as in conversions.
    pub customer_ref: String,
    /// At what time; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
}

/// Whose a customer is.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnerAnswer {
    /// Who owns it and by what; null where nobody does.
    pub owner: Option<OwnerBody>,
}

/// Who owns a customer, and by what.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnerBody {
    /// The partner.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// The conversion that bound it.
    #[schema(value_type = String)]
    pub conversion_id: ConversionId,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// Until when; null for life.
    #[schema(value_type = Option<String>)]
    pub until: Option<Timestamp>,
}

/// Tells whose a customer is by the program's `ownership`; the name travels in the body, since
/// addresses end up in logs.
#[utoipa::path(tag = "attribution", request_body = OwnerQuestion, responses(
    (status = 200, body = OwnerAnswer), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/programs/{id}/customers/owner")]
async fn find_owner(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    body: StrictJson<OwnerQuestion>,
) -> Result<HttpResponse, Problem> {
    let program_id: ProgramId = path_id(&id)?;
    caller.check_reach(program_id)?;
    let mut wrong = Mistakes::default();
    wrong.text("/customer_ref", &body.0.customer_ref, NAME_MAX);
    wrong.end()?;
    let customer = (program_id, hash_customer(&app.customer_key, &body.0.customer_ref));
    let at = body.0.at.unwrap_or_else(|| app.clock.now());
    let db = app.db.clone();
    let owner = detached(async move {
        let mut db = db.acquire().await?;
        let program = programs::find_program(&mut db, program_id).await?;
        program.ok_or_else(|| Problem::new(Code::NotFound))?;
        let policies = policies::store::load_one(&mut db, program_id).await?;
        if policies.at(at).policy.ownership.is_none() {
            return Ok(None);
        }
        let bonds = store::load_bonds(&mut db, &BTreeMap::from([(customer, (at, at))])).await?;
        let Some(bond) = bonds.get(&customer).and_then(|bonds| bonds.at(at)).copied() else {
            return Ok(None);
        };
        let partner = (program_id, bond.owner.partner);
        let ids = store::load_partner_ids(&mut db, &BTreeSet::from([partner])).await?;
        Ok(Some(OwnerBody {
            partner_id: ids.get(&partner).copied(),
            conversion_id: bond.conversion_id,
            since: bond.owner.since,
            until: bond.until,
        }))
    })
    .await?;
    Ok(HttpResponse::Ok().json(OwnerAnswer { owner }))
}

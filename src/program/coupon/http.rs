//! The routes of coupons: given to a partner, ended, never moved to another.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::account::once_http::{Answer, KeyRule, once};
use crate::app::App;
use crate::clock::Timestamp;
use crate::db::broken_constraint;
use crate::ids::{CouponId, PartnerId, ProgramId};
use crate::partner::store as partners;
use crate::program::coupon::store::{self, Coupon, Filter};
use crate::program::coupon::{is_code, key};
use crate::web::fields::{KeyedJson, Mistakes, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// Adds the routes of coupons.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_coupon).service(list_coupons).service(get_coupon).service(end_coupon);
}

/// A coupon to be given to a partner.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCouponBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Whose it is.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// What customers type: 1 to 64 letters and digits of any script, with `-`, `_` and `.`. Case
    /// and Unicode form make no difference.
    #[schema(example = "SUMMER-10")]
    pub code: String,
    /// Since when it says whose an order is; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub starts_at: Option<Timestamp>,
    /// When it ends; never where it is not given.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Timestamp>,
}

/// When a coupon is to end.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBody {
    /// When; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Timestamp>,
}

/// Which coupons to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CouponFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only those of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Only those with this code, however it is written.
    pub code: Option<String>,
}

/// A coupon as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct CouponBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CouponId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Whose it is.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The code as it was given.
    pub code: String,
    /// Since when it is in force.
    #[schema(value_type = String)]
    pub starts_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub ends_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
}

impl From<Coupon> for CouponBody {
    fn from(coupon: Coupon) -> Self {
        let Coupon { program_id, coupon_id, partner_id, code, starts_at, ends_at, created_at } =
            coupon;
        Self { id: coupon_id, program_id, partner_id, code, starts_at, ends_at, created_at }
    }
}

impl NewCouponBody {
    fn into_coupon(self, now: Timestamp) -> Result<Coupon, Problem> {
        let mut wrong = Mistakes::default();
        let detail = "must have 1 to 64 letters and digits, with -, _ and . between";
        wrong.check(is_code(&self.code), "/code", detail);
        let starts_at = self.starts_at.unwrap_or(now);
        let is_after = self.ends_at.is_none_or(|end| end > starts_at);
        wrong.check(is_after, "/ends_at", "must be after starts_at");
        wrong.end()?;
        Ok(Coupon {
            program_id: self.program_id,
            coupon_id: CouponId::new(),
            partner_id: self.partner_id,
            code: self.code,
            starts_at,
            ends_at: self.ends_at,
            created_at: now,
        })
    }
}

/// Says that a code is another coupon's at that time.
fn code_taken(error: sqlx::Error) -> Problem {
    match broken_constraint(&error) {
        Some("coupons_code_once") => Problem::new(Code::InvalidTransition).detail(
            "The code is in use in that time, however it is written; list it by code, end that \
             coupon first, or give another code.",
        ),
        Some(_) | None => error.into(),
    }
}

/// Gives a coupon to a partner. A code is one coupon's at any time; after its end it may be given
/// again, also to another partner.
#[utoipa::path(tag = "attribution", request_body = NewCouponBody, responses(
    (status = 201, body = CouponBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/coupons")]
async fn create_coupon(
    app: Data<App>,
    req: HttpRequest,
    caller: Caller<scope::PartnersWrite>,
    body: KeyedJson<NewCouponBody>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(body.value.program_id)?;
    let now = app.clock.now();
    let coupon = body.value.into_coupon(now)?;
    let entry = Entry::by(&caller, "coupon.create", coupon.coupon_id)
        .program(coupon.program_id)
        .details(json!({"partner_id": coupon.partner_id, "code": coupon.code,
            "starts_at": coupon.starts_at, "ends_at": coupon.ends_at}))
        .request(&caller.request_id);
    let user_id = caller.user_id;
    once(&app, &req, &caller, KeyRule::Optional, &body.bytes, async move |db| {
        let enrolled = partners::find_enrollment(db, coupon.program_id, coupon.partner_id).await?;
        enrolled.ok_or_else(|| {
            Problem::new(Code::InvalidField)
                .error("/partner_id", "takes no part in the program; enroll the partner first")
        })?;
        store::insert(db, &coupon, &key(&coupon.code), user_id).await.map_err(code_taken)?;
        audit_store::record(db, entry, now).await?;
        let location = format!("/v1/coupons/{}", coupon.coupon_id);
        Ok(Answer::created(location, CouponBody::from(coupon)))
    })
    .await
}

/// Lists the coupons of a program, ended ones included.
#[utoipa::path(tag = "attribution", params(CouponFilter, PageQuery), responses(
    (status = 200, body = Page<CouponBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/coupons")]
async fn list_coupons(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    filter: Query<CouponFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let CouponFilter { program_id, partner_id, code } = filter.into_inner();
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    let code_key = code.as_deref().map(key);
    let filter = Filter { program_id, partner_id, code_key, after };
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list(&mut db, &filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(found, limit, |coupon| coupon.coupon_id).map(CouponBody::from);
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a coupon.
#[utoipa::path(tag = "attribution", responses(
    (status = 200, body = CouponBody), (status = 404, body = ProblemBody)))]
#[get("/v1/coupons/{id}")]
async fn get_coupon(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: CouponId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find(&mut db, id).await?)
    })
    .await?;
    let coupon = found.filter(|coupon| caller.reaches(coupon.program_id));
    let coupon = coupon.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(CouponBody::from(coupon)))
}

/// Ends a coupon, now or at a time to come. Orders that happened before keep it; one that has not
/// begun yet never will.
#[utoipa::path(tag = "attribution", request_body = EndBody, responses(
    (status = 200, body = CouponBody), (status = 404, body = ProblemBody),
    (status = 409, body = ProblemBody), (status = 422, body = ProblemBody)))]
#[post("/v1/coupons/{id}/end")]
async fn end_coupon(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<EndBody>,
) -> Result<HttpResponse, Problem> {
    let id: CouponId = path_id(&id)?;
    let now = app.clock.now();
    let ends_at = body.0.ends_at.unwrap_or(now);
    let coupon = transact(&app.db, async move |db| {
        let found = store::lock(db, id).await?.filter(|coupon| caller.reaches(coupon.program_id));
        let coupon = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        let ends_at = end(&coupon, ends_at, now)?;
        store::set_end(db, (coupon.program_id, id), ends_at).await?;
        let entry = Entry::by(&caller, "coupon.end", id)
            .program(coupon.program_id)
            .details(json!({"before": coupon.ends_at, "after": ends_at}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(Coupon { ends_at: Some(ends_at), ..coupon })
    })
    .await?;
    Ok(HttpResponse::Ok().json(CouponBody::from(coupon)))
}

/// Returns when a coupon ends that is to end at `wanted`: an end only comes nearer, because the code
/// may have been given on.
fn end(coupon: &Coupon, wanted: Timestamp, now: Timestamp) -> Result<Timestamp, Problem> {
    let refuse = |detail: &str| Err(Problem::new(Code::InvalidField).error("/ends_at", detail));
    match coupon.ends_at {
        Some(end) if end <= now => Err(Problem::new(Code::InvalidTransition)
            .detail(format!("The coupon has ended at {end}; give the code again."))),
        Some(_) | None if wanted < now => {
            refuse("is in the past; what happened meanwhile counts with the coupon")
        }
        Some(end) if wanted > end => {
            refuse("is after the end it has; give the code again from there on")
        }
        Some(_) | None => Ok(wanted.max(coupon.starts_at)),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn an_end_only_comes_nearer() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let day = TimeDelta::days(1);
        let coupon = |starts_at, ends_at| Coupon {
            program_id: ProgramId::new(),
            coupon_id: CouponId::new(),
            partner_id: PartnerId::new(),
            code: "SUMMER".to_owned(),
            starts_at,
            ends_at,
            created_at: now,
        };
        for (starts_at, ends_at, wanted, expected) in [
            (now - day, None, now, Ok(now)),
            (now - day, None, now + day, Ok(now + day)),
            (now - day, Some(now + day), now, Ok(now)),
            (now + day, None, now, Ok(now + day)),
            (now - day, None, now - day, Err(Code::InvalidField)),
            (now - day, Some(now + day), now + day * 2, Err(Code::InvalidField)),
            (now - day, Some(now), now, Err(Code::InvalidTransition)),
        ] {
            let found = end(&coupon(starts_at, ends_at), wanted, now);
            assert_eq!(found.map_err(|problem| problem.code()), expected, "{ends_at:?} {wanted}");
        }
    }
}

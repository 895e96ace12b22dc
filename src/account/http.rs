//! Who calls: the API key in a handler's signature; and the management of keys.
//!
//! A handler that takes `Caller<scope::LinksWrite>` can only run for a key whose role has that
//! scope; one that takes no caller is public, and looks it. A partner's key runs only a handler that
//! takes `Caller<Own<scope::LinksWrite>>`, and by that says that it looks after whose rows they are.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL};
use actix_web::web::{Data, Path};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, delete, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::key::{ApiKey, KeyKind};
use crate::account::{Caller as Identity, Role, audit_store, store};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{ApiKeyId, PartnerId, ProgramId, UserId};
use crate::partner;
use crate::web::admission::Admission;
use crate::web::request_id::RequestTag;
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// Scopes as types, for signatures.
pub mod scope {
    use crate::account::Scope;

    /// A scope that a handler needs.
    pub trait Required: 'static {
        /// The scope.
        const SCOPE: Scope;
        /// Whether a partner's key may have it, for what is its own.
        const IS_FOR_PARTNERS: bool = false;
    }

    /// A scope that partners may have, too: the handler checks that what it shows or changes is the
    /// caller's own, by [`Caller::check_own`](super::Caller::check_own) and its like.
    #[derive(Debug)]
    pub struct Own<S>(std::marker::PhantomData<S>);

    impl<S: Required> Required for Own<S> {
        const SCOPE: Scope = S::SCOPE;
        const IS_FOR_PARTNERS: bool = true;
    }

    macro_rules! scopes {
        ($($name:ident),+ $(,)?) => {$(
            #[doc = concat!("Needs [`Scope::", stringify!($name), "`].")]
            #[derive(Debug)]
            pub enum $name {}
            impl Required for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )+};
    }

    scopes!(
        Admin,
        ProgramsRead,
        ProgramsWrite,
        PartnersRead,
        PartnersWrite,
        LinksRead,
        LinksWrite,
        ClicksWrite,
        ConversionsRead,
        ConversionsWrite,
        CommissionsRead,
        CommissionsWrite,
        ClaimsWrite,
        PayoutsRead,
        PayoutsWrite,
        PayoutsApprove,
        ReportsRead,
        LedgerRead,
        WebhooksRead,
        WebhooksWrite,
    );
}

/// A caller whose key has the scope `S`.
#[derive(Debug)]
pub struct Caller<S> {
    identity: Identity,
    /// The request, for the audit log.
    pub request_id: String,
    scope: PhantomData<S>,
}

impl<S> Deref for Caller<S> {
    type Target = Identity;
    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl<S> Caller<S> {
    /// Refuses a program that the key does not reach, as if it were not there.
    pub fn check_reach(&self, program_id: ProgramId) -> Result<(), Problem> {
        if self.reaches(program_id) { Ok(()) } else { Err(Problem::new(Code::NotFound)) }
    }
}

impl<S> Caller<scope::Own<S>> {
    /// Refuses what the key does not own, as if it were not there.
    pub fn check_own(&self, program_id: ProgramId, partner_id: PartnerId) -> Result<(), Problem> {
        if self.owns(program_id, partner_id) { Ok(()) } else { Err(Problem::new(Code::NotFound)) }
    }

    /// Returns whose rows a list shows when those of `asked` are asked for, or of all: a partner's
    /// key lists its own, and finds nothing of others.
    pub fn whose(&self, asked: Option<PartnerId>) -> Result<Option<PartnerId>, Problem> {
        match (self.partner_id, asked) {
            (None, asked) => Ok(asked),
            (Some(own), asked) if asked.is_none_or(|asked| asked == own) => Ok(Some(own)),
            (Some(_), _) => Err(Problem::new(Code::NotFound)),
        }
    }
}

/// Anybody with a key, whatever it may do.
impl FromRequest for Identity {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = req.app_data::<Data<App>>().cloned();
        let door = Admission::close(req);
        let key = bearer(req);
        Box::pin(async move {
            let app = app.expect("every application carries the shared handles");
            let identity = identify(app, key?).await?;
            door.open();
            Ok(identity)
        })
    }
}

impl<S: scope::Required> FromRequest for Caller<S> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = req.app_data::<Data<App>>().cloned();
        let door = Admission::close(req);
        let key = bearer(req);
        let request_id =
            req.extensions().get::<RequestTag>().map_or_else(String::new, |tag| tag.0.to_string());
        Box::pin(async move {
            let app = app.expect("every application carries the shared handles");
            let identity = identify(app, key?).await?;
            let may_enter = identity.partner_id.is_none() || S::IS_FOR_PARTNERS;
            if !may_enter || !identity.role.allows(S::SCOPE) {
                return Err(Problem::new(Code::InsufficientScope)
                    .detail(format!(
                        "This needs the scope {}, which the role {} has not.",
                        S::SCOPE.as_str(),
                        identity.role.as_str()
                    ))
                    .with("scope", S::SCOPE.as_str()));
            }
            door.open();
            Ok(Self { identity, request_id, scope: PhantomData })
        })
    }
}

fn bearer(req: &HttpRequest) -> Result<ApiKey, Problem> {
    let header = req.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let Some(text) = header.and_then(|h| h.strip_prefix("Bearer ")) else {
        return Err(Problem::new(Code::Unauthenticated)
            .detail("Send the header \"Authorization: Bearer trbk_…\", or trbp_… of a partner."));
    };
    ApiKey::parse(text.trim()).ok_or_else(|| {
        Problem::new(Code::Unauthenticated)
            .detail("This is not an API key: its form or its checksum is wrong. Is it complete?")
    })
}

async fn identify(app: Data<App>, key: ApiKey) -> Result<Identity, Problem> {
    let hash = key.hash();
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_caller(&mut db, &hash).await?)
    })
    .await?;
    found.filter(|c| c.expires_at.is_none_or(|end| end > app.clock.now())).ok_or_else(|| {
        Problem::new(Code::Unauthenticated).detail("The API key is unknown, revoked or expired.")
    })
}

/// Adds the routes of API keys.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(create_api_key)
        .service(list_api_keys)
        .service(get_own_api_key)
        .service(revoke_api_key);
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyBody {
    /// What people call it.
    #[schema(example = "finance, Anna")]
    pub name: String,
    /// `admin`, `manager`, `finance`, `approver`, `source`, or `partner`: that one reads what is its own.
    #[schema(example = "finance")]
    pub role: String,
    /// The person or system that owns it; a new one where it is not given. Four eyes compares users.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// The programs it reaches; all where it is not given. Of a partner's key exactly one.
    #[schema(value_type = Option<Vec<String>>)]
    pub programs: Option<Vec<ProgramId>>,
    /// Whose rows alone it reaches; needed for the role `partner`, and for no other.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

impl NewKeyBody {
    /// Returns whose rows in which program the key reaches; none for one that is no partner's.
    fn bound(&self, role: Role) -> Result<Option<(ProgramId, PartnerId)>, Problem> {
        let wrong = |field, why| Err(Problem::new(Code::InvalidField).error(field, why));
        match (role, self.partner_id, self.programs.as_deref()) {
            (Role::Partner, Some(partner_id), Some([program_id])) => {
                Ok(Some((*program_id, partner_id)))
            }
            (Role::Partner, None, _) => wrong("/partner_id", "is needed: whose key is it?"),
            (Role::Partner, Some(_), _) => {
                wrong("/programs", "must name one program: a partner's key is for that one")
            }
            (_, Some(_), _) => wrong("/partner_id", "is for the role partner alone"),
            (_, None, _) => Ok(None),
        }
    }
}

/// A key as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ApiKeyId,
    /// The key itself: shown in the answer that makes it, never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its first characters.
    pub prefix: String,
    /// Who owns it.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// Whose rows alone it reaches, of a partner's key.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Timestamp>,
}

/// Makes an API key; the answer is the only place where it is ever shown.
#[utoipa::path(tag = "accounts", request_body = NewKeyBody, responses(
    (status = 201, body = KeyBody), (status = 422, body = ProblemBody)))]
#[post("/v1/api-keys")]
async fn create_api_key(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    body: StrictJson<NewKeyBody>,
) -> Result<HttpResponse, Problem> {
    let new = body.0;
    let role = Role::parse(&new.role).ok_or_else(|| {
        Problem::new(Code::InvalidField)
            .error("/role", "must be one of admin, manager, finance, approver, source, partner")
    })?;
    let bound = new.bound(role)?;
    if new.name.trim().is_empty() || new.name.chars().count() > 200 {
        return Err(
            Problem::new(Code::InvalidField).error("/name", "must have 1 to 200 characters")
        );
    }
    // Nobody gives what he has not: a key of some programs makes keys of those alone.
    match &new.programs {
        Some(programs) => programs.iter().try_for_each(|p| caller.check_reach(*p))?,
        None if caller.programs.is_some() => {
            return Err(Problem::new(Code::InvalidField)
                .error("/programs", "is needed: this key reaches some programs only"));
        }
        None => {}
    }
    let kind = if bound.is_some() { KeyKind::Partner } else { KeyKind::House };
    let key = ApiKey::generate_for(kind);
    let row = store::NewApiKey {
        api_key_id: ApiKeyId::new(),
        user_id: new.user_id.unwrap_or_default(),
        name: new.name,
        role,
        programs: new.programs,
        partner_id: bound.map(|(_, partner_id)| partner_id),
        expires_at: new.expires_at,
    };
    let (now, shown) = (app.clock.now(), key.clone());
    let answer = KeyBody {
        id: row.api_key_id,
        key: Some(key.expose().to_owned()),
        prefix: key.shown().to_owned(),
        user_id: row.user_id,
        name: row.name.clone(),
        role: row.role.as_str().to_owned(),
        partner_id: row.partner_id,
        created_at: now,
        expires_at: row.expires_at,
        revoked_at: None,
    };
    let entry = audit_store::Entry::by(&caller, "api_key.create", row.api_key_id)
        .details(serde_json::json!({
            "role": row.role.as_str(), "user_id": row.user_id, "partner_id": row.partner_id}));
    transact(&app.db, async move |db| {
        if let Some((program_id, partner_id)) = bound
            && partner::store::find_enrollment(db, program_id, partner_id).await?.is_none()
        {
            let why = "is no partner of this program";
            return Err(Problem::new(Code::InvalidField).error("/partner_id", why));
        }
        let user = store::NewUser { user_id: row.user_id, name: row.name.clone() };
        store::insert_user(db, &user, now).await?;
        store::insert_api_key(db, &row, &shown, now).await?;
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(answer))
}

/// Lists API keys that reach no more than the caller's; never the keys themselves.
#[utoipa::path(tag = "accounts", params(PageQuery), responses((status = 200, body = Page<KeyBody>)))]
#[get("/v1/api-keys")]
async fn list_api_keys(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, after) = (page.limit()?, page.after()?);
    let (db, only) = (app.db.clone(), caller.programs.clone());
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_api_keys(&mut db, only.as_deref(), after, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.api_key_id).map(|row| KeyBody {
        id: row.api_key_id,
        key: None,
        prefix: row.prefix,
        user_id: row.user_id,
        name: row.name,
        role: row.role,
        partner_id: row.partner_id,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    });
    Ok(HttpResponse::Ok().json(page))
}

/// What a key says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnKeyBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ApiKeyId,
    /// Who owns it.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// What it may do.
    pub role: &'static str,
    /// The programs it reaches; null for all.
    #[schema(value_type = Option<Vec<String>>)]
    pub programs: Option<Vec<ProgramId>>,
    /// Whose rows alone it reaches, of a partner's key.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// When it ends.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// Tells what the key of the request is: its role, its programs, its partner.
#[utoipa::path(tag = "accounts", responses(
    (status = 200, body = OwnKeyBody), (status = 401, body = ProblemBody)))]
#[get("/v1/api-keys/self")]
async fn get_own_api_key(caller: Identity) -> HttpResponse {
    HttpResponse::Ok().json(OwnKeyBody {
        id: caller.api_key_id,
        user_id: caller.user_id,
        role: caller.role.as_str(),
        programs: caller.programs,
        partner_id: caller.partner_id,
        expires_at: caller.expires_at,
    })
}

/// Revokes an API key at once.
#[utoipa::path(tag = "accounts", responses(
    (status = 204), (status = 404, body = ProblemBody)))]
#[delete("/v1/api-keys/{id}")]
async fn revoke_api_key(
    app: Data<App>,
    caller: Caller<scope::Admin>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ApiKeyId = id.parse().map_err(|_| Problem::new(Code::NotFound))?;
    let now = app.clock.now();
    let entry = audit_store::Entry::by(&caller, "api_key.revoke", id);
    let only = caller.programs.clone();
    transact(&app.db, async move |db| {
        if !store::revoke_api_key(db, id, only.as_deref(), now).await? {
            return Err(Problem::new(Code::NotFound));
        }
        Ok(audit_store::record(db, entry, now).await?)
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Scope;

    #[test]
    fn the_scope_of_a_signature_is_the_scope_that_is_asked_for() {
        assert_eq!(<scope::PayoutsApprove as scope::Required>::SCOPE, Scope::PayoutsApprove);
    }
}

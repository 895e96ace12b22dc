//! The log of talks with a partner; each sets when to be in touch next.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, post};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ProgramQuery, check_enrolled, find_books, lock_enrolled};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{InteractionId, PartnerId, ProgramId};
use crate::partner::network::contacts::{CHANNELS, next_due};
use crate::partner::network::rank::Rank;
use crate::partner::network::store::talks::{self as rows, Interaction};
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact};

const NOTE_MAX: usize = 4000;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(record_interaction).service(list_interactions);
}

/// A talk to be recorded.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInteractionBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// When it was; now where it is not given.
    #[schema(value_type = Option<String>)]
    pub at: Option<Timestamp>,
    /// `call`, `email`, `meeting`, `chat` or `other`.
    pub channel: String,
    /// With whom.
    pub with_whom: Option<String>,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// By when; counts before the cadence of the rank.
    #[schema(value_type = Option<String>)]
    pub due: Option<NaiveDate>,
}

/// A talk as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct InteractionBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: InteractionId,
    /// When it was.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// `call`, `email`, `meeting`, `chat` or `other`.
    pub channel: String,
    /// With whom.
    pub with_whom: Option<String>,
    /// What was said.
    pub note: String,
    /// What comes next.
    pub next_step: Option<String>,
    /// By when.
    #[schema(value_type = Option<String>)]
    pub due: Option<NaiveDate>,
    /// Who wrote it down.
    pub recorded_by: String,
}

impl From<Interaction> for InteractionBody {
    fn from(i: Interaction) -> Self {
        Self {
            id: i.interaction_id,
            at: i.at,
            channel: i.channel,
            with_whom: i.with_whom,
            note: i.note,
            next_step: i.next_step,
            due: i.due,
            recorded_by: i.recorded_by,
        }
    }
}

impl NewInteractionBody {
    fn into_interaction(self, recorded_by: String, now: Timestamp) -> Result<Interaction, Problem> {
        let mut wrong = Mistakes::default();
        wrong.one_of("/channel", &self.channel, &CHANNELS);
        wrong.text("/note", &self.note, NOTE_MAX);
        for (pointer, text) in [("/with_whom", &self.with_whom), ("/next_step", &self.next_step)] {
            if let Some(text) = text {
                wrong.text(pointer, text, NAME_MAX);
            }
        }
        let at = self.at.unwrap_or(now);
        wrong.check(at <= now, "/at", "must not lie ahead: a talk that is to come is a next step");
        wrong.end()?;
        Ok(Interaction {
            interaction_id: InteractionId::new(),
            at,
            channel: self.channel,
            with_whom: self.with_whom,
            note: self.note,
            next_step: self.next_step,
            due: self.due,
            recorded_by,
        })
    }
}

/// Records a talk and sets when to be in touch next: the day agreed on, else by the rank.
#[utoipa::path(tag = "network", request_body = NewInteractionBody, responses(
    (status = 201, body = InteractionBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/interactions")]
async fn record_interaction(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<NewInteractionBody>,
) -> Result<HttpResponse, Problem> {
    let place: (ProgramId, PartnerId) = (body.0.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let now = app.clock.now();
    let interaction = body.0.into_interaction(caller.actor(), now)?;
    let answer = transact(&app.db, async move |db| {
        let enrollment = lock_enrolled(db, place).await?;
        let books = find_books(db, place.0).await?;
        rows::insert(db, place, &interaction).await?;
        // An older talk that is written down late does not move the date of a newer one.
        if let Some((at, agreed)) = rows::find_last(db, place.0, place.1).await? {
            let rank = Rank::parse(&enrollment.rank).unwrap_or(Rank::C);
            let due = agreed.or_else(|| next_due(rank, books.day(at)));
            rows::set_next_due(db, place, due, now).await?;
        }
        let entry = Entry::by(&caller, "interaction.record", place.1)
            .program(place.0)
            .details(json!({"interaction_id": interaction.interaction_id}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(InteractionBody::from(interaction))
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the talks with a partner, newest written first.
#[utoipa::path(tag = "network", params(ProgramQuery, PageQuery), responses(
    (status = 200, body = Page<InteractionBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/interactions")]
async fn list_interactions(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let place = (query.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let (limit, before, db) = (page.limit()?, page.after()?, app.db.clone());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, place).await?;
        Ok(rows::list(&mut db, place, before, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(found, limit, |i| i.interaction_id).map(InteractionBody::from);
    Ok(HttpResponse::Ok().json(page))
}

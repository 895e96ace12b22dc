//! The long list, and the scorecards that it begins with.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get, put};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{ProgramQuery, check_enrolled, find_books, lock_enrolled};
use crate::account::audit_store::{self, Entry};
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::longlist::{Line, Sort};
use crate::partner::network::nightly::read_longlist;
use crate::partner::network::scorecard::{self, GROUPS, Mark, SCORE_MAX};
use crate::partner::network::store;
use crate::report::export::csv::{self, Dialect};
use crate::report::{Cell, Column, ColumnKind};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

const EVIDENCE_MAX: usize = 1000;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_longlist).service(put_scorecard).service(get_scorecard);
}

/// How to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LonglistQuery {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// `score`, `declared` or `measured`; `score` where it is not given.
    pub sort: Option<String>,
    /// `json` or `csv`; a CSV file holds the whole list.
    pub format: Option<String>,
    /// `rfc4180`, `excel` or `excel-eu`, of CSV; `rfc4180` where it is not given.
    pub dialect: Option<String>,
}

/// A line of the long list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LonglistLineBody)]
pub struct LineBody {
    /// The partner.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `applied`, `active` or `paused`.
    pub status: String,
    /// A to D.
    pub rank: String,
    /// Belief and results together, 0 to 1000.
    pub score: i64,
    /// The scorecard, 0 to 1000; none while nobody has filled it in.
    pub declared: Option<i64>,
    /// Results, 0 to 1000.
    pub measured: i64,
    /// The weight of results, per mille.
    pub measured_weight: i64,
    /// Visitors of the last 180 days: what the weight rests on.
    pub n_visitors: i64,
    /// Groups of the scorecard that nobody has looked at.
    pub missing: Vec<&'static str>,
    /// The arithmetic.
    pub why: String,
}

impl From<Line> for LineBody {
    fn from(line: Line) -> Self {
        Self {
            why: line.why(),
            partner_id: line.member.partner_id,
            name: line.member.name,
            kind: line.member.kind,
            status: line.member.status,
            rank: line.member.rank,
            score: line.blend.points,
            declared: line.declared.points,
            measured: line.measured,
            measured_weight: line.blend.measured_weight,
            n_visitors: line.n_visitors,
            missing: line.declared.missing,
        }
    }
}

/// Columns of the long list as a table.
pub const COLUMNS: &[Column] = &[
    ColumnKind::Text.named("partner_id"),
    ColumnKind::Text.named("name"),
    ColumnKind::Text.named("kind"),
    ColumnKind::Text.named("status"),
    ColumnKind::Text.named("rank"),
    ColumnKind::Int.named("score"),
    ColumnKind::Int.named("declared"),
    ColumnKind::Int.named("measured"),
    ColumnKind::Int.named("measured_weight_per_mille"),
    ColumnKind::Int.named("visitors_180d"),
];

/// Returns the long list as a table.
pub fn rows(lines: &[Line]) -> Vec<Vec<Cell>> {
    lines
        .iter()
        .map(|line| {
            vec![
                Cell::text(line.member.partner_id),
                Cell::text(&line.member.name),
                Cell::text(&line.member.kind),
                Cell::text(&line.member.status),
                Cell::text(&line.member.rank),
                Cell::Int(line.blend.points),
                Cell::or_empty(line.declared.points, Cell::Int),
                Cell::Int(line.measured),
                Cell::Int(line.blend.measured_weight),
                Cell::Int(line.n_visitors),
            ]
        })
        .collect()
}

/// Lists partners and applicants by what is believed of them and what they show.
#[utoipa::path(tag = "network", params(LonglistQuery, PageQuery), responses(
    (status = 200, body = Page<LineBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/partners/longlist")]
async fn list_longlist(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<LonglistQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    caller.check_reach(query.program_id)?;
    let wrong = |field: &str, why: &str| Problem::new(Code::InvalidField).error(field, why);
    let sort = Sort::parse(query.sort.as_deref().unwrap_or("score"))
        .ok_or_else(|| wrong("/sort", "must be score, declared or measured"))?;
    let dialect = query.dialect.as_deref().unwrap_or("rfc4180").parse::<Dialect>();
    let dialect = dialect.map_err(|e| wrong("/dialect", &e.to_string()))?;
    let (limit, after): (_, Option<(i64, PartnerId)>) = (page.limit()?, page.after()?);
    let (db, now) = (app.db.clone(), app.clock.now());
    let mut lines = detached(async move {
        let mut db = db.acquire().await?;
        let books = find_books(&mut db, query.program_id).await?;
        Ok(read_longlist(&mut db, &books, sort, now).await?)
    })
    .await?;
    match query.format.as_deref().unwrap_or("json") {
        "csv" => Ok(HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8; header=present"))
            .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"longlist.csv\""))
            .body(csv::write(COLUMNS, &rows(&lines), dialect))),
        "json" => {
            lines.retain(|line| after.is_none_or(|after| sort.key(line) > after));
            let page = Page::new(lines, limit, |line| sort.key(line)).map(LineBody::from);
            Ok(HttpResponse::Ok().json(page))
        }
        _ => Err(wrong("/format", "must be json or csv")),
    }
}

/// A scorecard, or a part of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScorecardChanges {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// The groups that somebody has looked at; the others stay.
    pub groups: Vec<MarkBody>,
}

/// What somebody found.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkBody {
    /// `fit`, `market`, `technical`, `finance`, `reputation`, `capacity`, `terms`, `team`, `legal`
    /// or `growth`.
    pub group: String,
    /// 0 to 5; null takes the score away.
    pub score: Option<i16>,
    /// What it rests on.
    #[serde(default)]
    pub evidence: String,
    /// When it was looked at; today where it is not given.
    #[schema(value_type = Option<String>)]
    pub date: Option<NaiveDate>,
}

/// A group of a scorecard as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LonglistGroupBody)]
pub struct GroupBody {
    /// Its name.
    pub group: &'static str,
    /// What it asks.
    pub title: &'static str,
    /// Its weight in the program; all together are 100.
    pub weight: i16,
    /// 0 to 5.
    pub score: Option<i16>,
    /// What it rests on.
    pub evidence: Option<String>,
    /// When it was looked at.
    #[schema(value_type = Option<String>)]
    pub date: Option<NaiveDate>,
    /// Who looked.
    pub by: Option<String>,
}

/// A scorecard as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScorecardBody {
    /// 0 to 1000; none while nothing is scored.
    pub declared: Option<i64>,
    /// The ten groups.
    pub groups: Vec<GroupBody>,
    /// The arithmetic.
    pub why: Vec<String>,
}

async fn read_scorecard(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<ScorecardBody, Problem> {
    let policy = store::read_policy(db, program_id).await?;
    let weights = scorecard::weights(policy.score_weights.as_deref());
    let marks = store::read_marks(db, program_id, Some(partner_id)).await?;
    let marks: Vec<Mark> = marks.into_iter().map(|m| m.mark).collect();
    let declared = scorecard::declared(&weights, &marks);
    let groups = GROUPS.iter().zip(weights).map(|(group, weight)| {
        let mark = marks.iter().find(|m| m.group == group.key);
        GroupBody {
            group: group.key,
            title: group.title,
            weight,
            score: mark.map(|m| m.score),
            evidence: mark.map(|m| m.evidence.clone()),
            date: mark.map(|m| m.assessed_on),
            by: mark.map(|m| m.assessed_by.clone()),
        }
    });
    Ok(ScorecardBody { declared: declared.points, groups: groups.collect(), why: declared.why })
}

/// Shows the scorecard of a partner.
#[utoipa::path(tag = "network", params(ProgramQuery), responses(
    (status = 200, body = ScorecardBody), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/scorecard")]
async fn get_scorecard(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
) -> Result<HttpResponse, Problem> {
    let (partner_id, program_id) = (path_id(&id)?, query.program_id);
    caller.check_reach(program_id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, (program_id, partner_id)).await?;
        read_scorecard(&mut db, program_id, partner_id).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Writes groups of the scorecard of a partner.
#[utoipa::path(tag = "network", request_body = ScorecardChanges, responses(
    (status = 200, body = ScorecardBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[put("/v1/partners/{id}/scorecard")]
async fn put_scorecard(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<ScorecardChanges>,
) -> Result<HttpResponse, Problem> {
    let partner_id: PartnerId = path_id(&id)?;
    let ScorecardChanges { program_id, groups } = body.0;
    caller.check_reach(program_id)?;
    check_marks(&groups)?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        lock_enrolled(db, (program_id, partner_id)).await?;
        let today = find_books(db, program_id).await?.day(now);
        let details: Vec<_> =
            groups.iter().map(|g| json!({"group": g.group, "score": g.score})).collect();
        for g in groups {
            let Some(score) = g.score else {
                store::delete_mark(db, program_id, partner_id, &g.group).await?;
                continue;
            };
            let mark = Mark {
                group: g.group,
                score,
                evidence: g.evidence,
                assessed_on: g.date.unwrap_or(today),
                assessed_by: caller.actor(),
            };
            store::write_mark(db, program_id, partner_id, &mark).await?;
        }
        let entry = Entry::by(&caller, "scorecard.write", partner_id)
            .program(program_id)
            .details(json!({"groups": details}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        read_scorecard(db, program_id, partner_id).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

fn check_marks(groups: &[MarkBody]) -> Result<(), Problem> {
    let mut wrong = Mistakes::default();
    wrong.check(groups.len() <= GROUPS.len(), "/groups", "must have 10 groups at most");
    for g in groups.iter().take(GROUPS.len()) {
        wrong.one_of("/groups", &g.group, &GROUPS.map(|known| known.key));
        if let Some(score) = g.score {
            wrong.check((0..=SCORE_MAX).contains(&score), "/groups", "a score is 0 to 5");
            wrong.text("/groups", &g.evidence, EVIDENCE_MAX);
        }
    }
    wrong.end()
}

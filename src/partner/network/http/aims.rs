//! Goals and contests: something to aim at. Neither changes what a partner is paid.

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
use crate::ids::{ContestId, GoalId, PartnerId, ProgramId};
use crate::money::{AmountRule, Money};
use crate::partner::network::nightly::read_board;
use crate::partner::network::store::aims::{self as rows, Contest, Goal};
use crate::partner::network::store::figures::read_figures;
use crate::partner::network::{Books, Days, Metric};
use crate::web::fields::{Mistakes, NAME_MAX, path_id};
use crate::web::{
    Code, Page, PageQuery, Problem, ProblemBody, Query, StrictJson, detached, transact,
};

/// What every answer about goals says.
const NO_PENALTY: &str = "Goals never change what a partner is paid, reached or not.";
/// The longest stretch of a goal or a contest.
const DAYS_MAX: i64 = 1096;
/// Goals on one page: the figures of each are read.
const GOALS_MAX: u32 = 20;

pub(super) fn configure(cfg: &mut ServiceConfig) {
    cfg.service(set_goal)
        .service(list_goals)
        .service(create_contest)
        .service(list_contests)
        .service(show_leaderboard);
}

fn check_days(wrong: &mut Mistakes, days: Days) {
    wrong.check((1..=DAYS_MAX).contains(&days.count()), "/to", "must be 0 to 1095 days after from");
}

/// A goal to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGoalBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// `clicks`, `sales` or `commission`.
    pub metric: String,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// A count, or an amount in major units.
    #[schema(example = "500.00")]
    pub target: String,
}

impl NewGoalBody {
    fn into_goal(self, books: &Books) -> Result<Goal, Problem> {
        let mut wrong = Mistakes::default();
        let metric = Metric::parse(&self.metric).filter(|m| *m != Metric::BiggestOrder);
        wrong.check(metric.is_some(), "/metric", "must be one of clicks, sales, commission");
        let metric = metric.unwrap_or(Metric::Clicks);
        let target = if metric.is_money() {
            Money::parse_amount(&self.target, books.currency, AmountRule::Positive)
                .map(|m| m.minor)
                .map_err(|e| e.to_string())
        } else {
            let count = self.target.parse::<i64>().ok().filter(|n| (1..=1_000_000_000).contains(n));
            count.ok_or_else(|| "must be a count from 1 to 1000000000, as a string".to_owned())
        };
        let target = target.unwrap_or_else(|why| {
            wrong.add("/target", why);
            0
        });
        let days = Days { from: self.from, to: self.to };
        check_days(&mut wrong, days);
        wrong.end()?;
        Ok(Goal { goal_id: GoalId::new(), metric, days, target })
    }
}

/// A goal as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct GoalBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: GoalId,
    /// `clicks`, `sales` or `commission`.
    pub metric: &'static str,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// A count, or an amount in major units.
    pub target: String,
    /// What is settled so far.
    pub reached: String,
    /// The same in per cent of the target, rounded down.
    pub percent: i64,
    /// That it is a wish.
    #[schema(example = "Goals never change what a partner is paid, reached or not.")]
    pub effect_on_pay: &'static str,
}

impl GoalBody {
    fn new(goal: &Goal, reached: i64, books: &Books) -> Self {
        Self {
            id: goal.goal_id,
            metric: goal.metric.as_str(),
            from: goal.days.from,
            to: goal.days.to,
            target: books.show(goal.metric, goal.target),
            reached: books.show(goal.metric, reached),
            percent: reached.max(0).saturating_mul(100) / goal.target.max(1),
            effect_on_pay: NO_PENALTY,
        }
    }
}

/// Sets a goal for a partner.
#[utoipa::path(tag = "network", request_body = NewGoalBody, responses(
    (status = 201, body = GoalBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/partners/{id}/goals")]
async fn set_goal(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    id: Path<String>,
    body: StrictJson<NewGoalBody>,
) -> Result<HttpResponse, Problem> {
    let place: (ProgramId, PartnerId) = (body.0.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let now = app.clock.now();
    let answer = transact(&app.db, async move |db| {
        lock_enrolled(db, place).await?;
        let books = find_books(db, place.0).await?;
        let goal = body.0.into_goal(&books)?;
        rows::insert_goal(db, place, &goal, now).await?;
        let figures = read_figures(db, &books, goal.days).await?;
        let reached = figures.get(&place.1).map_or(0, |f| f.of(goal.metric));
        let answer = GoalBody::new(&goal, reached, &books);
        let entry = Entry::by(&caller, "goal.set", place.1)
            .program(place.0)
            .details(json!({"goal_id": goal.goal_id, "metric": answer.metric,
                "target": answer.target}))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the goals of a partner with what is reached, newest first, 20 on a page at most.
#[utoipa::path(tag = "network", params(ProgramQuery, PageQuery), responses(
    (status = 200, body = Page<GoalBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/partners/{id}/goals")]
async fn list_goals(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    query: Query<ProgramQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let place = (query.program_id, path_id(&id)?);
    caller.check_reach(place.0)?;
    let (limit, before, db) = (page.limit()?.min(GOALS_MAX), page.after()?, app.db.clone());
    let page = detached(async move {
        let mut db = db.acquire().await?;
        check_enrolled(&mut db, place).await?;
        let books = find_books(&mut db, place.0).await?;
        let goals = rows::list_goals(&mut db, place, before, i64::from(limit) + 1).await?;
        let mut reached = Vec::with_capacity(goals.len());
        for goal in goals {
            let figures = read_figures(&mut db, &books, goal.days).await?;
            reached.push((goal, figures.get(&place.1).map_or(0, |f| f.of(goal.metric))));
        }
        let page = Page::new(reached, limit, |(goal, _)| goal.goal_id);
        Ok(page.map(|(goal, reached)| GoalBody::new(&goal, reached, &books)))
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// A contest to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContestBody {
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What people call it.
    pub name: String,
    /// `clicks`, `sales`, `commission` or `biggest_order`.
    pub metric: String,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// What there is to win.
    pub prize: String,
}

impl NewContestBody {
    fn into_contest(self) -> Result<Contest, Problem> {
        let mut wrong = Mistakes::default();
        wrong.text("/name", &self.name, NAME_MAX);
        wrong.text("/prize", &self.prize, NAME_MAX);
        wrong.one_of("/metric", &self.metric, &Metric::ALL.map(Metric::as_str));
        let days = Days { from: self.from, to: self.to };
        check_days(&mut wrong, days);
        wrong.end()?;
        Ok(Contest {
            program_id: self.program_id,
            contest_id: ContestId::new(),
            name: self.name,
            metric: Metric::parse(&self.metric).unwrap_or(Metric::Clicks),
            days,
            prize: self.prize,
            frozen_at: None,
        })
    }
}

/// A contest as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContestBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ContestId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// What people call it.
    pub name: String,
    /// `clicks`, `sales`, `commission` or `biggest_order`.
    pub metric: &'static str,
    /// The first day.
    #[schema(value_type = String)]
    pub from: NaiveDate,
    /// The last day.
    #[schema(value_type = String)]
    pub to: NaiveDate,
    /// What there is to win.
    pub prize: String,
    /// Since when the board does not change any more.
    #[schema(value_type = Option<String>)]
    pub frozen_at: Option<Timestamp>,
}

impl From<&Contest> for ContestBody {
    fn from(c: &Contest) -> Self {
        Self {
            id: c.contest_id,
            program_id: c.program_id,
            name: c.name.clone(),
            metric: c.metric.as_str(),
            from: c.days.from,
            to: c.days.to,
            prize: c.prize.clone(),
            frozen_at: c.frozen_at,
        }
    }
}

/// Makes a contest.
#[utoipa::path(tag = "network", request_body = NewContestBody, responses(
    (status = 201, body = ContestBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[post("/v1/contests")]
async fn create_contest(
    app: Data<App>,
    caller: Caller<scope::PartnersWrite>,
    body: StrictJson<NewContestBody>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(body.0.program_id)?;
    let (contest, now) = (body.0.into_contest()?, app.clock.now());
    let answer = transact(&app.db, async move |db| {
        find_books(db, contest.program_id).await?;
        rows::insert_contest(db, &contest, now).await?;
        let answer = ContestBody::from(&contest);
        let entry = Entry::by(&caller, "contest.create", contest.contest_id)
            .program(contest.program_id)
            .details(json!(answer))
            .request(&caller.request_id);
        audit_store::record(db, entry, now).await?;
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Created().json(answer))
}

/// Lists the contests of a program, newest first.
#[utoipa::path(tag = "network", params(ProgramQuery, PageQuery), responses(
    (status = 200, body = Page<ContestBody>), (status = 404, body = ProblemBody)))]
#[get("/v1/contests")]
async fn list_contests(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    query: Query<ProgramQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let program_id = query.program_id;
    caller.check_reach(program_id)?;
    let (limit, before, db) = (page.limit()?, page.after()?, app.db.clone());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        find_books(&mut db, program_id).await?;
        Ok(rows::list_contests(&mut db, program_id, before, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(found, limit, |c| c.contest_id).map(|c| ContestBody::from(&c));
    Ok(HttpResponse::Ok().json(page))
}

/// A line of a board.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlaceBody {
    /// 1 is the best; level partners share the better place and the next one is left out.
    pub place: u32,
    /// Who.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The name that the partner chose for boards; none: show no name.
    pub public_name: Option<String>,
    /// A count, or an amount in major units.
    pub figure: String,
}

/// A board.
#[derive(Debug, Serialize, ToSchema)]
pub struct LeaderboardBody {
    /// The contest.
    pub contest: ContestBody,
    /// Whether it will not change any more: from a day after the last day on.
    pub is_final: bool,
    /// The places, best first.
    #[serde(flatten)]
    pub places: Page<PlaceBody>,
}

/// Shows the board of a contest, from what is settled; once frozen it stays as it was.
#[utoipa::path(tag = "network", params(PageQuery), responses(
    (status = 200, body = LeaderboardBody), (status = 404, body = ProblemBody)))]
#[get("/v1/contests/{id}/leaderboard")]
async fn show_leaderboard(
    app: Data<App>,
    caller: Caller<scope::PartnersRead>,
    id: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let contest_id: ContestId = path_id(&id)?;
    let (limit, after): (_, Option<(u32, PartnerId)>) = (page.limit()?, page.after()?);
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = rows::find_contest(&mut db, contest_id).await?;
        let contest = found.ok_or_else(|| Problem::new(Code::NotFound))?;
        caller.check_reach(contest.program_id)?;
        let books = find_books(&mut db, contest.program_id).await?;
        let mut places = match contest.frozen_at {
            Some(_) => rows::read_places(&mut db, &contest).await?,
            None => read_board(&mut db, &books, &contest).await?,
        };
        let names = rows::read_contestants(&mut db, contest.program_id).await?;
        places.retain(|p| after.is_none_or(|after| (p.place, p.partner_id) > after));
        let places = Page::new(places, limit, |p| (p.place, p.partner_id)).map(|p| PlaceBody {
            place: p.place,
            partner_id: p.partner_id,
            public_name: names.get(&p.partner_id).cloned().flatten(),
            figure: books.show(contest.metric, p.figure),
        });
        let is_final = contest.frozen_at.is_some();
        Ok(LeaderboardBody { contest: ContestBody::from(&contest), is_final, places })
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

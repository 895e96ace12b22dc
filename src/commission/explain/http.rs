//! The routes of explanations: why a conversion earned what it did, or nothing.

#![expect(unused_qualifications, reason = "utoipa repeats the type of the query")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{correction, nothing_because, rivals, rule, sentences};
use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::http::{CommissionBody, show};
use crate::commission::store::{self, Filter};
use crate::commission::{Commission, PlanVersion};
use crate::conversion;
use crate::conversion::candidate::{Asked, Limits};
use crate::conversion::http::ConversionBody;
use crate::conversion::path::Path as ClickPath;
use crate::conversion::store::ConversionRow;
use crate::ids::{CommissionId, ConversionId, PartnerId, PlanVersionId, ProgramId};
use crate::language::Language;
use crate::program;
use crate::web::fields::path_id;
use crate::web::{Code, Problem, ProblemBody, Query, detached};

/// Most commissions that one answer explains.
const COMMISSIONS_MAX: i64 = 1000;

/// Adds the routes of explanations.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(explain_commission).service(explain_conversion);
}

/// How to say it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExplanationQuery {
    /// `en` (by default) or `ru`: the language of sentences.
    pub lang: Option<String>,
}

/// To whom it is said, and in which language.
#[derive(Clone, Copy)]
struct Reader {
    /// The partner who asks; none for those who run the program.
    viewer: Option<PartnerId>,
    lang: Language,
}

impl ExplanationQuery {
    fn reader(&self, viewer: Option<PartnerId>) -> Result<Reader, Problem> {
        let lang = self.lang.as_deref().unwrap_or("en");
        let found = Language::from_code(lang);
        let wrong = || {
            let why = format!("{lang:?} is neither en nor ru");
            Problem::new(Code::InvalidField).error("/lang", why)
        };
        Ok(Reader { viewer, lang: found.ok_or_else(wrong)? })
    }
}

/// Why a conversion earned what it did.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplanationBody {
    /// The conversion, with its attribution; null for clicks.
    pub conversion: Option<ConversionBody>,
    /// For how many days a click of the program counted when it happened.
    pub attribution_window_days: i64,
    /// What became of its message: `settled` and so on; null when it came without one.
    pub message_status: Option<String>,
    /// What settlement said when nothing was earned.
    pub nothing_because: Option<String>,
    /// Every click that the shop named, whether it counts and its part; null where it named no path.
    pub path: Option<ClickPath>,
    /// Each commission that it earned; the one asked for alone.
    pub commissions: Vec<ExplainedBody>,
    /// Whose it is and why nothing was earned, in sentences.
    pub sentences: Vec<String>,
}

/// Why a commission is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedBody {
    /// The commission: inputs, tiers, caps and steps in `calculation`, flags, history.
    pub commission: CommissionBody,
    /// The edition of the plan that priced it, and the rule.
    pub plan: Option<PricedByBody>,
    /// Whether its stored inputs come to the same steps again, and these to what the partner has of
    /// it, corrections included; null where none are stored.
    pub recomputed: Option<bool>,
    /// Why it comes to nothing.
    pub nothing_because: Option<String>,
    /// Clawbacks, adjustments and what the recruiter has of it.
    pub followed_by: Vec<FollowerBody>,
    /// All of it in sentences.
    pub sentences: Vec<String>,
}

/// By what a commission was priced.
#[derive(Debug, Serialize, ToSchema)]
pub struct PricedByBody {
    /// The edition.
    #[schema(value_type = String)]
    pub id: PlanVersionId,
    /// Since when it is in force.
    #[schema(value_type = String)]
    pub effective_from: Timestamp,
    /// The number of the rule, from 1.
    pub rule: Option<u64>,
    /// The rule in words.
    pub words: Option<String>,
    /// Why each other rule did not price it.
    pub over: Vec<RivalBody>,
}

/// A rule that did not price it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RivalBody {
    /// Its number, from 1.
    pub rule: u64,
    /// `not_met`, `not_in_force`, `less_specific`, `older` or `after`.
    pub because: String,
    /// The condition that decided, where one did.
    pub what: Option<String>,
    /// The same in a sentence.
    pub sentence: String,
}

/// What came after a commission.
#[derive(Debug, Serialize, ToSchema)]
pub struct FollowerBody {
    /// The row.
    #[schema(value_type = String)]
    pub id: CommissionId,
    /// `clawback`, `adjustment`, `true_up` or `recruiter`.
    pub kind: String,
    /// In major units; below zero for what is taken back.
    pub amount: String,
    /// The refund or message behind it.
    pub cause: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// The same in a sentence.
    pub sentence: String,
}

impl PricedByBody {
    fn of(version: &PlanVersion, stored: &serde_json::Value, lang: Language) -> Self {
        let (number, words) = rule(stored, version, lang).unzip();
        let over = rivals(stored).into_iter().map(|rival| RivalBody {
            sentence: rival.sentence(lang),
            rule: rival.rule,
            because: rival.because,
            what: rival.what,
        });
        let (id, effective_from) = (version.id, version.effective_from);
        Self { id, effective_from, rule: number, words, over: over.collect() }
    }
}

impl FollowerBody {
    fn of(row: &Commission, lang: Language) -> Self {
        Self {
            id: row.commission_id,
            kind: row.kind.code().to_owned(),
            amount: row.amount.to_decimal_string(),
            cause: row.cause.clone(),
            at: row.created_at,
            sentence: correction(row, lang),
        }
    }
}

async fn explained(
    db: &mut PgConnection,
    of: Commission,
    plans: &[PlanVersion],
    Reader { viewer, lang }: Reader,
) -> Result<ExplainedBody, Problem> {
    let mut following = store::load_following(db, of.program_id, &[of.commission_id]).await?;
    following.retain(|row| viewer.is_none_or(|own| own == row.partner_id));
    let version = plans.iter().find(|version| Some(version.id) == of.plan_version_id);
    let followed_by: Vec<_> = following.iter().map(|row| FollowerBody::of(row, lang)).collect();
    let plan = version.map(|version| PricedByBody::of(version, &of.calculation, lang));
    let family = super::store::load_family(db, &of).await?;
    let recomputed = family.proof(of.commission_id, plans).holds();
    let nothing_because = nothing_because(&of, lang);
    let mut sentences = sentences(&of, version, lang);
    let commission = show(db, of).await?.seen_by(viewer);
    sentences.extend(commission.flags.iter().map(|flag| flag.sentence.clone()));
    sentences.extend(followed_by.iter().map(|row| row.sentence.clone()));
    Ok(ExplainedBody { commission, plan, recomputed, nothing_because, followed_by, sentences })
}

/// Explains a conversion by these of its commissions.
async fn explain(
    db: &mut PgConnection,
    row: ConversionRow,
    commissions: Vec<Commission>,
    reader: Reader,
) -> Result<ExplanationBody, Problem> {
    let program_id = row.program_id;
    let policies = program::attribution::store::load_one(db, program_id).await?;
    let policy = &policies.at(row.occurred_at).policy;
    let limits = Limits {
        occurred_at: row.occurred_at,
        window_days: policy.window.num_days(),
        min_seconds: policy.min.num_seconds(),
    };
    let message = conversion::store::find_receipt(db, row.receipt_id).await?;
    let (message_status, reason) = message.map(|m| (m.status, m.reason)).unzip();
    let Reader { viewer, lang } = reader;
    let path = row.path.as_ref().and_then(ClickPath::from_wire);
    let shares = path.as_ref().map(ClickPath::shares).unwrap_or_default();
    let path = path.map(|path| path.seen_by(viewer));
    let asked = Asked { shares: &shares, viewer, lang };
    let mut sentences = row.attributed().sentences(&limits, &asked);
    sentences.extend(path.iter().flat_map(|path| path.sentences(lang)));
    let nothing_because = reason.flatten().filter(|_| commissions.is_empty());
    let nothing = lang.pick("Nothing was earned", "Ничего не заработано");
    match &nothing_because {
        Some(reason) => sentences.push(format!("{nothing}: {reason}.")),
        None if commissions.is_empty() => sentences.push(format!("{nothing}.")),
        None => {}
    }
    let all = explain_all(db, program_id, commissions, reader).await?;
    let conversion = Some(ConversionBody::try_from(row)?.seen_by(viewer));
    Ok(ExplanationBody {
        conversion,
        attribution_window_days: limits.window_days,
        message_status,
        nothing_because,
        path,
        commissions: all,
        sentences,
    })
}

async fn explain_all(
    db: &mut PgConnection,
    program_id: ProgramId,
    commissions: Vec<Commission>,
    reader: Reader,
) -> Result<Vec<ExplainedBody>, Problem> {
    let plans = store::load_plans(db, &[program_id]).await?;
    let plans: Vec<PlanVersion> = plans.into_iter().map(|(_, version)| version).collect();
    let mut all = Vec::with_capacity(commissions.len());
    for commission in commissions {
        all.push(explained(db, commission, &plans, reader).await?);
    }
    Ok(all)
}

/// Explains what clicks earned: no conversion stands behind it.
async fn explain_clicks(
    db: &mut PgConnection,
    commission: Commission,
    reader: Reader,
) -> Result<ExplanationBody, Problem> {
    let program_id = commission.program_id;
    let policies = program::attribution::store::load_one(db, program_id).await?;
    let policy = &policies.at(commission.occurred_at).policy;
    let said = reader.lang.pick(
        "Clicks of people are paid by the day, each visitor of a link once; robots are not.",
        "Клики людей оплачиваются за день, посетитель ссылки один раз; клики роботов нет.",
    );
    Ok(ExplanationBody {
        conversion: None,
        attribution_window_days: policy.window.num_days(),
        message_status: None,
        nothing_because: None,
        path: None,
        commissions: explain_all(db, program_id, vec![commission], reader).await?,
        sentences: vec![said.to_owned()],
    })
}

/// Explains a commission: whose click, which rule and why, each step, what came after.
#[utoipa::path(tag = "commissions", params(ExplanationQuery), responses(
    (status = 200, body = ExplanationBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/commissions/{id}/explanation")]
async fn explain_commission(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    id: Path<String>,
    query: Query<ExplanationQuery>,
) -> Result<HttpResponse, Problem> {
    let id: CommissionId = path_id(&id)?;
    let reader = query.reader(caller.partner_id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find_commission(&mut db, id).await?;
        let commission = found
            .filter(|c| caller.owns(c.program_id, c.partner_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        let Some(conversion_id) = commission.conversion_id else {
            return explain_clicks(&mut db, commission, reader).await;
        };
        let of = conversion::store::find_conversion(&mut db, conversion_id).await?;
        let row = of.ok_or_else(|| Problem::new(Code::NotFound))?;
        explain(&mut db, row, vec![commission], reader).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Explains a conversion: whose it is, and what it earned, or why nothing.
#[utoipa::path(tag = "conversions", params(ExplanationQuery), responses(
    (status = 200, body = ExplanationBody), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/conversions/{id}/explanation")]
async fn explain_conversion(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    id: Path<String>,
    query: Query<ExplanationQuery>,
) -> Result<HttpResponse, Problem> {
    let id: ConversionId = path_id(&id)?;
    let reader = query.reader(caller.partner_id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = conversion::store::find_conversion(&mut db, id).await?;
        let row = found
            .filter(|row| caller.reaches(row.program_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        let (programs, conversions) = ([row.program_id], [id]);
        let filter = Filter {
            programs: Some(&programs),
            conversions: Some(&conversions),
            ..Filter::default()
        };
        let mut commissions = store::load(&mut db, filter, COMMISSIONS_MAX).await?;
        commissions.retain(|c| c.corrects_id.is_none() && caller.owns(c.program_id, c.partner_id));
        let is_own = caller.partner_id.is_none_or(|own| row.partner_id == Some(own));
        if !is_own && commissions.is_empty() {
            return Err(Problem::new(Code::NotFound));
        }
        explain(&mut db, row, commissions, reader).await
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

//! The routes of commissions: who earned what.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::scope::Own;
use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::commission::plan::EventKind;
use crate::commission::store::{self, ApplyError, Filter, HistoryRow, OrderFacts};
use crate::commission::{Commission, CommissionKind, CommissionState};
use crate::fraud::http::FlagBody;
use crate::fraud::store::FlagRow;
use crate::fraud::{self, Rule};
use crate::ids::{CommissionId, ConversionId, LedgerTransactionId, PartnerId, PayoutId, ProgramId};
use crate::money::Money;
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// Adds the routes of commissions.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_commissions).service(get_commission);
}

/// Which commissions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CommissionFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only those of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Only those that stand here: `pending`, `on_hold`, `approved`, `rejected`, `reversed`, `paid`.
    pub status: Option<String>,
    /// Only those that this rule of the fraud policy has flagged, such as `velocity`; `any` for
    /// every flag.
    pub flag: Option<String>,
}

/// A commission as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommissionBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CommissionId,
    /// The program that pays.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// `earned`, `clawback`, `adjustment`, `true_up`, `recruiter` or `clicks`.
    pub kind: String,
    /// What it is paid for: `sale`, `lead` and so on; `click` for the clicks of a day.
    pub event: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Who is paid.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// The conversion; null for clicks.
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The commission that a clawback or an adjustment corrects.
    #[schema(value_type = Option<String>)]
    pub corrects_id: Option<CommissionId>,
    /// What it was reckoned from.
    pub base: Option<AmountBody>,
    /// In major units; below zero for a clawback.
    #[schema(example = "29.98")]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The arithmetic, as data and as a sentence.
    #[schema(value_type = Object)]
    pub calculation: serde_json::Value,
    /// When the conversion happened.
    #[schema(value_type = String)]
    pub occurred_at: Timestamp,
    /// When its hold is over.
    #[schema(value_type = String)]
    pub hold_until: Timestamp,
    /// `auto` or `manual`.
    pub approval: String,
    /// When it was approved.
    #[schema(value_type = Option<String>)]
    pub approved_at: Option<Timestamp>,
    /// Why it was held, refused or taken back.
    pub reason: Option<String>,
    /// What looked wrong about it, also when it was released since.
    pub flags: Vec<FlagBody>,
    /// The payout that holds it, or paid it.
    #[schema(value_type = Option<String>)]
    pub payout_id: Option<PayoutId>,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// Rises with every step; `POST /v1/commissions/bulk` compares it.
    pub version: i32,
    /// What was taken back of it by clawbacks, in major units; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clawed_back: Option<String>,
    /// Every step it took; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<HistoryBody>>,
    /// The ledger transactions of these steps; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ledger: Option<Vec<LedgerTransactionId>>,
}

/// An amount with its currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct AmountBody {
    /// In major units.
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
}

/// A step of a commission.
#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryBody {
    /// Where it stood; null for its opening.
    pub from: Option<String>,
    /// Where it stood then.
    pub to: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// By which rule; `manual` for a person.
    pub rule: String,
    /// What the actor said.
    pub note: Option<String>,
    /// What the ledger posted.
    #[schema(value_type = Option<String>)]
    pub ledger_transaction_id: Option<LedgerTransactionId>,
}

impl From<HistoryRow> for HistoryBody {
    fn from(row: HistoryRow) -> Self {
        Self {
            from: row.from_state,
            to: row.to_state,
            at: row.at,
            by: row.actor,
            rule: row.rule,
            note: row.reason,
            ledger_transaction_id: row.ledger_transaction_id,
        }
    }
}

impl CommissionBody {
    fn new(
        c: Commission,
        order: Option<&OrderFacts>,
        flags: Option<Vec<FlagRow>>,
    ) -> Result<Self, Problem> {
        let is_clicks = c.kind == CommissionKind::Clicks;
        let clicks = is_clicks.then(|| EventKind::Click.code().to_owned());
        let base = order.and_then(|o| o.base.as_ref()).map(|(minor, currency)| {
            let currency = currency.parse().map_err(Problem::internal)?;
            let amount = Money::new(*minor, currency).to_decimal_string();
            Ok::<_, Problem>(AmountBody { amount, currency: currency.code().to_owned() })
        });
        Ok(Self {
            id: c.commission_id,
            program_id: c.program_id,
            kind: c.kind.code().to_owned(),
            event: order.map(|o| o.event.clone()).or(clicks),
            status: c.state.code().to_owned(),
            partner_id: c.partner_id,
            conversion_id: c.conversion_id,
            order_id: order.and_then(|o| o.order_id.clone()),
            corrects_id: c.corrects_id,
            base: base.transpose()?,
            amount: c.amount.to_decimal_string(),
            currency: c.amount.currency.code().to_owned(),
            calculation: c.calculation.into_tree(),
            occurred_at: c.occurred_at,
            hold_until: c.hold_until,
            approval: c.approval.code().to_owned(),
            approved_at: c.approved_at,
            reason: c.reason,
            flags: flags.unwrap_or_default().into_iter().map(FlagBody::from).collect(),
            payout_id: c.payout_id,
            created_at: c.created_at,
            version: c.revision,
            clawed_back: None,
            history: None,
            ledger: None,
        })
    }

    /// Returns what a partner sees of it: neither which rules suspect it nor who decided what and
    /// with which note, for these are the notes of the house. Why it is held or refused stays.
    pub(super) fn seen_by(mut self, partner: Option<PartnerId>) -> Self {
        if partner.is_none() {
            return self;
        }
        self.flags.clear();
        self.ledger = None;
        for step in self.history.iter_mut().flatten() {
            let who = match step.by.split_once(':') {
                Some(("source", _)) => "shop",
                Some(_) => "program",
                None => "system",
            };
            who.clone_into(&mut step.by);
            (step.note, step.ledger_transaction_id) = (None, None);
        }
        self
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Database(e) => e.into(),
            ApplyError::Stale => Self::new(Code::PreconditionFailed)
                .detail("The commission was changed meanwhile. Read it again, then decide."),
        }
    }
}

/// Loads everything about one commission.
pub(super) async fn show(
    db: &mut PgConnection,
    commission: Commission,
) -> Result<CommissionBody, Problem> {
    let (program_id, id) = (commission.program_id, commission.commission_id);
    let conversions = commission.conversion_id;
    let orders = store::load_orders(db, program_id, conversions.as_slice()).await?;
    let mut clawed_back = Money::zero(commission.amount.currency);
    for row in store::load_following(db, program_id, &[id]).await? {
        if row.kind == CommissionKind::Clawback && row.corrects_id == Some(id) {
            clawed_back = clawed_back.checked_sub(row.amount).map_err(Problem::internal)?;
        }
    }
    let history = store::load_history(db, program_id, id).await?;
    let order = conversions.and_then(|id| orders.get(&id));
    let mut flags = fraud::store::load_flags(db, program_id, &[id]).await?;
    let mut body = CommissionBody::new(commission, order, flags.remove(&id))?;
    body.clawed_back = Some(clawed_back.to_decimal_string());
    body.ledger = Some(history.iter().filter_map(|h| h.ledger_transaction_id).collect());
    body.history = Some(history.into_iter().map(HistoryBody::from).collect());
    Ok(body)
}

/// Lists the commissions of a program.
#[utoipa::path(tag = "commissions", params(CommissionFilter, PageQuery), responses(
    (status = 200, body = Page<CommissionBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/commissions")]
async fn list_commissions(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    filter: Query<CommissionFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let CommissionFilter { program_id, partner_id, status, flag } = filter.into_inner();
    caller.check_reach(program_id)?;
    let (partner_id, viewer) = (caller.whose(partner_id)?, caller.partner_id);
    let (limit, after) = (page.limit()?, page.after()?);
    let mut wrong = Mistakes::default();
    let state = status.as_deref().and_then(CommissionState::from_code);
    wrong.check(status.is_some() == state.is_some(), "/status", "is no state of a commission");
    if let Some(flag) = &flag {
        wrong.check(viewer.is_none(), "/flag", "is for those who run the program");
        let rules = Rule::ALL.map(Rule::code);
        wrong.one_of("/flag", flag, &[&["any"], &rules[..]].concat());
    }
    wrong.end()?;
    let db = app.db.clone();
    let page = detached(async move {
        let mut db = db.acquire().await?;
        let programs = [program_id];
        let filter = Filter {
            programs: Some(&programs),
            partner: partner_id,
            state,
            flag: flag.as_deref(),
            after,
            ..Filter::default()
        };
        let rows = store::load(&mut db, filter, i64::from(limit) + 1).await?;
        let page = Page::new(rows, limit, |row| row.commission_id);
        let conversions: Vec<ConversionId> =
            page.data.iter().filter_map(|c| c.conversion_id).collect();
        let orders = store::load_orders(&mut db, program_id, &conversions).await?;
        let ids: Vec<CommissionId> = page.data.iter().map(|c| c.commission_id).collect();
        let mut flags = fraud::store::load_flags(&mut db, program_id, &ids).await?;
        let show = |c: Commission| {
            let order = c.conversion_id.and_then(|id| orders.get(&id));
            let flags = flags.remove(&c.commission_id);
            Ok(CommissionBody::new(c, order, flags)?.seen_by(viewer))
        };
        let data = page.data.into_iter().map(show).collect::<Result<Vec<_>, Problem>>()?;
        Ok(Page { data, has_more: page.has_more, next_cursor: page.next_cursor })
    })
    .await?;
    Ok(HttpResponse::Ok().json(page))
}

/// Shows a commission with its history and its ledger transactions.
#[utoipa::path(tag = "commissions", responses(
    (status = 200, body = CommissionBody), (status = 404, body = ProblemBody)))]
#[get("/v1/commissions/{id}")]
async fn get_commission(
    app: Data<App>,
    caller: Caller<Own<scope::CommissionsRead>>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: CommissionId = path_id(&id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find_commission(&mut db, id).await?;
        let commission = found
            .filter(|c| caller.owns(c.program_id, c.partner_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        Ok(show(&mut db, commission).await?.seen_by(caller.partner_id))
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

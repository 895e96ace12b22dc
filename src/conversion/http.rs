//! The routes of conversions and receipts: what became of what a shop sent.

#![expect(unused_qualifications, reason = "utoipa repeats the types of two queries")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::conversion::candidate::Candidate;
use crate::conversion::store::{self, ConversionRow, EarnedRow, Filter, ReceiptRow};
use crate::ids::{CommissionId, ConversionId, PartnerId, ProgramId, ReceiptId, SourceId};
use crate::money::{Currency, Money};
use crate::web::fields::{Mistakes, path_id};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// What the database takes as attribution.
const ATTRIBUTIONS: [&str; 14] = [
    "click",
    "coupon",
    "customer",
    "no_click",
    "bad_click_id",
    "other_program",
    "outside_window",
    "before_click",
    "too_soon",
    "not_enrolled",
    "unknown_coupon",
    "coupon_not_begun",
    "coupon_ended",
    "not_in_ladder",
];

/// Adds the routes of conversions and receipts.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_conversions).service(get_conversion).service(get_receipt);
}

/// Which conversions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConversionFilter {
    /// The program.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Only those of this partner, or that it has a part of.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// Only those attributed so: `click`, `coupon`, `customer`, `no_click`, `bad_click_id`,
    /// `other_program`, `outside_window`, `before_click`, `too_soon`, `not_enrolled`,
    /// `unknown_coupon`, `coupon_not_begun`, `coupon_ended`, `not_in_ladder`.
    pub attribution: Option<String>,
}

/// A conversion as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversionBody {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ConversionId,
    /// The program.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Who reported it.
    #[schema(value_type = String)]
    pub source_id: SourceId,
    /// By which way in.
    pub channel: String,
    /// How far the way in is believed.
    pub trust: String,
    /// What was reported: `sale`, `lead` and so on.
    pub event: String,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The click id as it came, also when it did not verify.
    pub click_id: Option<String>,
    /// Who brought the customer; null where it is attributed to nobody.
    #[schema(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// The number of the link.
    pub link_number: Option<i64>,
    /// When the link was clicked.
    #[schema(value_type = Option<String>)]
    pub click_at: Option<Timestamp>,
    /// The step of the ladder that decided (`click`, `coupon` or `customer`), or why it is attributed
    /// to nobody.
    pub attribution: String,
    /// Everything that was looked at for it, and why each counts or not.
    pub candidates: Vec<Candidate>,
    /// What the customer paid, in major units.
    pub amount: Option<String>,
    /// What commissions are reckoned from, in major units.
    pub base: Option<String>,
    /// ISO 4217 code of the amounts.
    pub currency: Option<String>,
    /// What went back to the customer, all refunds together, in major units.
    pub amount_refunded: Option<String>,
    /// Coupon that the customer used.
    pub coupon_code: Option<String>,
    /// Whether it is a trial run that earns nothing.
    pub is_test: bool,
    /// When it happened.
    #[schema(value_type = String)]
    pub occurred_at: Timestamp,
    /// When its message came.
    #[schema(value_type = String)]
    pub received_at: Timestamp,
    /// When it was settled.
    #[schema(value_type = String)]
    pub settled_at: Timestamp,
    /// The receipt of its message.
    #[schema(value_type = String)]
    pub receipt_id: ReceiptId,
    /// What it earned, the first of `commissions`; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commission: Option<EarnedBody>,
    /// What each partner who shares it earned; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commissions: Option<Vec<EarnedBody>>,
}

/// What a conversion earned.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EarnedBody {
    /// The commission.
    #[schema(value_type = String)]
    pub id: CommissionId,
    /// Whose.
    #[schema(value_type = String)]
    pub partner_id: PartnerId,
    /// Where it stands.
    pub status: String,
    /// In major units.
    #[schema(example = "29.98")]
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReceiptBody {
    /// The receipt.
    #[schema(value_type = String)]
    pub receipt: ReceiptId,
    /// `settled`, `duplicate`, `conflict`, `rejected`, `waiting` (for its conversion) or
    /// `dead_letter` (its conversion did not come in time; it can be replayed).
    pub status: String,
    /// Why, or why nothing was earned.
    pub reason: Option<String>,
    /// The conversion that it made or belongs to.
    #[schema(value_type = Option<String>)]
    pub conversion_id: Option<ConversionId>,
    /// What that earned, the first of `commissions`; null for nothing.
    pub commission: Option<EarnedBody>,
    /// What each partner who shares it earned.
    pub commissions: Vec<EarnedBody>,
}

impl ReceiptBody {
    /// Tells what became of the message behind a receipt.
    pub fn new(receipt: ReceiptId, row: ReceiptRow) -> Result<Self, Problem> {
        let ReceiptRow { status, reason, conversion_id, commissions, program_id: _ } = row;
        let commissions: Vec<EarnedBody> =
            commissions.into_iter().map(EarnedBody::try_from).collect::<Result<_, _>>()?;
        let commission = commissions.first().cloned();
        Ok(Self { receipt, status, reason, conversion_id, commission, commissions })
    }
}

impl TryFrom<ConversionRow> for ConversionBody {
    type Error = Problem;

    fn try_from(row: ConversionRow) -> Result<Self, Problem> {
        let candidates = row.attributed().candidates();
        let currency: Option<Currency> =
            row.currency.as_deref().map(str::parse).transpose().map_err(Problem::internal)?;
        let money = |minor: Option<i64>| {
            minor.zip(currency).map(|(minor, c)| Money::new(minor, c).to_decimal_string())
        };
        Ok(Self {
            amount: money(row.amount_minor),
            base: money(row.base_minor),
            amount_refunded: money(Some(row.refunded_minor)),
            currency: row.currency,
            id: row.conversion_id,
            program_id: row.program_id,
            source_id: row.source_id,
            channel: row.channel,
            trust: row.trust,
            event: row.event,
            order_id: row.order_id,
            click_id: row.click_id,
            partner_id: row.partner_id,
            link_number: row.link_number,
            click_at: row.click_at,
            candidates,
            attribution: row.attribution,
            coupon_code: row.coupon_code,
            is_test: row.is_test,
            occurred_at: row.occurred_at,
            received_at: row.received_at,
            settled_at: row.settled_at,
            receipt_id: row.receipt_id,
            commission: None,
            commissions: None,
        })
    }
}

impl ConversionBody {
    /// Returns what a partner sees of it: nothing that tells of another.
    pub fn seen_by(mut self, partner: Option<PartnerId>) -> Self {
        let Some(own) = partner else { return self };
        self.candidates.retain(|candidate| candidate.partner_id == Some(own));
        if self.partner_id != Some(own) {
            (self.partner_id, self.link_number, self.click_at) = (None, None, None);
            (self.click_id, self.coupon_code) = (None, None);
        }
        self
    }
}

impl TryFrom<EarnedRow> for EarnedBody {
    type Error = Problem;

    fn try_from(row: EarnedRow) -> Result<Self, Problem> {
        let currency = row.currency.parse().map_err(Problem::internal)?;
        Ok(Self {
            id: row.commission_id,
            partner_id: row.partner_id,
            status: row.state,
            amount: Money::new(row.amount_minor, currency).to_decimal_string(),
            currency: row.currency,
        })
    }
}

/// Lists the conversions of a program.
#[utoipa::path(tag = "conversions", params(ConversionFilter, PageQuery), responses(
    (status = 200, body = Page<ConversionBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/conversions")]
async fn list_conversions(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    filter: Query<ConversionFilter>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let ConversionFilter { program_id, partner_id, attribution } = filter.into_inner();
    caller.check_reach(program_id)?;
    let (limit, after) = (page.limit()?, page.after()?);
    if let Some(attribution) = &attribution {
        let mut wrong = Mistakes::default();
        wrong.one_of("/attribution", attribution, &ATTRIBUTIONS);
        wrong.end()?;
    }
    let filter = Filter { program_id, partner_id, attribution, after };
    let db = app.db.clone();
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::list_conversions(&mut db, &filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |row| row.conversion_id);
    let data: Result<Vec<_>, Problem> =
        page.data.into_iter().map(ConversionBody::try_from).collect();
    let (has_more, next_cursor) = (page.has_more, page.next_cursor);
    Ok(HttpResponse::Ok().json(Page { data: data?, has_more, next_cursor }))
}

/// Shows a conversion and what it earned.
#[utoipa::path(tag = "conversions", responses(
    (status = 200, body = ConversionBody), (status = 404, body = ProblemBody)))]
#[get("/v1/conversions/{id}")]
async fn get_conversion(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: ConversionId = path_id(&id)?;
    let db = app.db.clone();
    let answer = detached(async move {
        let mut db = db.acquire().await?;
        let found = store::find_conversion(&mut db, id).await?;
        let row = found
            .filter(|row| caller.reaches(row.program_id))
            .ok_or_else(|| Problem::new(Code::NotFound))?;
        let earned = store::load_earned(&mut db, &[(row.program_id, id)]).await?.remove(&id);
        let mut answer = ConversionBody::try_from(row)?;
        let earned = earned.unwrap_or_default().into_iter().map(EarnedBody::try_from);
        let earned: Vec<EarnedBody> = earned.collect::<Result<_, _>>()?;
        answer.commission = earned.first().cloned();
        answer.commissions = Some(earned);
        Ok(answer)
    })
    .await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Tells what became of a message, by the receipt in the answer to it.
#[utoipa::path(tag = "conversions", responses(
    (status = 200, body = ReceiptBody), (status = 404, body = ProblemBody)))]
#[get("/v1/receipts/{id}")]
async fn get_receipt(
    app: Data<App>,
    caller: Caller<scope::ConversionsRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let receipt: ReceiptId = path_id(&id)?;
    let db = app.db.clone();
    let found = detached(async move {
        let mut db = db.acquire().await?;
        Ok(store::find_receipt(&mut db, receipt).await?)
    })
    .await?;
    let row = found.filter(|row| caller.reaches(row.program_id)).ok_or_else(|| {
        Problem::new(Code::NotFound).detail(
            "No message with this receipt is settled. If it was accepted just now, ask again in \
             a second.",
        )
    })?;
    Ok(HttpResponse::Ok().json(ReceiptBody::new(receipt, row)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_without_a_currency_are_not_shown() {
        let at = Timestamp::UNIX_EPOCH;
        let row = ConversionRow {
            program_id: ProgramId::new(),
            conversion_id: ConversionId::new(),
            source_id: SourceId::new(),
            channel: "webhook".to_owned(),
            trust: "signed".to_owned(),
            event: "sale".to_owned(),
            order_id: None,
            click_id: None,
            partner_id: None,
            link_number: None,
            click_at: None,
            attribution: "no_click".to_owned(),
            candidates: None,
            path: None,
            amount_minor: Some(14_990),
            base_minor: Some(12_000),
            currency: Some("EUR".to_owned()),
            refunded_minor: 0,
            coupon_code: None,
            is_test: false,
            occurred_at: at,
            received_at: at,
            settled_at: at,
            receipt_id: ReceiptId::new(),
        };
        let shown = ConversionBody::try_from(row.clone()).unwrap();
        assert_eq!(shown.amount.as_deref(), Some("149.90"));
        assert_eq!(shown.base.as_deref(), Some("120.00"));
        assert_eq!(shown.amount_refunded.as_deref(), Some("0.00"));
        let lead = ConversionRow { amount_minor: None, base_minor: None, currency: None, ..row };
        let shown = ConversionBody::try_from(lead).unwrap();
        assert_eq!((shown.amount, shown.amount_refunded), (None, None));
    }
}

//! SQL of conversions and receipts: reads only, settlement writes them.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::conversion::candidate::Attributed;
use crate::ids::{CommissionId, ConversionId, PartnerId, ProgramId, ReceiptId, SourceId};

/// A conversion as it lies in the table.
#[derive(Clone, Debug)]
pub struct ConversionRow {
    /// The program.
    pub program_id: ProgramId,
    /// Key of the row.
    pub conversion_id: ConversionId,
    /// Who reported it.
    pub source_id: SourceId,
    /// By which way in.
    pub channel: String,
    /// How far the way in is believed.
    pub trust: String,
    /// What was reported.
    pub event: String,
    /// The shop's own name of the order.
    pub order_id: Option<String>,
    /// The click id as it came, also when it did not verify.
    pub click_id: Option<String>,
    /// Who brought the customer.
    pub partner_id: Option<PartnerId>,
    /// With which link.
    pub link_number: Option<i64>,
    /// When.
    pub click_at: Option<Timestamp>,
    /// The step of the ladder that decided, or why it is attributed to nobody.
    pub attribution: String,
    /// What was looked at; where nothing is kept, the click was all there was.
    pub candidates: Option<serde_json::Value>,
    /// The clicks that led to it, where the shop named more than the last.
    pub path: Option<serde_json::Value>,
    /// What the customer paid.
    pub amount_minor: Option<i64>,
    /// What commissions are reckoned from.
    pub base_minor: Option<i64>,
    /// ISO 4217 code of the amounts.
    pub currency: Option<String>,
    /// What went back to the customer, all refunds together.
    pub refunded_minor: i64,
    /// Coupon that the customer used.
    pub coupon_code: Option<String>,
    /// A trial run that earns nothing.
    pub is_test: bool,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When its message came.
    pub received_at: Timestamp,
    /// When it was settled.
    pub settled_at: Timestamp,
    /// The receipt of its message.
    pub receipt_id: ReceiptId,
}

impl ConversionRow {
    /// Returns how it was attributed.
    pub fn attributed(&self) -> Attributed<'_> {
        Attributed {
            attribution: &self.attribution,
            partner_id: self.partner_id,
            link_number: self.link_number,
            click_at: self.click_at,
            kept: self.candidates.as_ref(),
        }
    }
}

/// Which conversions to list; what is not given does not limit.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of this program.
    pub program_id: ProgramId,
    /// Of this partner, or with a part of it.
    pub partner_id: Option<PartnerId>,
    /// Attributed so.
    pub attribution: Option<String>,
    /// After this one, in the order of settlement.
    pub after: Option<ConversionId>,
}

/// Lists conversions in the order in which they were settled.
pub async fn list_conversions(
    db: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<ConversionRow>, sqlx::Error> {
    sqlx::query_as!(
        ConversionRow,
        r#"select program_id as "program_id: ProgramId",
                  conversion_id as "conversion_id: ConversionId",
                  source_id as "source_id: SourceId", channel, trust, event, order_id, click_id,
                  partner_id as "partner_id: PartnerId", link_number, click_at, attribution,
                  candidates, path, amount_minor, base_minor, currency, refunded_minor, coupon_code,
                  is_test, occurred_at, received_at, settled_at, receipt_id as "receipt_id: ReceiptId"
           from conversions
           where program_id = $1
             and ($2::uuid is null or partner_id = $2
                  or (path is not null and exists (
                      select from commissions m
                      where m.program_id = $1 and m.conversion_id = conversions.conversion_id
                        and m.partner_id = $2 and m.kind = 'earned')))
             and ($3::text is null or attribution = $3)
             and ($4::uuid is null or conversion_id > $4)
           order by conversion_id
           limit $5"#,
        filter.program_id.0,
        filter.partner_id.map(|p| p.0),
        filter.attribution,
        filter.after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Finds a conversion. Asked program by program, because that is how the rows are keyed.
pub async fn find_conversion(
    db: &mut PgConnection,
    conversion_id: ConversionId,
) -> Result<Option<ConversionRow>, sqlx::Error> {
    sqlx::query_as!(
        ConversionRow,
        r#"select c.program_id as "program_id: ProgramId",
                  c.conversion_id as "conversion_id: ConversionId",
                  c.source_id as "source_id: SourceId", c.channel, c.trust, c.event, c.order_id,
                  c.click_id, c.partner_id as "partner_id: PartnerId", c.link_number, c.click_at,
                  c.attribution, c.candidates, c.path, c.amount_minor, c.base_minor, c.currency,
                  c.refunded_minor, c.coupon_code, c.is_test, c.occurred_at, c.received_at, c.settled_at,
                  c.receipt_id as "receipt_id: ReceiptId"
           from programs p
           join conversions c on c.program_id = p.program_id and c.conversion_id = $1"#,
        conversion_id.0,
    )
    .fetch_optional(db)
    .await
}

/// What became of a message.
#[derive(Clone, Debug)]
pub struct ReceiptRow {
    /// The program.
    pub program_id: ProgramId,
    /// `settled`, `duplicate`, `conflict`, `rejected`, `waiting` or `dead_letter`.
    pub status: String,
    /// Why, or why nothing was earned.
    pub reason: Option<String>,
    /// The conversion that it made or belongs to.
    pub conversion_id: Option<ConversionId>,
    /// What that earned: one for each partner who shares it.
    pub commissions: Vec<EarnedRow>,
}

/// What a conversion earned.
#[derive(Clone, Debug)]
pub struct EarnedRow {
    /// The commission.
    pub commission_id: CommissionId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Where it stands.
    pub state: String,
    /// In minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// Finds what became of a message; `None` while it is not settled.
pub async fn find_receipt(
    db: &mut PgConnection,
    receipt_id: ReceiptId,
) -> Result<Option<ReceiptRow>, sqlx::Error> {
    Ok(find_receipts(db, &[receipt_id]).await?.into_iter().next().map(|(_, row)| row))
}

/// Finds what became of messages; those that are not settled are left out.
pub async fn find_receipts(
    db: &mut PgConnection,
    receipts: &[ReceiptId],
) -> Result<Vec<(ReceiptId, ReceiptRow)>, sqlx::Error> {
    let ids: Vec<_> = receipts.iter().map(|r| r.0).collect();
    let rows = sqlx::query!(
        r#"select m.receipt_id as "receipt_id: ReceiptId", m.program_id as "program_id: ProgramId",
                  m.status, m.reason, m.conversion_id as "conversion_id: ConversionId"
           from webhook_messages m
           where m.receipt_id = any($1)
           order by m.settled_at"#,
        &ids,
    )
    .fetch_all(&mut *db)
    .await?;
    let conversions: Vec<(ProgramId, ConversionId)> =
        rows.iter().filter_map(|row| Some((row.program_id, row.conversion_id?))).collect();
    let earned = load_earned(db, &conversions).await?;
    let told = rows.into_iter().map(|row| {
        let commissions = row.conversion_id.and_then(|id| earned.get(&id).cloned());
        let receipt = ReceiptRow {
            program_id: row.program_id,
            status: row.status,
            reason: row.reason,
            conversion_id: row.conversion_id,
            commissions: commissions.unwrap_or_default(),
        };
        (row.receipt_id, receipt)
    });
    Ok(told.collect())
}

/// Loads what conversions earned: one commission for each partner who shares them.
pub async fn load_earned(
    db: &mut PgConnection,
    conversions: &[(ProgramId, ConversionId)],
) -> Result<HashMap<ConversionId, Vec<EarnedRow>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.conversion_id as "conversion_id!: ConversionId",
                  c.commission_id as "commission_id: CommissionId",
                  c.partner_id as "partner_id: PartnerId", c.state, c.amount_minor, c.currency
           from commissions c
           where (c.program_id, c.conversion_id) in (select * from unnest($1::uuid[], $2::uuid[]))
             and c.kind = 'earned'
           order by c.commission_id"#,
        &conversions.iter().map(|c| c.0.0).collect::<Vec<_>>(),
        &conversions.iter().map(|c| c.1.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let mut earned: HashMap<ConversionId, Vec<EarnedRow>> = HashMap::new();
    for row in rows {
        earned.entry(row.conversion_id).or_default().push(EarnedRow {
            commission_id: row.commission_id,
            partner_id: row.partner_id,
            state: row.state,
            amount_minor: row.amount_minor,
            currency: row.currency,
        });
    }
    Ok(earned)
}

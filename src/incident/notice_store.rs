//! SQL of notices: what others are to be told of a case, in the transaction of its opening.

use sqlx::PgConnection;

use super::case::{Kind, Listing};
use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{CaseId, NoticeId, PartnerId, ProgramId};
use crate::money::{Currency, Money};
use crate::outbound::{ACTIVITY_DECLINED, ActivityDeclined, Notice, store as outbound};

/// A case that was just opened.
#[derive(Clone, Debug)]
pub struct Declined<'a> {
    /// The program.
    pub program_id: ProgramId,
    /// The case.
    pub case_id: CaseId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Will not or cannot.
    pub kind: Kind,
    /// The figures.
    pub listing: &'a Listing,
}

/// Leaves a notice that a partner's activity declined.
pub async fn declined(
    db: &mut DbTx,
    case: &Declined<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Declined { listing, .. } = case;
    let worth = worth(db, case).await?;
    let payload = ActivityDeclined {
        partner_id: case.partner_id.to_string(),
        partner_name: worth.partner_name,
        severity: listing.severity.clone(),
        since: listing.since,
        share_lost_percent: i64::from(listing.share_lost_percent),
        lost_commission_next_28d: worth.lost.to_decimal_string(),
        currency: worth.lost.currency.code().to_owned(),
        possible_cause: listing.possible_cause.clone(),
        remedy: listing.advice.clone(),
        case_id: Some(case.case_id.to_string()),
    };
    let notice = Notice {
        program_id: case.program_id,
        notice_id: NoticeId::new(),
        kind: ACTIVITY_DECLINED.to_owned(),
        subject: case.case_id.to_string(),
        payload: serde_json::to_value(payload).map_err(|e| sqlx::Error::Encode(e.into()))?,
        created_at: now,
    };
    outbound::insert_notice(db, &notice).await
}

struct Worth {
    partner_name: String,
    lost: Money,
}

/// Prices what will be lost by what the partner's clicks, or conversions, have earned so far.
async fn worth(db: &mut PgConnection, case: &Declined<'_>) -> Result<Worth, sqlx::Error> {
    let row = sqlx::query!(
        r#"select p.name, g.currency,
                  (select coalesce(sum(c.amount_minor), 0)::bigint from commissions c
                   where c.program_id = g.program_id and c.partner_id = p.partner_id
                     and c.currency = g.currency
                     and c.state not in ('rejected', 'reversed')) as "earned_minor!",
                  (select count(*) from commissions c
                   where c.program_id = g.program_id and c.partner_id = p.partner_id
                     and c.kind = 'earned') as "n_conversions!",
                  (select coalesce(sum(h.n_unique), 0)::bigint from click_hours h
                   where h.program_id = g.program_id and h.partner_id = p.partner_id
                     and h.class = 0) as "n_clicks!"
           from programs g, partners p
           where g.program_id = $1 and p.partner_id = $2"#,
        case.program_id.0,
        case.partner_id.0,
    )
    .fetch_one(db)
    .await?;
    let currency: Currency = row.currency.parse().map_err(|_| {
        sqlx::Error::Decode(format!("programs.currency holds {:?}", row.currency).into())
    })?;
    let per = match case.kind {
        Kind::WillNotSell => row.n_clicks,
        Kind::CannotSell => row.n_conversions,
    };
    let lost = i128::from(case.listing.lost_next_28d) * i128::from(row.earned_minor)
        / i128::from(per.max(1));
    let minor = i64::try_from(lost).unwrap_or(i64::MAX);
    Ok(Worth { partner_name: row.name, lost: Money::new(minor, currency) })
}

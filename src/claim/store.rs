//! SQL of claims: the rows, and what evidence rests on.

use chrono::NaiveDate;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::claim::evidence::{KnownOrder, Order};
use crate::claim::{Claim, NewClaim, Status};
use crate::clock::Timestamp;
use crate::ids::{
    ClaimId, CommissionId, ConversionId, PartnerId, PartnerNo, ProgramId, ProgramNo, ReceiptId,
};

/// Inserts a claim that is still to be judged; false where the partner has claimed this order.
pub async fn insert(db: &mut PgConnection, claim: &Claim) -> Result<bool, sqlx::Error> {
    let said = &claim.said;
    let done = sqlx::query!(
        "insert into claims
             (program_id, claim_id, partner_id, event, order_id, occurred_at, click_id,
              coupon_code, note, status, reason, sentence, evidence, deadline_at, created_at,
              created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict on constraint claims_once do nothing",
        said.program_id.0,
        claim.claim_id.0,
        said.partner_id.0,
        said.event,
        said.order_id,
        said.occurred_at,
        said.click_id,
        said.coupon_code,
        said.note,
        claim.status.code(),
        claim.reason,
        claim.sentence,
        claim.evidence,
        claim.deadline_at,
        claim.created_at,
        claim.created_by,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes how a claim stands now.
pub async fn update(db: &mut PgConnection, claim: &Claim) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update claims
         set status = $3, reason = $4, sentence = $5, evidence = $6, conversion_id = $7,
             commission_id = $8, decided_at = $9, decided_by = $10, decision_note = $11
         where program_id = $1 and claim_id = $2",
        claim.said.program_id.0,
        claim.claim_id.0,
        claim.status.code(),
        claim.reason,
        claim.sentence,
        claim.evidence,
        claim.conversion_id.map(|c| c.0),
        claim.commission_id.map(|c| c.0),
        claim.decided.as_ref().map(|d| d.0),
        claim.decided.as_ref().map(|d| d.1.clone()),
        claim.decision_note,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A row as it lies in the table.
struct Row {
    program_id: ProgramId,
    claim_id: ClaimId,
    partner_id: PartnerId,
    event: String,
    order_id: String,
    occurred_at: Option<Timestamp>,
    click_id: Option<String>,
    coupon_code: Option<String>,
    note: Option<String>,
    status: String,
    reason: String,
    sentence: String,
    evidence: serde_json::Value,
    deadline_at: Timestamp,
    conversion_id: Option<ConversionId>,
    commission_id: Option<CommissionId>,
    created_at: Timestamp,
    created_by: String,
    decided_at: Option<Timestamp>,
    decided_by: Option<String>,
    decision_note: Option<String>,
}

impl TryFrom<Row> for Claim {
    type Error = sqlx::Error;

    fn try_from(r: Row) -> Result<Self, sqlx::Error> {
        let unknown = || sqlx::Error::Decode(format!("claims.status holds {:?}", r.status).into());
        Ok(Self {
            status: Status::from_code(&r.status).ok_or_else(unknown)?,
            claim_id: r.claim_id,
            said: NewClaim {
                program_id: r.program_id,
                partner_id: r.partner_id,
                event: r.event,
                order_id: r.order_id,
                occurred_at: r.occurred_at,
                click_id: r.click_id,
                coupon_code: r.coupon_code,
                note: r.note,
            },
            reason: r.reason,
            sentence: r.sentence,
            evidence: r.evidence,
            deadline_at: r.deadline_at,
            conversion_id: r.conversion_id,
            commission_id: r.commission_id,
            created_at: r.created_at,
            created_by: r.created_by,
            decided: r.decided_at.zip(r.decided_by),
            decision_note: r.decision_note,
        })
    }
}

/// Which claims to list; what is not given does not limit.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these programs.
    pub programs: Option<Vec<Uuid>>,
    /// Of this partner.
    pub partner_id: Option<PartnerId>,
    /// In this status.
    pub status: Option<Status>,
    /// This one alone.
    pub claim_id: Option<ClaimId>,
    /// Of this event and order.
    pub order: Option<(String, String)>,
    /// After this deadline and this claim.
    pub after: Option<(Timestamp, ClaimId)>,
}

/// Lists claims by their deadlines, the nearest first.
pub async fn list(
    db: &mut PgConnection,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Claim>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId", claim_id as "claim_id: ClaimId",
                  partner_id as "partner_id: PartnerId", event, order_id, occurred_at, click_id,
                  coupon_code, note, status, reason, sentence, evidence, deadline_at,
                  conversion_id as "conversion_id: ConversionId",
                  commission_id as "commission_id: CommissionId", created_at, created_by,
                  decided_at, decided_by, decision_note
           from claims
           where ($1::uuid[] is null or program_id = any($1))
             and ($2::uuid is null or partner_id = $2)
             and ($3::text is null or status = $3)
             and ($4::uuid is null or claim_id = $4)
             and ($5::text is null or (event = $5 and order_id = $6))
             and ($7::timestamptz is null or (deadline_at, claim_id) > ($7, $8))
           order by deadline_at, claim_id
           limit $9"#,
        filter.programs.as_deref(),
        filter.partner_id.map(|p| p.0),
        filter.status.map(Status::code),
        filter.claim_id.map(|c| c.0),
        filter.order.as_ref().map(|o| o.0.clone()),
        filter.order.as_ref().map(|o| o.1.clone()),
        filter.after.map(|a| a.0),
        filter.after.map(|a| a.1.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Claim::try_from).collect()
}

/// Finds the program of a claim and keeps others from deciding it until the transaction ends.
/// Asked program by program, because that is how the rows are keyed.
pub async fn lock(
    db: &mut PgConnection,
    claim_id: ClaimId,
) -> Result<Option<ProgramId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select c.program_id as "program_id: ProgramId"
           from programs p
           join claims c on c.program_id = p.program_id and c.claim_id = $1
           for update of c"#,
        claim_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Locks and names open claims whose deadline has passed. Those that another process decides are
/// passed over.
pub async fn lock_due(
    db: &mut PgConnection,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(ProgramId, ClaimId)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", claim_id as "claim_id: ClaimId"
           from claims
           where status = 'open' and deadline_at <= $1
           order by deadline_at, claim_id
           limit $2
           for update skip locked"#,
        now,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|r| (r.program_id, r.claim_id)).collect())
}

/// Who claims where, as click ids name them.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// The program's number in tokens.
    pub program: ProgramNo,
    /// The partner's number in tokens.
    pub partner: PartnerNo,
}

/// What the program's attribution policy says of clicks.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Days within which a click counts.
    pub window_days: i32,
    /// Seconds before which it does not.
    pub min_seconds: i32,
}

/// Finds the numbers of a partner that is enrolled in a program.
pub async fn find_parties(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<Parties>, sqlx::Error> {
    let row = sqlx::query!(
        "select g.number as program, p.number as partner
         from enrollments e
         join programs g on g.program_id = e.program_id
         join partners p on p.partner_id = e.partner_id
         where e.program_id = $1 and e.partner_id = $2",
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Parties {
        program: ProgramNo(u32::try_from(r.program).unwrap_or(0)),
        partner: PartnerNo(u32::try_from(r.partner).unwrap_or(0)),
    }))
}

/// Finds what the policy that was in force at a time says of clicks.
pub async fn find_limits(
    db: &mut PgConnection,
    program_id: ProgramId,
    at: Timestamp,
) -> Result<Limits, sqlx::Error> {
    let found = sqlx::query_as!(
        Limits,
        r#"select (document ->> 'window_days')::integer as "window_days!",
                  (document ->> 'min_seconds')::integer as "min_seconds!"
           from attribution_policies
           where program_id = $1 and effective_from <= $2
           order by effective_from desc
           limit 1"#,
        program_id.0,
        at,
    )
    .fetch_optional(db)
    .await?;
    Ok(found.unwrap_or(Limits { window_days: 30, min_seconds: 0 }))
}

/// Finds the order that a claim names, in whichever namespace of the program's sources it lies.
pub async fn find_order(db: &mut PgConnection, said: &NewClaim) -> Result<Order, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select c.conversion_id as "conversion_id: ConversionId",
                  c.receipt_id as "receipt_id: ReceiptId", c.occurred_at, c.is_test,
                  (c.amount_minor is not null and c.refunded_minor >= c.amount_minor)
                      as "is_refunded!",
                  c.attribution, c.partner_id as "partner_id: PartnerId", c.click_at, c.click_id,
                  c.coupon_code
           from conversions c
           where c.program_id = $1
             and c.order_namespace in (
                 select s.order_namespace from sources s where s.program_id = $1)
             and c.event = $2
             and c.dedup_ref = $3
           limit 2"#,
        said.program_id.0,
        said.event,
        said.order_id,
    )
    .fetch_all(&mut *db)
    .await?;
    if rows.len() > 1 {
        return Ok(Order::Several);
    }
    let Some(r) = rows.into_iter().next() else { return Ok(Order::Unknown) };
    let earned = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId",
                  commission_id as "commission_id: CommissionId"
           from commissions
           where program_id = $1 and conversion_id = $2 and kind = 'earned'
             and state not in ('rejected', 'reversed')
           order by commission_id"#,
        said.program_id.0,
        r.conversion_id.0,
    )
    .fetch_all(db)
    .await?;
    Ok(Order::Known(KnownOrder {
        conversion_id: r.conversion_id,
        receipt_id: r.receipt_id,
        occurred_at: r.occurred_at,
        is_test: r.is_test,
        is_refunded: r.is_refunded,
        attribution: r.attribution,
        clicked_partner: r.partner_id,
        click_at: r.click_at,
        click_id: r.click_id,
        coupon_code: r.coupon_code,
        earned_by: earned.into_iter().map(|e| (e.partner_id, e.commission_id)).collect(),
    }))
}

/// Tells whether a click is there and was a person's; none where its day was dropped.
pub async fn is_human_click(
    db: &mut PgConnection,
    program_id: ProgramId,
    at: Timestamp,
    click_id: Uuid,
) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select case when $2 >= coalesce((select kept_from from click_retention), $2)
                  then exists (
                      select from clicks
                      where program_id = $1 and day = $2 and click_id = $3 and class = 0)
                  end as "is_human?""#,
        program_id.0,
        at.date_naive(),
        click_id,
    )
    .fetch_one(db)
    .await
}

/// What happened around an order.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The last human click of the partner within the window.
    pub last_click_at: Option<Timestamp>,
    /// Human clicks of the partner within a day before.
    pub n_clicks_day: i64,
    /// The first day of which clicks are kept, where earlier ones were dropped.
    pub clicks_from: Option<NaiveDate>,
    /// Orders that the program's shops reported within an hour.
    pub n_orders_near: i64,
    /// Messages about the order that wait for it.
    pub n_waiting: i64,
}

/// Looks around an order that happened `at`.
pub async fn look_around(
    db: &mut PgConnection,
    said: &NewClaim,
    at: Timestamp,
    window_days: i32,
) -> Result<Surroundings, sqlx::Error> {
    let from = at - chrono::Duration::days(window_days.into());
    sqlx::query_as!(
        Surroundings,
        r#"with hours as (
               select h.hour, sum(h.n_clicks) as n_clicks,
                      click_keys_from(h.hour) as key_from,
                      click_keys_from(h.hour + interval '1 hour') as key_to
               from click_hours h
               where h.program_id = $1 and h.partner_id = $2 and h.class = 0
                 and h.hour > least($4, $3::timestamptz - interval '1 day') - interval '1 hour'
                 and h.hour <= $3
               group by h.hour)
           select (select last.at
                   from hours h
                   -- Hour by hour into the past, no further than to the first that has one.
                   cross join lateral (
                       select max(k.at) as at from clicks k
                       where k.program_id = $1 and k.day = (h.hour at time zone 'UTC')::date
                         and k.click_id >= h.key_from and k.click_id < h.key_to
                         and k.partner_id = $2 and k.class = 0 and k.at >= $4 and k.at <= $3) last
                   where last.at is not null
                   order by h.hour desc
                   limit 1) as last_click_at,
                  (select coalesce(sum(coalesce(part.n, h.n_clicks)), 0)::bigint
                   from hours h
                   left join lateral (
                       select count(*) as n from clicks k
                       where k.program_id = $1 and k.day = (h.hour at time zone 'UTC')::date
                         and k.click_id >= h.key_from and k.click_id < h.key_to
                         and k.partner_id = $2 and k.class = 0
                         and k.at > $3::timestamptz - interval '1 day' and k.at <= $3) part
                     -- The sums tell of whole hours.
                     on h.hour <= $3::timestamptz - interval '1 day'
                        or h.hour > $3::timestamptz - interval '1 hour'
                   where h.hour > $3::timestamptz - interval '25 hours') as "n_clicks_day!",
                  (select kept_from from click_retention) as "clicks_from?",
                  (select count(*) from conversions c
                   where c.program_id = $1
                     and c.occurred_at >= $3::timestamptz - interval '1 hour'
                     and c.occurred_at <= $3::timestamptz + interval '1 hour'
                     and not (c.event = $5 and c.dedup_ref = $6)) as "n_orders_near!",
                  (select count(*) from waiting_messages w
                   where w.program_id = $1 and w.event = $5 and w.dedup_ref = $6)
                      as "n_waiting!""#,
        said.program_id.0,
        said.partner_id.0,
        at,
        from,
        said.event,
        said.order_id,
    )
    .fetch_one(db)
    .await
}

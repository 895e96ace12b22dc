//! SQL of notices, endpoints and deliveries.
//!
//! Whoever changes an endpoint and its deliveries in one transaction changes the endpoint first,
//! so that two such transactions wait for each other instead of locking each other out.

use serde_json::Value;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{EndpointId, NoticeId, ProgramId, SecretId};
use crate::outbound::{Delivery, Endpoint, Notice};

/// Inserts a notice, in the transaction of what it tells of.
pub async fn insert_notice(db: &mut PgConnection, n: &Notice) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into notices (program_id, notice_id, kind, subject, payload, created_at)
         values ($1, $2, $3, $4, $5, $6)",
        n.program_id.0,
        n.notice_id.0,
        n.kind,
        n.subject,
        n.payload,
        n.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Inserts a notice that goes to one endpoint, whatever kinds it wants.
pub async fn insert_notice_for(
    db: &mut PgConnection,
    n: &Notice,
    endpoint_id: EndpointId,
) -> Result<(), sqlx::Error> {
    insert_notice(&mut *db, n).await?;
    sqlx::query!(
        "update notices set dispatched_at = $3 where program_id = $1 and notice_id = $2",
        n.program_id.0,
        n.notice_id.0,
        n.created_at,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into deliveries (program_id, endpoint_id, notice_id, next_attempt_at, created_at)
         values ($1, $2, $3, $4, $4)",
        n.program_id.0,
        endpoint_id.0,
        n.notice_id.0,
        n.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Turns up to `limit` notices into deliveries for the endpoints that want them; returns how many
/// notices there were.
pub async fn dispatch(
    db: &mut PgConnection,
    now: Timestamp,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        "with fresh as (
             select n.program_id, n.notice_id, n.kind
             from notices n
             where n.dispatched_at is null
             order by n.created_at
             limit $2
             for update skip locked
         ), made as (
             insert into deliveries
                 (program_id, endpoint_id, notice_id, next_attempt_at, created_at)
             select f.program_id, e.endpoint_id, f.notice_id, $1, $1
             from fresh f
             join webhook_endpoints e on e.program_id = f.program_id
             where e.status = 'active' and ('*' = any(e.kinds) or f.kind = any(e.kinds))
             on conflict on constraint deliveries_pkey do nothing
         )
         update notices n
         set dispatched_at = $1
         from fresh f
         where n.program_id = f.program_id and n.notice_id = f.notice_id",
        now,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A delivery that this instance holds.
#[derive(Clone, Debug)]
pub struct Due {
    /// Whose it is.
    pub program_id: ProgramId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// What it tells.
    pub notice_id: NoticeId,
    /// Number of this attempt, from 1; whoever holds another number has lost the row.
    pub attempts: i32,
    /// Where messages go.
    pub url: String,
    /// Kind of the notice.
    pub kind: String,
    /// Its payload.
    pub payload: Value,
    /// When it was decided.
    pub decided_at: Timestamp,
}

/// How many deliveries may be held at once.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Now, by this instance.
    pub limit: i64,
    /// For one endpoint, by all instances: a slow receiver must not hold up the others.
    pub per_endpoint: i64,
}

/// Takes deliveries that are due and holds them until `leased_until`.
pub async fn claim(
    db: &mut PgConnection,
    now: Timestamp,
    leased_until: Timestamp,
    bounds: Bounds,
) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query_as!(
        Due,
        r#"with due as (
               select d.program_id, d.endpoint_id, d.notice_id
               from webhook_endpoints e
               cross join lateral (
                   select x.program_id, x.endpoint_id, x.notice_id, x.next_attempt_at
                   from deliveries x
                   where x.program_id = e.program_id and x.endpoint_id = e.endpoint_id
                     and x.status = 'pending' and x.next_attempt_at <= $1
                     and (x.leased_until is null or x.leased_until <= $1)
                   order by x.next_attempt_at
                   limit greatest(0, $4 - (
                       select count(*)
                       from deliveries held
                       where held.program_id = e.program_id and held.endpoint_id = e.endpoint_id
                         and held.status = 'pending' and held.leased_until > $1))
                   for update skip locked) d
               where e.status = 'active'
               order by d.next_attempt_at
               limit $3
           )
           update deliveries x
           set leased_until = $2, attempts = x.attempts + 1
           from due, notices n, webhook_endpoints e
           where x.program_id = due.program_id and x.endpoint_id = due.endpoint_id
             and x.notice_id = due.notice_id
             and n.program_id = due.program_id and n.notice_id = due.notice_id
             and e.program_id = due.program_id and e.endpoint_id = due.endpoint_id
           returning x.program_id as "program_id: ProgramId",
                     x.endpoint_id as "endpoint_id: EndpointId",
                     x.notice_id as "notice_id: NoticeId", x.attempts, e.url, n.kind, n.payload,
                     n.created_at as decided_at"#,
        now,
        leased_until,
        bounds.limit,
        bounds.per_endpoint,
    )
    .fetch_all(db)
    .await
}

/// Writes down that a message was taken.
pub async fn mark_delivered(
    db: &mut PgConnection,
    due: &Due,
    status: u16,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_endpoints set failing_since = null
         where program_id = $1 and endpoint_id = $2 and failing_since is not null",
        due.program_id.0,
        due.endpoint_id.0,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update deliveries
         set status = 'delivered', leased_until = null, last_status = $5, last_error = null,
             delivered_at = $6
         where program_id = $1 and endpoint_id = $2 and notice_id = $3
           and attempts = $4 and status = 'pending'",
        due.program_id.0,
        due.endpoint_id.0,
        due.notice_id.0,
        due.attempts,
        i32::from(status),
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes down that an endpoint has failed, and returns since when it has; none if it is gone.
pub async fn note_failure(
    db: &mut PgConnection,
    due: &Due,
    now: Timestamp,
) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"update webhook_endpoints set failing_since = coalesce(failing_since, $3)
           where program_id = $1 and endpoint_id = $2
           returning failing_since as "failing_since!""#,
        due.program_id.0,
        due.endpoint_id.0,
        now,
    )
    .fetch_optional(db)
    .await
}

/// Writes down that a message was not taken; without a next attempt it has failed for good.
pub async fn mark_failed(
    db: &mut PgConnection,
    due: &Due,
    (status, error): (Option<u16>, &str),
    next_attempt_at: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update deliveries
         set status = case when $7::timestamptz is null then 'failed' else 'pending' end,
             next_attempt_at = coalesce($7, next_attempt_at), leased_until = null,
             last_status = $5, last_error = $6
         where program_id = $1 and endpoint_id = $2 and notice_id = $3
           and attempts = $4 and status = 'pending'",
        due.program_id.0,
        due.endpoint_id.0,
        due.notice_id.0,
        due.attempts,
        status.map(i32::from),
        error,
        next_attempt_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Sets whether an endpoint is called; disabling ends what is pending. Returns false if it was so.
pub async fn set_status(
    db: &mut PgConnection,
    (program_id, endpoint_id): (ProgramId, EndpointId),
    status: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let changed = sqlx::query!(
        "update webhook_endpoints set status = $3, failing_since = null, updated_at = $4
         where program_id = $1 and endpoint_id = $2 and status <> $3",
        program_id.0,
        endpoint_id.0,
        status,
        now,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update deliveries d
         set status = 'failed', leased_until = null,
             last_error = coalesce(d.last_error || '; ', '') || 'the endpoint was disabled'
         from webhook_endpoints e
         where d.program_id = $1 and d.endpoint_id = $2 and d.status = 'pending'
           and e.program_id = $1 and e.endpoint_id = $2 and e.status = 'disabled'",
        program_id.0,
        endpoint_id.0,
    )
    .execute(db)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Inserts an endpoint.
pub async fn insert_endpoint(db: &mut PgConnection, e: &Endpoint) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into webhook_endpoints
             (program_id, endpoint_id, url, kinds, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $5)",
        e.program_id.0,
        e.endpoint_id.0,
        e.url,
        &e.kinds[..],
        e.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds an endpoint by its id.
pub async fn find_endpoint(
    db: &mut PgConnection,
    endpoint_id: EndpointId,
) -> Result<Option<Endpoint>, sqlx::Error> {
    sqlx::query_as!(
        Endpoint,
        r#"select program_id as "program_id: ProgramId",
                  endpoint_id as "endpoint_id: EndpointId", url, kinds, status, failing_since,
                  created_at
           from webhook_endpoints
           where endpoint_id = $1"#,
        endpoint_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Finds an endpoint and keeps others from changing it until the transaction ends.
pub async fn lock_endpoint(
    db: &mut PgConnection,
    endpoint_id: EndpointId,
) -> Result<Option<Endpoint>, sqlx::Error> {
    sqlx::query_as!(
        Endpoint,
        r#"select program_id as "program_id: ProgramId",
                  endpoint_id as "endpoint_id: EndpointId", url, kinds, status, failing_since,
                  created_at
           from webhook_endpoints
           where endpoint_id = $1
           for no key update"#,
        endpoint_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Lists the endpoints of a program, after the given one.
pub async fn list_endpoints(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: Option<EndpointId>,
    limit: i64,
) -> Result<Vec<Endpoint>, sqlx::Error> {
    sqlx::query_as!(
        Endpoint,
        r#"select program_id as "program_id: ProgramId",
                  endpoint_id as "endpoint_id: EndpointId", url, kinds, status, failing_since,
                  created_at
           from webhook_endpoints
           where program_id = $1
             and ($2::uuid is null or endpoint_id > $2)
           order by endpoint_id
           limit $3"#,
        program_id.0,
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Removes an endpoint with its secrets and deliveries.
pub async fn delete_endpoint(db: &mut PgConnection, e: &Endpoint) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from webhook_endpoints where program_id = $1 and endpoint_id = $2",
        e.program_id.0,
        e.endpoint_id.0,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Adds a secret, which signs at once, and lets the older ones end at `overlap_until`.
///
/// At most two stay live: of the older ones only the newest survives the overlap.
pub async fn rotate_secret(
    db: &mut PgConnection,
    (program_id, endpoint_id): (ProgramId, EndpointId),
    (secret_id, ciphertext): (SecretId, &[u8]),
    now: Timestamp,
    overlap_until: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_endpoint_secrets s
         set expires_at = least(
             coalesce(s.expires_at, $3),
             case when s.secret_id = (
                 select newest.secret_id from webhook_endpoint_secrets newest
                 where newest.program_id = $1 and newest.endpoint_id = $2
                 order by newest.secret_id desc limit 1) then $3 else $4 end)
         where s.program_id = $1 and s.endpoint_id = $2",
        program_id.0,
        endpoint_id.0,
        overlap_until,
        now,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "insert into webhook_endpoint_secrets
             (program_id, endpoint_id, secret_id, ciphertext, created_at)
         values ($1, $2, $3, $4, $5)",
        program_id.0,
        endpoint_id.0,
        secret_id.0,
        ciphertext,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Reads the sealed secrets that sign now, the newest first.
pub async fn live_secrets(
    db: &mut PgConnection,
    program_id: ProgramId,
    endpoint_id: EndpointId,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select ciphertext
         from webhook_endpoint_secrets
         where program_id = $1 and endpoint_id = $2 and (expires_at is null or expires_at > $3)
         order by secret_id desc
         limit 2",
        program_id.0,
        endpoint_id.0,
        now,
    )
    .fetch_all(db)
    .await
}

/// Lists the deliveries of an endpoint, the newest first, those older than `before`.
pub async fn list_deliveries(
    db: &mut PgConnection,
    endpoint: &Endpoint,
    before: Option<NoticeId>,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    sqlx::query_as!(
        Delivery,
        r#"select d.notice_id as "notice_id: NoticeId", n.kind, d.status, d.attempts,
                  d.next_attempt_at, d.last_status, d.last_error, d.created_at, d.delivered_at
           from deliveries d
           join notices n on n.program_id = d.program_id and n.notice_id = d.notice_id
           where d.program_id = $1 and d.endpoint_id = $2
             and ($3::uuid is null or d.notice_id < $3)
           order by d.notice_id desc
           limit $4"#,
        endpoint.program_id.0,
        endpoint.endpoint_id.0,
        before.map(|b| b.0),
        limit,
    )
    .fetch_all(db)
    .await
}

/// Makes a delivery due now, whatever became of it; returns false if there is none. One that had
/// ended begins its schedule again.
pub async fn retry_delivery(
    db: &mut PgConnection,
    endpoint: &Endpoint,
    notice_id: NoticeId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update deliveries
         set attempts = case status when 'pending' then attempts else 0 end, status = 'pending',
             next_attempt_at = $4, delivered_at = null
         where program_id = $1 and endpoint_id = $2 and notice_id = $3",
        endpoint.program_id.0,
        endpoint.endpoint_id.0,
        notice_id.0,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets deliveries made, and mails written, before `deliveries_before`, and notices older than
/// `notices_before`.
pub async fn forget(
    db: &mut PgConnection,
    deliveries_before: Timestamp,
    notices_before: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!("delete from deliveries where created_at < $1", deliveries_before)
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from digest_days where created_at < $1", deliveries_before)
        .execute(&mut *db)
        .await?;
    sqlx::query!("delete from notices where created_at < $1", notices_before)
        .execute(db)
        .await
        .map(drop)
}

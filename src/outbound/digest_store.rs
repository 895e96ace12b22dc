//! SQL of the daily mail: who gets it, which days were written, which mails were sent.

use chrono::NaiveDate;
use serde_json::Value;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::ProgramId;
use crate::outbound::digest::Mail;

/// Who gets the mail of a program.
#[derive(Clone, Debug)]
pub struct Recipients {
    /// Their addresses.
    pub emails: Vec<String>,
    /// The language.
    pub locale: String,
}

/// Finds the recipients of a program.
pub async fn find_recipients(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<Recipients>, sqlx::Error> {
    sqlx::query_as!(
        Recipients,
        "select emails, locale from digest_recipients where program_id = $1",
        program_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Sets the recipients of a program.
pub async fn set_recipients(
    db: &mut PgConnection,
    program_id: ProgramId,
    recipients: &Recipients,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into digest_recipients (program_id, emails, locale, updated_at)
         values ($1, $2, $3, $4)
         on conflict on constraint digest_recipients_pkey
         do update set emails = excluded.emails, locale = excluded.locale, updated_at = $4",
        program_id.0,
        &recipients.emails[..],
        recipients.locale,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A program that gets mails.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The program.
    pub program_id: ProgramId,
    /// What people call it.
    pub name: String,
    /// ISO 4217 code that it pays in.
    pub currency: String,
    /// IANA name.
    pub time_zone: String,
    /// Who gets the mail.
    pub emails: Vec<String>,
    /// The language.
    pub locale: String,
    /// The last day that was written.
    pub last_day: Option<NaiveDate>,
}

/// Lists the programs that get mails.
pub async fn list_readers(db: &mut PgConnection) -> Result<Vec<Reader>, sqlx::Error> {
    sqlx::query_as!(
        Reader,
        r#"select p.program_id as "program_id: ProgramId", p.name, p.currency, p.time_zone,
                  r.emails, r.locale,
                  (select max(d.day) from digest_days d
                   where d.program_id = p.program_id) as last_day
           from digest_recipients r
           join programs p on p.program_id = r.program_id
           where cardinality(r.emails) > 0 and p.status = 'active'
           order by p.program_id"#,
    )
    .fetch_all(db)
    .await
}

/// Reads the payloads of a program's notices of a kind since then, the oldest first.
pub async fn list_payloads(
    db: &mut PgConnection,
    program_id: ProgramId,
    kind: &str,
    since: Timestamp,
) -> Result<Vec<Value>, sqlx::Error> {
    sqlx::query_scalar!(
        "select payload
         from notices
         where program_id = $1 and kind = $2 and created_at > $3
         order by created_at
         limit 10000",
        program_id.0,
        kind,
        since,
    )
    .fetch_all(db)
    .await
}

/// Writes a day of a program down with its mail for each recipient, or as one without news.
/// Whoever comes second writes nothing and gets false.
pub async fn insert_day(
    db: &mut PgConnection,
    (program_id, day): (ProgramId, NaiveDate),
    mail: Option<(&Mail, &[String])>,
    n_partners: i32,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let (subject, plain, html) =
        mail.map_or(("", "", ""), |(m, _)| (&m.subject, &m.plain, &m.html));
    let made = sqlx::query!(
        "insert into digest_days (program_id, day, n_partners, subject, plain, html, created_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint digest_days_pkey do nothing",
        program_id.0,
        day,
        n_partners,
        subject,
        plain,
        html,
        now,
    )
    .execute(&mut *db)
    .await?;
    let Some((_, emails)) = mail.filter(|_| made.rows_affected() > 0) else {
        return Ok(made.rows_affected() > 0);
    };
    sqlx::query!(
        "insert into digest_mails (program_id, day, email, next_attempt_at)
         select $1, $2, e.email, $4
         from unnest($3::text[]) e (email)
         on conflict on constraint digest_mails_pkey do nothing",
        program_id.0,
        day,
        emails,
        now,
    )
    .execute(db)
    .await?;
    Ok(true)
}

/// A mail that this instance holds.
#[derive(Clone, Debug)]
pub struct DueMail {
    /// Whose it is.
    pub program_id: ProgramId,
    /// The day that it tells of.
    pub day: NaiveDate,
    /// Who gets it.
    pub email: String,
    /// Number of this attempt, from 1.
    pub attempts: i32,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub plain: String,
    /// The same as HTML.
    pub html: String,
}

/// Takes a mail that is due and holds it until `leased_until`.
pub async fn claim_mail(
    db: &mut PgConnection,
    now: Timestamp,
    leased_until: Timestamp,
) -> Result<Option<DueMail>, sqlx::Error> {
    sqlx::query_as!(
        DueMail,
        r#"with due as (
               select m.program_id, m.day, m.email
               from digest_mails m
               where m.status = 'pending' and m.next_attempt_at <= $1
                 and (m.leased_until is null or m.leased_until <= $1)
               order by m.next_attempt_at
               limit 1
               for update skip locked
           )
           update digest_mails m
           set leased_until = $2, attempts = m.attempts + 1
           from due, digest_days d
           where m.program_id = due.program_id and m.day = due.day and m.email = due.email
             and d.program_id = due.program_id and d.day = due.day
           returning m.program_id as "program_id: ProgramId", m.day, m.email, m.attempts,
                     d.subject, d.plain, d.html"#,
        now,
        leased_until,
    )
    .fetch_optional(db)
    .await
}

/// Writes down that a mail was taken by the mail server.
pub async fn mark_sent(
    db: &mut PgConnection,
    due: &DueMail,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update digest_mails
         set status = 'sent', leased_until = null, last_error = null, sent_at = $5
         where program_id = $1 and day = $2 and email = $3 and attempts = $4",
        due.program_id.0,
        due.day,
        due.email,
        due.attempts,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes down that a mail was not taken; without a next attempt it has failed for good.
pub async fn mark_unsent(
    db: &mut PgConnection,
    due: &DueMail,
    error: &str,
    next_attempt_at: Option<Timestamp>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update digest_mails
         set status = case when $6::timestamptz is null then 'failed' else 'pending' end,
             next_attempt_at = coalesce($6, next_attempt_at), leased_until = null, last_error = $5
         where program_id = $1 and day = $2 and email = $3 and attempts = $4",
        due.program_id.0,
        due.day,
        due.email,
        due.attempts,
        error,
        next_attempt_at,
    )
    .execute(db)
    .await
    .map(drop)
}

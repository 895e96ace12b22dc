//! SQL of links.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{LinkId, PartnerId, ProgramId};

/// A link's row.
#[derive(Clone, Debug)]
pub struct Link {
    /// The program that it leads to.
    pub program_id: ProgramId,
    /// Key of the row.
    pub link_id: LinkId,
    /// Who promotes with it.
    pub partner_id: PartnerId,
    /// Its number in the token, unique per program and partner.
    pub number: i64,
    /// What the partner calls it.
    pub label: String,
    /// The partner's own labels.
    pub subs: [Option<String>; 5],
    /// Advertising mark.
    pub erid: Option<String>,
    /// Last day on which it leads to the landing page.
    pub expires_on: Option<NaiveDate>,
    /// Active or paused.
    pub status: String,
    /// When it was made.
    pub created_at: Timestamp,
}

struct Row {
    program_id: ProgramId,
    link_id: LinkId,
    partner_id: PartnerId,
    number: i64,
    label: String,
    sub1: Option<String>,
    sub2: Option<String>,
    sub3: Option<String>,
    sub4: Option<String>,
    sub5: Option<String>,
    erid: Option<String>,
    expires_on: Option<NaiveDate>,
    status: String,
    created_at: Timestamp,
}

impl From<Row> for Link {
    fn from(r: Row) -> Self {
        Self {
            program_id: r.program_id,
            link_id: r.link_id,
            partner_id: r.partner_id,
            number: r.number,
            label: r.label,
            subs: [r.sub1, r.sub2, r.sub3, r.sub4, r.sub5],
            erid: r.erid,
            expires_on: r.expires_on,
            status: r.status,
            created_at: r.created_at,
        }
    }
}

/// Takes the next link number of an active enrollment; `None` when there is no active one.
///
/// The row lock of the update puts concurrent makers of links in line, so numbers have no gaps
/// but those of rolled-back transactions.
pub async fn take_number(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "update enrollments
         set last_link_number = last_link_number + 1
         where program_id = $1 and partner_id = $2 and status = 'active'
         returning last_link_number",
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Inserts a link.
pub async fn insert_link(db: &mut PgConnection, l: &Link) -> Result<(), sqlx::Error> {
    let [sub1, sub2, sub3, sub4, sub5] = &l.subs;
    sqlx::query!(
        "insert into links
             (program_id, link_id, partner_id, number, label, sub1, sub2, sub3, sub4, sub5, erid,
              expires_on, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
        l.program_id.0,
        l.link_id.0,
        l.partner_id.0,
        l.number,
        l.label,
        sub1.as_deref(),
        sub2.as_deref(),
        sub3.as_deref(),
        sub4.as_deref(),
        sub5.as_deref(),
        l.erid,
        l.expires_on,
        l.created_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds a link by its id.
pub async fn find_link(
    db: &mut PgConnection,
    link_id: LinkId,
) -> Result<Option<Link>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId", link_id as "link_id: LinkId",
                  partner_id as "partner_id: PartnerId", number, label, sub1, sub2, sub3, sub4,
                  sub5, erid, expires_on, status, created_at
           from links
           where link_id = $1"#,
        link_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Link::from))
}

/// Finds a link and keeps others from changing it until the transaction ends.
pub async fn lock_link(
    db: &mut PgConnection,
    link_id: LinkId,
) -> Result<Option<Link>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId", link_id as "link_id: LinkId",
                  partner_id as "partner_id: PartnerId", number, label, sub1, sub2, sub3, sub4,
                  sub5, erid, expires_on, status, created_at
           from links
           where link_id = $1
           for no key update"#,
        link_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Link::from))
}

/// What a program is to its links.
#[derive(Clone, Debug)]
pub struct ProgramTerms {
    /// Its number in tokens.
    pub number: i32,
    /// What people call it.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// Landing URL with macros.
    pub landing_template: String,
    /// Parameter of the click id where the template has no macro for it.
    pub click_id_param: String,
    /// Hosts that a deep link may name.
    pub allowed_hosts: Vec<String>,
    /// Whether addresses may be plain http.
    pub allow_http: bool,
}

/// Finds what a program is to its links.
pub async fn find_program_terms(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<ProgramTerms>, sqlx::Error> {
    sqlx::query_as!(
        ProgramTerms,
        "select number, name, slug, landing_template, click_id_param, allowed_hosts, allow_http
         from programs
         where program_id = $1",
        program_id.0,
    )
    .fetch_optional(db)
    .await
}

/// What a partner is to its links.
#[derive(Clone, Debug)]
pub struct PartnerTerms {
    /// Its number in tokens.
    pub number: i64,
    /// Its name in addresses.
    pub slug: String,
}

/// Loads what partners are to their links.
pub async fn load_partner_terms(
    db: &mut PgConnection,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, PartnerTerms>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId", number, slug
           from partners
           where partner_id = any($1)"#,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let terms =
        rows.into_iter().map(|r| (r.partner_id, PartnerTerms { number: r.number, slug: r.slug }));
    Ok(terms.collect())
}

/// Lists the links of a program, of one partner where it is given, after the given link.
pub async fn list_links(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
    after: Option<LinkId>,
    limit: i64,
) -> Result<Vec<Link>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select program_id as "program_id: ProgramId", link_id as "link_id: LinkId",
                  partner_id as "partner_id: PartnerId", number, label, sub1, sub2, sub3, sub4,
                  sub5, erid, expires_on, status, created_at
           from links
           where program_id = $1
             and ($2::uuid is null or partner_id = $2)
             and ($3::uuid is null or link_id > $3)
           order by link_id
           limit $4"#,
        program_id.0,
        partner_id.map(|p| p.0),
        after.map(|a| a.0),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Link::from).collect())
}

/// Writes label and state of a link.
pub async fn update_link(
    db: &mut PgConnection,
    l: &Link,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update links set label = $3, status = $4, updated_at = $5
         where program_id = $1 and link_id = $2",
        l.program_id.0,
        l.link_id.0,
        l.label,
        l.status,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

//! SQL of partners' own keys, and of the links that they sign.

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{LinkId, LinkNo, PartnerId, PartnerNo, ProgramId, ProgramNo};

/// What a partner's own key is made of.
#[derive(Clone, Debug)]
pub struct MintTerms {
    /// The program's number in tokens.
    pub program_number: i32,
    /// The partner's number in tokens.
    pub partner_number: i64,
    /// Whether the partner may promote in the program.
    pub is_active: bool,
    /// The epoch of the key.
    pub epoch: i32,
    /// Until when the key of the epoch before is good too.
    pub previous_until: Option<Timestamp>,
    /// Links signed by the partner that get a row, at most.
    pub links_max: i32,
}

/// Finds what a partner's key in a program is made of, and keeps others from changing it until the
/// transaction ends.
pub async fn lock_terms(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
) -> Result<Option<MintTerms>, sqlx::Error> {
    sqlx::query_as!(
        MintTerms,
        r#"select g.number as program_number, p.number as partner_number,
                  (e.status = 'active' and p.status = 'active') as "is_active!",
                  e.mint_epoch as epoch, e.mint_previous_until as previous_until,
                  e.minted_links_max as links_max
           from enrollments e
           join programs g on g.program_id = e.program_id
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.partner_id = $2
           for no key update of e"#,
        program_id.0,
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Raises the epoch; the key of the one before is good until `previous_until`.
pub async fn raise_epoch(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    previous_until: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update enrollments
         set mint_epoch = mint_epoch + 1, mint_previous_until = $3, updated_at = $4
         where program_id = $1 and partner_id = $2",
        program_id.0,
        partner_id.0,
        previous_until,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Writes down links that partners signed and that have no row yet, up to each partner's bound; a
/// link above it still counts for its partner. No link stands in `links` twice.
pub async fn insert_minted(
    db: &mut PgConnection,
    links: &[(ProgramNo, PartnerNo, LinkNo)],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    if links.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "insert into links
             (program_id, link_id, partner_id, number, label, created_at, updated_at)
         select n.program_id, n.link_id, n.partner_id, n.link_number, 'minted', $4, $4
         from (select e.program_id, e.partner_id, e.minted_links_max, u.link_id, u.link_number,
                      row_number() over (partition by e.program_id, e.partner_id
                                         order by u.link_number) as place
               from unnest($1::bigint[], $2::bigint[], $3::bigint[], $5::uuid[])
                   as u (program, partner, link_number, link_id)
               join programs g on g.number = u.program
               join partners p on p.number = u.partner
               join enrollments e on e.program_id = g.program_id and e.partner_id = p.partner_id
               where not exists (
                   select 1 from links l
                   where l.program_id = e.program_id and l.partner_id = e.partner_id
                     and l.number = u.link_number)) n
         where n.place <= n.minted_links_max - (
             select count(*) from links l
             where l.program_id = n.program_id and l.partner_id = n.partner_id
               and l.number >= 2147483648)
         on conflict on constraint links_number_once do nothing",
        &links.iter().map(|l| i64::from(l.0.0)).collect::<Vec<_>>(),
        &links.iter().map(|l| i64::from(l.1.0)).collect::<Vec<_>>(),
        &links.iter().map(|l| i64::from(l.2.0)).collect::<Vec<_>>(),
        now,
        &links.iter().map(|_| LinkId::new().0).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

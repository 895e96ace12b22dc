//! SQL of the network, a file for each topic; here what a program has chosen and who brought whom.

pub mod absences;
pub mod aims;
pub mod applications;
pub mod customers;
pub mod figures;
pub mod logins;
pub mod talks;

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::partner::network::recruiter::Wish;
use crate::partner::network::scorecard::Mark;
use crate::partner::network::{Books, Policy, Relation};

/// Finds how a program counts.
pub async fn find_books(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Option<Books>, sqlx::Error> {
    let row = sqlx::query!(
        "select currency, time_zone from programs where program_id = $1",
        program_id.0
    )
    .fetch_optional(db)
    .await?;
    row.map(|r| {
        Ok(Books {
            program_id,
            currency: r.currency.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            time_zone: r.time_zone.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
        })
    })
    .transpose()
}

/// Reads what a program has chosen; the usual where it has chosen nothing.
pub async fn read_policy(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Policy, sqlx::Error> {
    let row = sqlx::query_as!(
        Policy,
        "select auto_approve_kinds, auto_approve_countries, customer_protection_days, score_weights
         from network_policies
         where program_id = $1",
        program_id.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.unwrap_or_default())
}

/// Writes what a program has chosen.
pub async fn write_policy(
    db: &mut PgConnection,
    program_id: ProgramId,
    p: &Policy,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into network_policies
             (program_id, auto_approve_kinds, auto_approve_countries, customer_protection_days,
              score_weights)
         values ($1, $2, $3, $4, $5)
         on conflict on constraint network_policies_pkey do update
         set auto_approve_kinds = excluded.auto_approve_kinds,
             auto_approve_countries = excluded.auto_approve_countries,
             customer_protection_days = excluded.customer_protection_days,
             score_weights = excluded.score_weights",
        program_id.0,
        &p.auto_approve_kinds[..],
        &p.auto_approve_countries[..],
        p.customer_protection_days,
        p.score_weights.as_deref(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists what a partner is in the network of its programs.
pub async fn list_relations(
    db: &mut PgConnection,
    partner_id: PartnerId,
) -> Result<Vec<Relation>, sqlx::Error> {
    sqlx::query_as!(
        Relation,
        r#"select e.program_id as "program_id: ProgramId",
                  e.parent_partner_id as "parent_partner_id: PartnerId",
                  (select count(*) from enrollments r
                   where r.program_id = e.program_id
                     and r.parent_partner_id = e.partner_id) as "n_recruits!",
                  e.is_rank_pinned, e.public_name, e.champion_name, e.champion_note
           from enrollments e
           where e.partner_id = $1
           order by e.program_id"#,
        partner_id.0,
    )
    .fetch_all(db)
    .await
}

/// Writes what can be changed of a relation.
pub async fn update_relation(
    db: &mut PgConnection,
    partner_id: PartnerId,
    r: &Relation,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update enrollments
         set parent_partner_id = $3, is_rank_pinned = $4, public_name = $5, champion_name = $6,
             champion_note = $7, updated_at = $8
         where program_id = $1 and partner_id = $2",
        r.program_id.0,
        partner_id.0,
        r.parent_partner_id.map(|p| p.0),
        r.is_rank_pinned,
        r.public_name,
        r.champion_name,
        r.champion_note,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Finds what the rule on recruiters asks; none when the parent is not enrolled there.
pub async fn find_wish(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner: PartnerId,
    parent: PartnerId,
) -> Result<Option<Wish>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select p.parent_partner_id is not null as "parent_has_parent!",
                  exists (select 1 from enrollments r
                          where r.program_id = $1
                            and r.parent_partner_id = $2) as "has_recruits!"
           from enrollments p
           where p.program_id = $1 and p.partner_id = $3"#,
        program_id.0,
        partner.0,
        parent.0,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|r| Wish {
        partner,
        has_recruits: r.has_recruits,
        parent,
        parent_has_parent: r.parent_has_parent,
    }))
}

/// A mark with its partner.
#[derive(Debug)]
pub struct PartnerMark {
    /// The partner.
    pub partner_id: PartnerId,
    /// The mark.
    pub mark: Mark,
}

/// Reads the scorecards of a program, or of one partner of it.
pub async fn read_marks(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: Option<PartnerId>,
) -> Result<Vec<PartnerMark>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId", score_group, score, evidence, assessed_on,
                  assessed_by
           from scorecards
           where program_id = $1 and ($2::uuid is null or partner_id = $2)"#,
        program_id.0,
        partner_id.map(|p| p.0),
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| PartnerMark {
            partner_id: r.partner_id,
            mark: Mark {
                group: r.score_group,
                score: r.score,
                evidence: r.evidence,
                assessed_on: r.assessed_on,
                assessed_by: r.assessed_by,
            },
        })
        .collect())
}

/// Writes a mark, in the place of the one before.
pub async fn write_mark(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    m: &Mark,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into scorecards
             (program_id, partner_id, score_group, score, evidence, assessed_on, assessed_by)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint scorecards_pkey do update
         set score = excluded.score, evidence = excluded.evidence,
             assessed_on = excluded.assessed_on, assessed_by = excluded.assessed_by",
        program_id.0,
        partner_id.0,
        m.group,
        m.score,
        m.evidence,
        m.assessed_on,
        m.assessed_by,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Takes the mark of a group away.
pub async fn delete_mark(
    db: &mut PgConnection,
    program_id: ProgramId,
    partner_id: PartnerId,
    group: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from scorecards
         where program_id = $1 and partner_id = $2 and score_group = $3",
        program_id.0,
        partner_id.0,
        group,
    )
    .execute(db)
    .await
    .map(drop)
}

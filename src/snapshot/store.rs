//! SQL of the snapshot: reads only.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId, SourceId};
use crate::program::postback_store;
use crate::snapshot::wire::{
    EnrollmentWire, LinkWire, PartnerWire, ProgramWire, SecretWire, SnapshotWire, SourceWire,
    WIRE_VERSION,
};

/// Reads the version that rises with every change to what a snapshot holds.
pub async fn read_version(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select version from snapshot_version").fetch_one(db).await
}

/// Reads a whole snapshot. The version is read first: what changes meanwhile has a higher one, so
/// the next look sees it and nothing is missed.
pub async fn read_snapshot(
    db: &mut PgConnection,
    now: Timestamp,
) -> Result<SnapshotWire, sqlx::Error> {
    Ok(SnapshotWire {
        v: WIRE_VERSION,
        version: read_version(db).await?,
        taken_at: now,
        programs: read_programs(db).await?,
        partners: read_partners(db).await?,
        enrollments: read_enrollments(db).await?,
        paused_links: read_paused_links(db).await?,
        sources: read_sources(db).await?,
    })
}

async fn read_programs(db: &mut PgConnection) -> Result<Vec<ProgramWire>, sqlx::Error> {
    sqlx::query_as!(
        ProgramWire,
        r#"select program_id as "program_id: ProgramId", number, slug, status, currency,
                  landing_template, click_id_param, allowed_hosts, allow_http, fallback_url
           from programs"#
    )
    .fetch_all(db)
    .await
}

async fn read_partners(db: &mut PgConnection) -> Result<Vec<PartnerWire>, sqlx::Error> {
    sqlx::query_as!(
        PartnerWire,
        r#"select partner_id as "partner_id: PartnerId", number, slug, status from partners"#
    )
    .fetch_all(db)
    .await
}

async fn read_enrollments(db: &mut PgConnection) -> Result<Vec<EnrollmentWire>, sqlx::Error> {
    sqlx::query_as!(
        EnrollmentWire,
        "select g.number as program_number, p.number as partner_number, e.status, e.mint_epoch,
                e.mint_previous_until
         from enrollments e
         join programs g on g.program_id = e.program_id
         join partners p on p.partner_id = e.partner_id"
    )
    .fetch_all(db)
    .await
}

async fn read_paused_links(db: &mut PgConnection) -> Result<Vec<LinkWire>, sqlx::Error> {
    sqlx::query_as!(
        LinkWire,
        "select g.number as program_number, p.number as partner_number, l.number as link_number
         from links l
         join programs g on g.program_id = l.program_id
         join partners p on p.partner_id = l.partner_id
         where l.status <> 'active'"
    )
    .fetch_all(db)
    .await
}

async fn read_sources(db: &mut PgConnection) -> Result<Vec<SourceWire>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select source_id as "source_id: SourceId", ciphertext, expires_at
           from source_secrets
           order by source_id, secret_id desc"#
    )
    .fetch_all(&mut *db)
    .await?;
    let mut secrets: HashMap<SourceId, Vec<SecretWire>> = HashMap::new();
    for row in rows {
        let ciphertext = STANDARD.encode(&row.ciphertext);
        let secret = SecretWire { ciphertext, expires_at: row.expires_at };
        secrets.entry(row.source_id).or_default().push(secret);
    }
    let mut postbacks = postback_store::load_terms(&mut *db).await?;
    let sources = sqlx::query!(
        r#"select program_id as "program_id: ProgramId", source_id as "source_id: SourceId",
                  status, order_namespace, requests_per_second
           from sources"#
    )
    .fetch_all(db)
    .await?;
    Ok(sources
        .into_iter()
        .map(|s| SourceWire {
            program_id: s.program_id,
            source_id: s.source_id,
            status: s.status,
            order_namespace: s.order_namespace,
            requests_per_second: s.requests_per_second,
            secrets: secrets.remove(&s.source_id).unwrap_or_default(),
            postback: postbacks.remove(&s.source_id).map(Into::into),
        })
        .collect())
}

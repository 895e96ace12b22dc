//! SQL of the keys of programs and partners by the numbers that stand in tokens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use sqlx::PgConnection;

use crate::ids::{PartnerNo, ProgramNo};
use crate::settlement::click::Click;
use crate::settlement::click::names::{Keys, Names};

/// Finds the programs and partners of clicks; those that are known are not asked for.
pub(super) async fn find(
    db: &mut PgConnection,
    names: &Names,
    clicks: &[&Click],
) -> Result<Arc<Keys>, sqlx::Error> {
    let mut asked = names.known(Instant::now());
    let keys = &asked.keys;
    let programs = clicks.iter().map(|click| click.program);
    let programs: BTreeSet<_> = programs.filter(|no| !keys.programs.contains_key(no)).collect();
    let partners = clicks.iter().map(|click| click.partner);
    let partners: BTreeSet<_> = partners.filter(|no| !keys.partners.contains_key(no)).collect();
    if programs.is_empty() && partners.is_empty() {
        return Ok(asked.keys);
    }
    let of_programs = sqlx::query!(
        r#"select number::bigint as "number!", program_id from programs
           where number = any ($1::bigint[])"#,
        &programs.iter().map(|no| i64::from(no.0)).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *db)
    .await?;
    let of_partners = sqlx::query!(
        r#"select number::bigint as "number!", partner_id from partners
           where number = any ($1::bigint[])"#,
        &partners.iter().map(|no| i64::from(no.0)).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let number = |number: i64| u32::try_from(number).unwrap_or(0);
    let keys = Arc::make_mut(&mut asked.keys);
    let of_programs = of_programs.into_iter().map(|r| (ProgramNo(number(r.number)), r.program_id));
    keys.programs.extend(of_programs);
    let of_partners = of_partners.into_iter().map(|r| (PartnerNo(number(r.number)), r.partner_id));
    keys.partners.extend(of_partners);
    names.keep(&asked);
    Ok(asked.keys)
}

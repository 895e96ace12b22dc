//! SQL of decisions: what people decided before.

use std::collections::HashSet;

use sqlx::PgConnection;

use crate::commission::row::EXTENDED;
use crate::ids::{CommissionId, ProgramId};

/// Returns those of these commissions whose hold was extended.
pub async fn load_extended(
    db: &mut PgConnection,
    program_id: ProgramId,
    of: &[CommissionId],
) -> Result<HashSet<CommissionId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select distinct commission_id as "commission_id: CommissionId"
           from commission_history
           where program_id = $1 and commission_id = any($2) and rule = $3"#,
        program_id.0,
        &of.iter().map(|c| c.0).collect::<Vec<_>>(),
        EXTENDED,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().collect())
}

//! SQL of who may have parts: the partners of a program that may earn now.

use sqlx::PgConnection;

use crate::ids::{PartnerId, ProgramId};

/// Loads the partners of a program that may earn now.
pub async fn load_active(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<PartnerId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select p.partner_id as "partner_id: PartnerId"
           from enrollments e
           join partners p on p.partner_id = e.partner_id
           where e.program_id = $1 and e.status = 'active' and p.status = 'active'"#,
        program_id.0,
    )
    .fetch_all(db)
    .await
}

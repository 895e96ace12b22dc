//! SQL of proofs: commissions with all rows that follow them.

use sqlx::PgConnection;

use super::proof::{Family, group_by_root};
use crate::commission::Commission;
use crate::commission::store::{Filter, load, load_following};
use crate::ids::{CommissionId, ProgramId};

/// Loads what a row belongs to: what was earned, and all that followed it.
pub async fn load_family(db: &mut PgConnection, of: &Commission) -> Result<Family, sqlx::Error> {
    let mut root = of.clone();
    // A correction of what the recruiter has is two rows away from what the conversion earned.
    while let Some(above) = root.corrects_id {
        let programs = [of.program_id];
        let filter = Filter { programs: Some(&programs), ids: Some(&[above]), ..Filter::default() };
        let Some(found) = load(db, filter, 1).await?.pop() else { break };
        root = found;
    }
    let followers = load_following(db, root.program_id, &[root.commission_id]).await?;
    Ok(Family { root, followers })
}

/// Loads what a program's commissions were earned by, a page at a time in the order of making;
/// returns where to go on, none at the end.
pub async fn load_families(
    db: &mut PgConnection,
    program_id: ProgramId,
    after: Option<CommissionId>,
    limit: i64,
) -> Result<(Vec<Family>, Option<CommissionId>), sqlx::Error> {
    let programs = [program_id];
    let filter = Filter { programs: Some(&programs), after, ..Filter::default() };
    let mut page = load(db, filter, limit).await?;
    let next = page.last().map(|row| row.commission_id);
    page.retain(|row| row.corrects_id.is_none());
    let ids: Vec<CommissionId> = page.iter().map(|row| row.commission_id).collect();
    let mut following = group_by_root(load_following(db, program_id, &ids).await?);
    let family = |root: Commission| Family {
        followers: following.remove(&root.commission_id).unwrap_or_default(),
        root,
    };
    Ok((page.into_iter().map(family).collect(), next))
}

//! SQL of notices: what others are to be told of a case, in the transaction of its opening.

use serde_json::json;
use uuid::Uuid;

use super::case::{Kind, Listing};
use crate::clock::Timestamp;
use crate::db::DbTx;
use crate::ids::{CaseId, PartnerId, ProgramId};

/// A case that was just opened.
#[derive(Clone, Debug)]
pub struct Declined<'a> {
    /// The program.
    pub program_id: ProgramId,
    /// The case.
    pub case_id: CaseId,
    /// Whose.
    pub partner_id: PartnerId,
    /// Will not or cannot.
    pub kind: Kind,
    /// The figures.
    pub listing: &'a Listing,
}

/// Leaves a notice that a partner's activity declined.
pub async fn declined(
    db: &mut DbTx,
    case: &Declined<'_>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Declined { listing, .. } = case;
    let payload = json!({
        "case_id": case.case_id,
        "program_id": case.program_id,
        "partner_id": case.partner_id,
        "kind": case.kind.as_str(),
        "severity": listing.severity,
        "since": listing.since,
        "share_lost_percent": listing.share_lost_percent,
        "possible_cause": listing.possible_cause,
        "advice": listing.advice,
    });
    sqlx::query!(
        "insert into notices (program_id, notice_id, kind, subject, payload, created_at)
         values ($1, $2, 'partner.activity_declined', $3, $4, $5)",
        case.program_id.0,
        Uuid::now_v7(),
        case.case_id.to_string(),
        payload,
        now,
    )
    .execute(db.as_mut())
    .await
    .map(drop)
}

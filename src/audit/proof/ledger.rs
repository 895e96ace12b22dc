//! Hashes every transaction of the ledger again.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Tally;
use crate::audit::store::ledger::places;
use crate::audit::{At, CheckError, Page};
use crate::ids::ProgramId;
use crate::ledger::book::store::{Placed, Unreadable, load_placed};
use crate::ledger::proof::chain;

/// Judges whether each transaction still hashes to what was stored with it.
pub fn hashes<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let rows = places(db, at).await?;
        let mut by_program: BTreeMap<ProgramId, Vec<i64>> = BTreeMap::new();
        for (program_id, _, sequence) in &rows {
            by_program.entry(*program_id).or_default().push(*sequence);
        }
        let mut tally = Tally::new("transaction", at);
        for (program_id, places) in by_program {
            let placed = load_placed(db, program_id, &places).await?;
            // A transaction without any entry is not there to be hashed.
            for _ in placed.len()..places.len() {
                let why = json!({"why": "it has no entries"});
                tally.look(program_id.0, "", Some(why));
            }
            for one in placed {
                let id = match &one {
                    Ok(placed) => placed.transaction.id,
                    Err(unreadable) => unreadable.id,
                };
                tally.look(program_id.0, &id.0.to_string(), judge(&one));
            }
        }
        Ok(tally.end(rows.len(), rows.last().map(|(program, id, _)| (program.0, *id))))
    }
    .boxed()
}

fn judge(one: &Result<Placed, Unreadable>) -> Option<Value> {
    match one {
        Ok(placed) if chain(&placed.previous_hash, &placed.transaction) == placed.hash => None,
        Ok(placed) => Some(json!({
            "sequence": placed.sequence, "code": placed.transaction.posting.code().text(),
            "why": "its hash is not that of its content",
        })),
        Err(unreadable) => Some(json!({"why": unreadable.why})),
    }
}

//! Opens every payment file again and hashes it.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use super::Tally;
use crate::audit::store::payout_file::{FileRow, load_batches, load_next_file};
use crate::audit::{At, CheckError, Page};
use crate::payout::file::sealed_place;
use crate::sealing::Sealer;

/// Judges whether each payment file opens, is the one whose digest was told, and carries the
/// payouts that name it.
pub fn files<'a>(
    db: &'a mut PgConnection,
    at: &'a At<'a>,
) -> BoxFuture<'a, Result<Page, CheckError>> {
    async move {
        let Some(sealer) = at.beside.sealer else {
            let why = Some("the key that opens files is not at hand".to_owned());
            return Ok(Page { not_looked: why, ..Page::default() });
        };
        let batches = load_batches(db, at).await?;
        let mut tally = Tally::new("batch", at);
        for batch in &batches {
            let mut after = (String::new(), 0);
            while let Some(file) = load_next_file(db, *batch, (&after.0, after.1)).await? {
                let wrong = judge(&file, sealer);
                tally.look(file.program_id.0, &file.payout_batch_id.0.to_string(), wrong);
                after = (file.format, file.part);
            }
        }
        let last = batches.last().map(|(program, batch)| (program.0, batch.0));
        Ok(tally.end(batches.len(), last))
    }
    .boxed()
}

fn judge(file: &FileRow, sealer: &Sealer) -> Option<Value> {
    let place = sealed_place(file.payout_batch_id, &file.format, file.part);
    let plain = if file.is_sealed {
        sealer.open(&place, &file.bytes).ok()
    } else {
        Some(file.bytes.clone())
    };
    let is_told = plain.as_ref().is_some_and(|plain| Sha256::digest(plain)[..] == file.sha256);
    // Files of the first releases tell no figures.
    let are_payouts = file.n_payouts.is_none_or(|n| i64::from(n) == file.n_carried)
        && file.total_minor.is_none_or(|total| total == file.carried_minor);
    (!is_told || !are_payouts).then(|| {
        json!({
            "format": file.format, "part": file.part, "opens": plain.is_some(),
            "hash_is_the_files": is_told, "n_payouts": file.n_payouts,
            "n_carried": file.n_carried, "total_minor": file.total_minor,
            "carried_minor": file.carried_minor,
        })
    })
}

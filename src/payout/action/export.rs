//! Taking a batch to the bank: its files, made once and kept.

use std::collections::HashMap;

use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::{Actor, PayoutError, load_all};
use crate::commission::state::Standing;
use crate::db::DbTx;
use crate::ids::{PartnerId, PayoutBatchId, PayoutId, ProgramId};
use crate::payout::file::{self, FileFormat, FileHead, FileItem};
use crate::payout::method::{self, PayoutMethod, store as method_store};
use crate::payout::state::{BatchAction, PayoutAction, act_on_batch, act_on_payout};
use crate::payout::store::files::{StoredFile, insert_file, load_files, load_sealed_methods};
use crate::payout::store::owed::load_enrolled;
use crate::payout::store::payouts::update_payouts;
use crate::payout::store::{self};
use crate::payout::{Batch, Payout};
use crate::program::store as program_store;
use crate::sealing::Sealer;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Export {
    /// How it is to be written.
    pub format: FileFormat,
    /// The account that pays: its short name.
    pub payer: String,
}

/// Returns the parts of a file of a batch, and whether this call made them.
///
/// The first call in a format takes every payout that is still approved and that the format can
/// carry to the bank; they are processing from then on, and no other file takes them. What was paid
/// by hand before is in no file.
pub async fn export(
    db: &mut DbTx,
    sealer: &Sealer,
    id: PayoutBatchId,
    asked: &Export,
    by: &Actor,
) -> Result<(Vec<StoredFile>, Batch, bool), PayoutError> {
    let mut batch = store::lock_batch(db, id).await?.ok_or(PayoutError::NotFound)?;
    let kept = load_files(db, &batch, Some(asked.format.code())).await?;
    if !kept.is_empty() {
        let opened = kept.into_iter().map(|file| open(sealer, &batch, file));
        return Ok((opened.collect::<Result<_, _>>()?, batch, false));
    }
    batch.state = act_on_batch(batch.state, BatchAction::Export)?;
    let mut payouts = load_all(db, id).await?;
    payouts.retain(|p| {
        act_on_payout(p.state, PayoutAction::Export).is_ok() && asked.format.takes(p.method)
    });
    keep_good(db, &batch, &mut payouts).await?;
    if payouts.is_empty() {
        return Err(PayoutError::NothingForFormat(asked.format));
    }
    let head = load_head(db, sealer, &batch, asked, by).await?;
    let items = load_items(db, sealer, &batch, &payouts).await?;
    let mut files = Vec::new();
    for (number, part) in file::parts(asked.format, &items) {
        let head = FileHead { part: number, ..head.clone() };
        let bytes = file::write(asked.format, &head, part)?;
        let total = file::total(head.currency, part)?;
        let file = StoredFile {
            format: asked.format.code().to_owned(),
            part: i32::try_from(number).unwrap_or(i32::MAX),
            sha256: Sha256::digest(&bytes).to_vec(),
            bytes,
            is_sealed: false,
            n_payouts: i32::try_from(part.len()).ok(),
            total_minor: Some(total.minor),
            bank_label: Some(asked.payer.clone()),
            created_at: by.at,
        };
        insert_file(db, &batch, &sealed(sealer, &batch, &file)).await?;
        files.push(file);
    }
    for (at, payout) in payouts.iter_mut().enumerate() {
        payout.state = act_on_payout(payout.state, PayoutAction::Export)?;
        let part = i32::try_from(at / asked.format.rows_max() + 1).unwrap_or(i32::MAX);
        payout.file = Some((asked.format.code().to_owned(), part));
        payout.bank_label = Some(asked.payer.clone());
    }
    update_payouts(db, batch.program_id, &payouts, by.at).await?;
    store::update_batch(db, &batch).await?;
    Ok((files, batch, true))
}

/// Leaves out who was blocked since the batch was made: those stay approved until somebody decides.
async fn keep_good(
    db: &mut DbTx,
    batch: &Batch,
    payouts: &mut Vec<Payout>,
) -> Result<(), sqlx::Error> {
    let partners: Vec<PartnerId> = payouts.iter().map(|p| p.partner_id).collect();
    let enrolled = load_enrolled(db, batch.program_id, &partners).await?;
    payouts.retain(|p| enrolled.get(&p.partner_id).is_some_and(|e| e.standing == Standing::Good));
    Ok(())
}

async fn load_head(
    db: &mut DbTx,
    sealer: &Sealer,
    batch: &Batch,
    asked: &Export,
    by: &Actor,
) -> Result<FileHead, PayoutError> {
    let program = program_store::find_program(db, batch.program_id).await?;
    let program = program.ok_or(PayoutError::NotFound)?;
    let payer = match asked.format.payer_kind() {
        None => None,
        Some(kind) => {
            let payers = method_store::list_payers(db, batch.program_id).await?;
            let row = payers.into_iter().find(|p| p.label == asked.payer && p.kind == kind.code());
            let missing = || PayoutError::NoPayer { label: asked.payer.clone(), kind };
            let row = row.ok_or_else(missing)?;
            Some(open_payer(sealer, batch.program_id, &row.sealed)?)
        }
    };
    let zone: Tz = program.time_zone.parse().unwrap_or(Tz::UTC);
    let made_at = by.at.with_timezone(&zone).naive_local();
    // A bank refuses a day that is over.
    let execution_on = batch.execution_on.map_or(made_at.date(), |day| day.max(made_at.date()));
    Ok(FileHead {
        batch_id: batch.payout_batch_id,
        part: 1,
        period: batch.period.clone(),
        program: program.name,
        payer,
        execution_on,
        made_at,
        currency: batch.totals.net.currency,
    })
}

async fn load_items(
    db: &mut DbTx,
    sealer: &Sealer,
    batch: &Batch,
    payouts: &[Payout],
) -> Result<Vec<FileItem>, PayoutError> {
    let partners: Vec<PartnerId> = payouts.iter().map(|p| p.partner_id).collect();
    let taxes = method_store::load_tax_profiles(db, &partners).await?;
    let sealed: HashMap<PayoutId, _> = load_sealed_methods(db, batch).await?.into_iter().collect();
    let mut items = Vec::with_capacity(payouts.len());
    for p in payouts {
        let method = match sealed.get(&p.payout_id) {
            Some(Some(sealed)) => Some(method::open(sealer, p.partner_id.0.as_bytes(), sealed)?),
            Some(None) | None => None,
        };
        items.push(FileItem {
            payout_id: p.payout_id,
            partner: p.partner_name.clone(),
            tax_id: taxes.get(&p.partner_id).and_then(|t| t.tax_id.clone()),
            method,
            amount: p.transfer()?,
            net: p.amounts.net,
            vat: p.amounts.vat,
            withheld: p.amounts.withheld,
            document_no: p.document_no.clone(),
        });
    }
    Ok(items)
}

/// Opens the account that pays, sealed for its program.
fn open_payer(
    sealer: &Sealer,
    program_id: ProgramId,
    sealed: &[u8],
) -> Result<PayoutMethod, PayoutError> {
    Ok(method::open(sealer, program_id.0.as_bytes(), sealed)?)
}

fn place(batch: &Batch, file: &StoredFile) -> Vec<u8> {
    file::sealed_place(batch.payout_batch_id, &file.format, file.part)
}

fn sealed(sealer: &Sealer, batch: &Batch, file: &StoredFile) -> StoredFile {
    let bytes = sealer.seal(&place(batch, file), &file.bytes);
    StoredFile { bytes, is_sealed: true, ..file.clone() }
}

fn open(sealer: &Sealer, batch: &Batch, file: StoredFile) -> Result<StoredFile, PayoutError> {
    if !file.is_sealed {
        return Ok(file);
    }
    let opened = sealer.open(&place(batch, &file), &file.bytes);
    let bytes = opened.map_err(|_| PayoutError::Unreadable(method::Unreadable))?;
    Ok(StoredFile { bytes, is_sealed: false, ..file })
}

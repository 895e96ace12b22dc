//! SQL of payout methods, tax profiles and the accounts that pay.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId, UserId};
use crate::money::Bps;
use crate::payout::batch::MethodFacts;
use crate::payout::method::MethodKind;
use crate::payout::tax::{LegalType, TaxProfile, VatTreatment};

fn unknown(column: &str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{column} holds {value:?}").into())
}

/// A method to be kept.
#[derive(Clone, Debug)]
pub struct NewMethod {
    /// How it pays.
    pub kind: MethodKind,
    /// The document, sealed for the partner.
    pub sealed: Vec<u8>,
    /// The account as people may see it.
    pub account_masked: String,
    /// Keyed hash of the account; empty where there is none.
    pub account_tag: Vec<u8>,
}

/// Keeps where a partner's money goes; what was there before is forgotten.
pub async fn put_method(
    db: &mut PgConnection,
    partner_id: PartnerId,
    method: &NewMethod,
    by: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payout_methods as m
             (partner_id, kind, sealed, account_masked, account_tag, updated_by, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint payout_methods_pkey
         do update set kind = excluded.kind, sealed = excluded.sealed,
                       account_masked = excluded.account_masked,
                       account_tag = excluded.account_tag, status = 'active',
                       returned_reason = null, updated_by = excluded.updated_by,
                       updated_at = excluded.updated_at",
        partner_id.0,
        method.kind.code(),
        method.sealed,
        method.account_masked,
        method.account_tag,
        by.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// A method as it is shown.
#[derive(Clone, Debug)]
pub struct MethodRow {
    /// How it pays.
    pub kind: String,
    /// The account as people may see it.
    pub account_masked: String,
    /// Active, or returned.
    pub status: String,
    /// Why the bank sent money back.
    pub returned_reason: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Finds where a partner's money goes.
pub async fn find_method(
    db: &mut PgConnection,
    partner_id: PartnerId,
) -> Result<Option<MethodRow>, sqlx::Error> {
    sqlx::query_as!(
        MethodRow,
        "select kind, account_masked, status, returned_reason, updated_at
         from payout_methods where partner_id = $1",
        partner_id.0,
    )
    .fetch_optional(db)
    .await
}

/// Loads where the money of partners goes, sealed.
pub async fn load_methods(
    db: &mut PgConnection,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, MethodFacts>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select m.partner_id as "partner_id: PartnerId", m.kind, m.sealed, m.account_masked,
                  m.status = 'returned' as "is_returned!", m.updated_at,
                  m.account_tag <> '' and exists (
                      select 1 from payout_methods o
                      where o.account_tag = m.account_tag and o.partner_id <> m.partner_id)
                      as "is_shared!"
           from payout_methods m
           where m.partner_id = any($1)"#,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let methods = rows.into_iter().map(|r| {
        let kind = MethodKind::from_code(&r.kind);
        let facts = MethodFacts {
            kind: kind.ok_or_else(|| unknown("payout_methods.kind", &r.kind))?,
            is_returned: r.is_returned,
            account_masked: r.account_masked,
            sealed: r.sealed,
            changed_at: r.updated_at,
            is_shared: r.is_shared,
        };
        Ok((r.partner_id, facts))
    });
    methods.collect()
}

/// Stops payments to an account that a bank sent money back from, unless it was changed since.
pub async fn mark_returned(
    db: &mut PgConnection,
    partner_id: PartnerId,
    account_masked: Option<&str>,
    reason: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update payout_methods set status = 'returned', returned_reason = $3
         where partner_id = $1 and account_masked = $2",
        partner_id.0,
        account_masked,
        reason,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Keeps what tax law says about a partner.
pub async fn put_tax_profile(
    db: &mut PgConnection,
    partner_id: PartnerId,
    p: &TaxProfile,
    by: UserId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let bps = |rate: Bps| i32::try_from(rate.0).unwrap_or(i32::MAX);
    sqlx::query!(
        "insert into tax_profiles
             (partner_id, legal_type, tax_country, tax_id, vat_id, vat_treatment, vat_rate_bps,
              withholding_bps, self_billing_agreed_at, updated_by, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict on constraint tax_profiles_pkey
         do update set legal_type = excluded.legal_type, tax_country = excluded.tax_country,
                       tax_id = excluded.tax_id, vat_id = excluded.vat_id,
                       vat_treatment = excluded.vat_treatment,
                       vat_rate_bps = excluded.vat_rate_bps,
                       withholding_bps = excluded.withholding_bps,
                       self_billing_agreed_at = excluded.self_billing_agreed_at,
                       updated_by = excluded.updated_by, updated_at = excluded.updated_at",
        partner_id.0,
        p.legal_type.code(),
        p.tax_country,
        p.tax_id,
        p.vat_id,
        p.vat_treatment.code(),
        bps(p.vat_rate),
        bps(p.withholding),
        p.self_billing_agreed_at,
        by.0,
        now,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Loads what tax law says about partners.
pub async fn load_tax_profiles(
    db: &mut PgConnection,
    partners: &[PartnerId],
) -> Result<HashMap<PartnerId, TaxProfile>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select partner_id as "partner_id: PartnerId", legal_type, tax_country, tax_id, vat_id,
                  vat_treatment, vat_rate_bps, withholding_bps, self_billing_agreed_at
           from tax_profiles
           where partner_id = any($1)"#,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let bps = |rate: i32| Bps(u32::try_from(rate).unwrap_or(0));
    let profiles = rows.into_iter().map(|r| {
        let profile = TaxProfile {
            legal_type: LegalType::from_code(&r.legal_type)
                .ok_or_else(|| unknown("tax_profiles.legal_type", &r.legal_type))?,
            tax_country: r.tax_country,
            tax_id: r.tax_id,
            vat_id: r.vat_id,
            vat_treatment: VatTreatment::from_code(&r.vat_treatment)
                .ok_or_else(|| unknown("tax_profiles.vat_treatment", &r.vat_treatment))?,
            vat_rate: bps(r.vat_rate_bps),
            withholding: bps(r.withholding_bps),
            self_billing_agreed_at: r.self_billing_agreed_at,
        };
        Ok((r.partner_id, profile))
    });
    profiles.collect()
}

/// Returns which partners were paid as self-employed before a time and owe the receipt.
pub async fn load_receipt_debtors(
    db: &mut PgConnection,
    program_id: ProgramId,
    partners: &[PartnerId],
    before: Timestamp,
) -> Result<Vec<PartnerId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select distinct partner_id as "partner_id: PartnerId"
           from payouts
           where program_id = $1 and partner_id = any($2) and status = 'paid'
             and legal_type = 'npd' and receipt_no is null and paid_at < $3"#,
        program_id.0,
        &partners.iter().map(|p| p.0).collect::<Vec<_>>(),
        before,
    )
    .fetch_all(db)
    .await
}

/// An account that pays, as it is kept.
#[derive(Clone, Debug)]
pub struct PayerRow {
    /// Its short name, which the ledger has too.
    pub label: String,
    /// `sepa` or `ru_bank`.
    pub kind: String,
    /// The document, sealed for the program.
    pub sealed: Vec<u8>,
    /// The account as people may see it.
    pub account_masked: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Keeps an account that pays.
pub async fn put_payer(
    db: &mut PgConnection,
    program_id: ProgramId,
    payer: &PayerRow,
    by: UserId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into payer_accounts
             (program_id, label, kind, sealed, account_masked, updated_by, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint payer_accounts_pkey
         do update set kind = excluded.kind, sealed = excluded.sealed,
                       account_masked = excluded.account_masked,
                       updated_by = excluded.updated_by, updated_at = excluded.updated_at",
        program_id.0,
        payer.label,
        payer.kind,
        payer.sealed,
        payer.account_masked,
        by.0,
        payer.updated_at,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Lists the accounts that pay for a program; a program has a handful.
pub async fn list_payers(
    db: &mut PgConnection,
    program_id: ProgramId,
) -> Result<Vec<PayerRow>, sqlx::Error> {
    sqlx::query_as!(
        PayerRow,
        "select label, kind, sealed, account_masked, updated_at
         from payer_accounts where program_id = $1 order by label",
        program_id.0,
    )
    .fetch_all(db)
    .await
}

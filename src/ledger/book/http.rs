//! The routes of the book itself: accounts with balances, transactions with entries.

#![expect(unused_qualifications, reason = "utoipa repeats the type of the query")]

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::account::http::{Caller, scope};
use crate::app::App;
use crate::clock::Timestamp;
use crate::ids::{LedgerAccountId, LedgerTransactionId, PartnerId, ProgramId};
use crate::ledger::Code as LedgerCode;
use crate::ledger::account::NormalSide;
use crate::ledger::book::store::{
    self as store, AccountBalance, AccountFilter, Placed, TransactionFilter, Unreadable,
};
use crate::money::Money;
use crate::web::fields::{path_id, time};
use crate::web::{Code, Page, PageQuery, Problem, ProblemBody, Query, detached};

/// Adds the routes of the book.
pub fn configure(cfg: &mut ServiceConfig) {
    cfg.service(list_accounts).service(list_transactions).service(get_transaction);
}

/// Which accounts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccountQuery {
    /// Whose book.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// Of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// In this currency.
    pub currency: Option<String>,
    /// The balance of what takes effect before this time, RFC 3339; all of it by default.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "time")]
    pub as_of: Option<Timestamp>,
}

/// An account and what is on it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountBody {
    /// Its key.
    #[schema(value_type = String)]
    pub id: LedgerAccountId,
    /// Its name in the chart.
    pub path: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The side on which it grows: `debit` or `credit`.
    pub normal_side: &'static str,
    /// Its balance on that side; below zero when it is on the other.
    #[schema(example = "120.00")]
    pub balance: String,
    /// When its first entry came.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl From<AccountBalance> for AccountBody {
    fn from(a: AccountBalance) -> Self {
        let (normal_side, minor) = match a.account.normal_side() {
            NormalSide::Debit => ("debit", a.balance.minor),
            NormalSide::Credit => ("credit", a.balance.minor.saturating_neg()),
        };
        Self {
            id: a.account_id,
            path: a.account.path(),
            currency: a.balance.currency.code().to_owned(),
            normal_side,
            balance: Money::new(minor, a.balance.currency).to_decimal_string(),
            created_at: a.created_at,
        }
    }
}

/// Lists the accounts of a program's book with their balances.
#[utoipa::path(tag = "ledger", params(AccountQuery, PageQuery), responses(
    (status = 200, body = Page<AccountBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/ledger/accounts")]
async fn list_accounts(
    app: Data<App>,
    caller: Caller<scope::LedgerRead>,
    query: Query<AccountQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(query.program_id)?;
    let (limit, after) = (page.limit()?, page.after::<(String, String)>()?);
    let currency = query.currency.as_deref().map(str::parse).transpose();
    let currency = currency.map_err(|e| wrong("/currency", format!("{e}")))?;
    let (db, query) = (app.db.clone(), query.into_inner());
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let filter = AccountFilter {
            program_id: query.program_id,
            partner: query.partner_id,
            currency,
            as_of: query.as_of,
            after: after.as_ref(),
        };
        Ok(store::load_accounts(&mut db, filter, i64::from(limit) + 1).await?)
    })
    .await?;
    let key = |a: &AccountBalance| (a.account.path(), a.balance.currency.code().to_owned());
    Ok(HttpResponse::Ok().json(Page::new(rows, limit, key).map(AccountBody::from)))
}

fn wrong(field: &str, why: String) -> Problem {
    Problem::new(Code::InvalidField).error(field, why)
}

/// Which transactions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TransactionQuery {
    /// Whose book.
    #[param(value_type = String)]
    pub program_id: ProgramId,
    /// That touch an account of this partner.
    #[param(value_type = Option<String>)]
    pub partner_id: Option<PartnerId>,
    /// For this: `accrue`, `approve`, `payout_reserve`, ….
    pub code: Option<String>,
    /// Of this name, such as `accrue:cm_…`.
    pub reference: Option<String>,
    /// Recorded from then on, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "time")]
    pub from: Option<Timestamp>,
    /// Recorded before, RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "time")]
    pub to: Option<Timestamp>,
}

/// A transaction of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionBody {
    /// Its key.
    #[schema(value_type = String)]
    pub id: LedgerTransactionId,
    /// Whose book.
    #[schema(value_type = String)]
    pub program_id: ProgramId,
    /// Its place in the chain, from 1.
    pub sequence: i64,
    /// What it is for.
    pub code: &'static str,
    /// Its name, once in a program.
    pub reference: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The transaction that it undoes.
    #[schema(value_type = Option<String>)]
    pub reverses_id: Option<LedgerTransactionId>,
    /// When it takes effect.
    #[schema(value_type = String, format = DateTime)]
    pub effective_at: Timestamp,
    /// When it was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
    /// Its entries; debits and credits are equal.
    pub entries: Vec<EntryBody>,
    /// The hash of the transaction before it, hexadecimal.
    pub previous_hash: String,
    /// Its own hash.
    pub hash: String,
}

/// One side of a transaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryBody {
    /// The account.
    pub account: String,
    /// The amount, if it is a debit.
    pub debit: Option<String>,
    /// The amount, if it is a credit.
    pub credit: Option<String>,
}

impl From<Placed> for TransactionBody {
    fn from(p: Placed) -> Self {
        let posting = &p.transaction.posting;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let entries = posting.entries().iter().map(|entry| {
            let minor = entry.amount_minor;
            let amount = |minor| Money::new(minor, posting.currency()).to_decimal_string();
            EntryBody {
                account: entry.account.path(),
                debit: (minor > 0).then(|| amount(minor)),
                credit: (minor < 0).then(|| amount(minor.saturating_neg())),
            }
        });
        Self {
            id: p.transaction.id,
            program_id: posting.program(),
            sequence: p.sequence,
            code: posting.code().text(),
            reference: posting.reference().to_owned(),
            currency: posting.currency().code().to_owned(),
            reverses_id: posting.reverses(),
            effective_at: posting.effective_at(),
            recorded_at: p.transaction.recorded_at,
            entries: entries.collect(),
            previous_hash: hex(&p.previous_hash),
            hash: hex(&p.hash),
        }
    }
}

fn readable(rows: Vec<Result<Placed, Unreadable>>) -> Result<Vec<Placed>, Problem> {
    rows.into_iter().collect::<Result<_, _>>().map_err(Problem::internal)
}

/// Lists the transactions of a program's book in the order of their chain.
#[utoipa::path(tag = "ledger", params(TransactionQuery, PageQuery), responses(
    (status = 200, body = Page<TransactionBody>), (status = 404, body = ProblemBody),
    (status = 422, body = ProblemBody)))]
#[get("/v1/ledger/transactions")]
async fn list_transactions(
    app: Data<App>,
    caller: Caller<scope::LedgerRead>,
    query: Query<TransactionQuery>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    caller.check_reach(query.program_id)?;
    let (limit, after) = (page.limit()?, page.after::<i64>()?.unwrap_or(0));
    let query = query.into_inner();
    let code = match query.code {
        Some(text) => Some(LedgerCode::from_text(&text).ok_or_else(|| {
            let known = LedgerCode::ALL.map(LedgerCode::text).join(", ");
            wrong("/code", format!("must be one of {known}"))
        })?),
        None => None,
    };
    let filter = TransactionFilter {
        partner: query.partner_id,
        code,
        reference: query.reference,
        recorded_from: query.from,
        recorded_to: query.to,
    };
    let (db, program_id) = (app.db.clone(), query.program_id);
    let rows = detached(async move {
        let mut db = db.acquire().await?;
        let limit = i64::from(limit) + 1;
        let places = store::find_places(&mut db, program_id, &filter, after, limit).await?;
        readable(store::load_placed(&mut db, program_id, &places).await?)
    })
    .await?;
    let page = Page::new(rows, limit, |p| p.sequence);
    Ok(HttpResponse::Ok().json(page.map(TransactionBody::from)))
}

/// Shows a transaction.
#[utoipa::path(tag = "ledger", responses(
    (status = 200, body = TransactionBody), (status = 404, body = ProblemBody)))]
#[get("/v1/ledger/transactions/{id}")]
async fn get_transaction(
    app: Data<App>,
    caller: Caller<scope::LedgerRead>,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: LedgerTransactionId = path_id(&id)?;
    let (db, programs) = (app.db.clone(), caller.programs.clone());
    let found = detached(async move {
        let mut db = db.acquire().await?;
        let Some((program_id, place)) = store::find_place(&mut db, id, programs.as_deref()).await?
        else {
            return Err(Problem::new(Code::NotFound));
        };
        readable(store::load_placed(&mut db, program_id, &[place]).await?)
    })
    .await?;
    let found = found.into_iter().next().ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(TransactionBody::from(found)))
}

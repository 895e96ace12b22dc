//! `payouts`: every payout of the batches made in a time, with the partner's balance before and
//! after it, and who was carried forward.
//!
//! Balances are the ledger's, in the order of its chain: a payout's movements are those since the
//! partner's payout before it. So
//! `opening + approved + bonuses + adjustments + returned − reversals − clawbacks − net payable`
//! is what is carried forward, whatever the dates say. What the bank moves is
//! `net payable + VAT − withholding`.

use chrono::NaiveDate;
use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, PayoutId, UserId};
use crate::report::commissions::percent;
use crate::report::rows::{PageSize, Rows, Summary};
use crate::report::{Cell, Column, ColumnKind as Kind, Params, Report, ReportError, money_cell};

/// The report.
#[derive(Debug)]
pub struct Payouts;

const COLUMNS: &[Column] = &[
    Kind::Text.named("payout_id"),
    Kind::Text.named("statement_no"),
    Kind::Text.named("batch_id"),
    Kind::Text.named("period"),
    Kind::Text.named("partner_id"),
    Kind::Text.named("partner_name"),
    Kind::Text.named("partner_kind"),
    Kind::Text.named("legal_type"),
    Kind::Text.named("tax_id"),
    Kind::Text.named("vat_id"),
    Kind::Text.named("country"),
    Kind::Text.named("currency"),
    Kind::Money.named("opening_balance"),
    Kind::Money.named("commissions_approved"),
    Kind::Money.named("bonuses"),
    Kind::Money.named("reversals"),
    Kind::Money.named("clawbacks"),
    Kind::Money.named("adjustments"),
    Kind::Money.named("returned"),
    Kind::Money.named("carried_forward_in"),
    Kind::Money.named("net_payable"),
    Kind::Text.named("vat_treatment"),
    Kind::Text.named("vat_rate"),
    Kind::Money.named("vat_amount"),
    Kind::Money.named("withholding_amount"),
    Kind::Money.named("gross_payable"),
    Kind::Money.named("transfer_amount"),
    Kind::Money.named("paid_amount"),
    Kind::Money.named("carried_forward_out"),
    Kind::Text.named("carried_forward_reason"),
    Kind::Text.named("method"),
    Kind::Text.named("account_masked"),
    Kind::Text.named("status"),
    Kind::Date.named("execution_date"),
    Kind::Time.named("paid_at"),
    Kind::Text.named("bank_reference"),
    Kind::Text.named("failure_reason"),
    Kind::Text.named("document_no"),
    Kind::Text.named("receipt_no"),
    Kind::Date.named("receipt_date"),
    Kind::Text.named("approved_by"),
    Kind::Text.named("ledger_tx_id"),
];

impl Report for Payouts {
    fn name(&self) -> &'static str {
        "payouts"
    }

    fn description(&self) -> &'static str {
        "Payouts of the batches made in the time, with balances before and after."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn stream<'a>(
        &'a self,
        db: &'a mut PgConnection,
        params: &'a Params,
        rows: &'a mut dyn Rows,
    ) -> BoxFuture<'a, Result<Summary, ReportError>> {
        Box::pin(async move {
            let mut totals = Totals::default();
            let (mut size, mut after) = (PageSize::first_of_sums(), (Uuid::nil(), Uuid::nil()));
            loop {
                let paid = load_payouts(db, params, after, size.rows()).await?;
                let is_last = size.is_last(paid.len());
                after = paid.last().map_or(after, |r| (r.payout_batch_id.0, r.partner_id.0));
                totals.add(&paid).ok_or_else(does_not_fit)?;
                rows.take(paid.into_iter().map(|r| payout_row(r, params)).collect()).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            let (mut size, mut after) = (PageSize::first(), (Uuid::nil(), Uuid::nil()));
            loop {
                let carried = load_carried_forward(db, params, after, size.rows()).await?;
                let is_last = size.is_last(carried.len());
                after = carried.last().map_or(after, |c| (c.payout_batch_id.0, c.partner_id.0));
                totals.n_carried += carried.len();
                rows.take(carried.into_iter().map(|c| carried_row(c, params)).collect()).await?;
                if is_last {
                    break;
                }
                rows.expect_more().await?;
            }
            Ok(totals.summary(params))
        })
    }
}

struct Row {
    payout_id: PayoutId,
    payout_batch_id: PayoutBatchId,
    period: String,
    statement_no: Option<String>,
    partner_id: PartnerId,
    name: String,
    kind: String,
    country: Option<String>,
    legal_type: Option<String>,
    tax_id: Option<String>,
    vat_id: Option<String>,
    vat_treatment: Option<String>,
    vat_rate_bps: Option<i32>,
    vat_minor: i64,
    withheld_minor: i64,
    method_kind: Option<String>,
    account_masked: Option<String>,
    document_no: Option<String>,
    receipt_no: Option<String>,
    receipt_on: Option<NaiveDate>,
    execution_on: Option<NaiveDate>,
    status: String,
    /// What an earlier batch did not pay.
    carried_in: Option<i64>,
    amount_minor: i64,
    items_minor: i64,
    ledger_minor: i64,
    opening: i64,
    approved: i64,
    bonuses: i64,
    reversals: i64,
    clawbacks: i64,
    adjustments: i64,
    returned: i64,
    closing: i64,
    paid_at: Option<Timestamp>,
    bank_reference: Option<String>,
    failure_reason: Option<String>,
    approved_by: Option<UserId>,
    reserve_transaction_id: LedgerTransactionId,
}

impl Row {
    /// Net and VAT; payments are too small by far for any sum here to overflow, else it shows.
    fn gross_minor(&self) -> i64 {
        self.amount_minor.saturating_add(self.vat_minor)
    }

    /// What the bank moves.
    fn transfer_minor(&self) -> i64 {
        self.gross_minor().saturating_sub(self.withheld_minor)
    }

    /// What the partner has: a payment that came back is none.
    fn paid_minor(&self) -> i64 {
        if self.status == "paid" { self.transfer_minor() } else { 0 }
    }

    /// Tells whether its commissions and its ledger entry are its amount.
    fn ties_out(&self) -> bool {
        self.items_minor == self.amount_minor && self.ledger_minor == self.amount_minor
    }
}

async fn load_payouts(
    db: &mut PgConnection,
    params: &Params,
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_file_as!(
        Row,
        "src/report/payment/payouts.sql",
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        after.0,
        after.1,
        limit,
    )
    .fetch_all(db)
    .await
}

struct Carried {
    payout_batch_id: PayoutBatchId,
    period: String,
    partner_id: PartnerId,
    name: String,
    kind: String,
    country: Option<String>,
    amount_minor: i64,
    reason: String,
    approved_by: Option<UserId>,
}

async fn load_carried_forward(
    db: &mut PgConnection,
    params: &Params,
    after: (Uuid, Uuid),
    limit: i64,
) -> Result<Vec<Carried>, sqlx::Error> {
    sqlx::query_as!(
        Carried,
        r#"select b.payout_batch_id as "payout_batch_id: PayoutBatchId", b.period,
                  f.partner_id as "partner_id: PartnerId", n.name, n.kind, n.country,
                  f.amount_minor, f.reason, b.approved_by as "approved_by: UserId"
           from payout_batches b
           join payout_carried_forward f
             on f.program_id = b.program_id and f.payout_batch_id = b.payout_batch_id
           join partners n on n.partner_id = f.partner_id
           where b.program_id = $1 and b.currency = $2 and b.status <> 'canceled'
             and b.created_at >= $3 and b.created_at < $4
             and (f.payout_batch_id, f.partner_id) > ($5, $6)
           order by f.payout_batch_id, f.partner_id
           limit $7"#,
        params.program_id.0,
        params.currency.code(),
        params.window.from,
        params.window.to,
        after.0,
        after.1,
        limit,
    )
    .fetch_all(db)
    .await
}

fn does_not_fit() -> ReportError {
    ReportError::BadFigure("a total does not fit".to_owned())
}

/// What the rows come to; payouts that were called off count for nothing.
#[derive(Default)]
struct Totals {
    n_payouts: usize,
    net: i64,
    vat: i64,
    withheld: i64,
    items: i64,
    ledger: i64,
    paid: i64,
    n_untied: usize,
    n_carried: usize,
}

impl Totals {
    fn add(&mut self, page: &[Row]) -> Option<()> {
        self.n_untied += page.iter().filter(|r| !r.ties_out()).count();
        for row in page.iter().filter(|r| r.status != "canceled") {
            self.n_payouts += 1;
            self.net = self.net.checked_add(row.amount_minor)?;
            self.vat = self.vat.checked_add(row.vat_minor)?;
            self.withheld = self.withheld.checked_add(row.withheld_minor)?;
            self.items = self.items.checked_add(row.items_minor)?;
            self.ledger = self.ledger.checked_add(row.ledger_minor)?;
            self.paid = self.paid.checked_add(row.paid_minor())?;
        }
        Some(())
    }

    fn summary(&self, params: &Params) -> Summary {
        let count = |n: usize| Cell::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let money = |minor| money_cell(minor, params.currency);
        vec![
            ("payouts", count(self.n_payouts)),
            ("net_payable", money(self.net)),
            ("vat_amount", money(self.vat)),
            ("withholding_amount", money(self.withheld)),
            ("commissions", money(self.items)),
            ("ledger_reserved", money(self.ledger)),
            ("paid_amount", money(self.paid)),
            ("untied_payouts", count(self.n_untied)),
            ("carried_forward", count(self.n_carried)),
        ]
    }
}

fn payout_row(r: Row, params: &Params) -> Vec<Cell> {
    let money = |minor| money_cell(minor, params.currency);
    let [gross, transfer, paid] = [r.gross_minor(), r.transfer_minor(), r.paid_minor()];
    let text = |value: Option<String>| Cell::or_empty(value, Cell::Text);
    vec![
        Cell::text(r.payout_id),
        text(r.statement_no),
        Cell::text(r.payout_batch_id),
        Cell::Text(r.period),
        Cell::text(r.partner_id),
        Cell::Text(r.name),
        Cell::Text(r.kind),
        text(r.legal_type),
        text(r.tax_id),
        text(r.vat_id),
        text(r.country),
        Cell::text(params.currency),
        money(r.opening),
        money(r.approved),
        money(r.bonuses),
        money(r.reversals),
        money(r.clawbacks),
        money(r.adjustments),
        money(r.returned),
        money(r.carried_in.unwrap_or(0)),
        money(r.amount_minor),
        text(r.vat_treatment),
        Cell::or_empty(r.vat_rate_bps, |bps| Cell::Text(percent(bps.into()))),
        money(r.vat_minor),
        money(r.withheld_minor),
        money(gross),
        money(transfer),
        money(paid),
        money(r.closing),
        Cell::Empty,
        text(r.method_kind),
        text(r.account_masked),
        Cell::Text(r.status),
        Cell::or_empty(r.execution_on, Cell::Date),
        Cell::or_empty(r.paid_at, Cell::Time),
        text(r.bank_reference),
        text(r.failure_reason),
        text(r.document_no),
        text(r.receipt_no),
        Cell::or_empty(r.receipt_on, Cell::Date),
        Cell::or_empty(r.approved_by, Cell::text),
        Cell::text(r.reserve_transaction_id),
    ]
}

fn carried_row(c: Carried, params: &Params) -> Vec<Cell> {
    let mut row = vec![Cell::Empty; COLUMNS.len()];
    let mut set = |name: &str, cell: Cell| {
        let place = COLUMNS.iter().position(|column| column.name == name);
        row[place.expect("only columns of this report are set")] = cell;
    };
    set("batch_id", Cell::text(c.payout_batch_id));
    set("period", Cell::Text(c.period));
    set("partner_id", Cell::text(c.partner_id));
    set("partner_name", Cell::Text(c.name));
    set("partner_kind", Cell::Text(c.kind));
    set("country", Cell::or_empty(c.country, Cell::Text));
    set("currency", Cell::text(params.currency));
    set("net_payable", money_cell(0, params.currency));
    set("carried_forward_out", money_cell(c.amount_minor, params.currency));
    set("carried_forward_reason", Cell::Text(c.reason));
    set("paid_amount", money_cell(0, params.currency));
    set("status", Cell::text("carried_forward"));
    set("approved_by", Cell::or_empty(c.approved_by, Cell::text));
    row
}

//! Keeps how PostgreSQL answers each question: the plans of the first page, with times and buffers.

use std::path::Path;

use chrono::Days;
use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use tributary::clock::{Clock, Timestamp};
use tributary::ids::ProgramId;
use uuid::Uuid;

type Question = sqlx::query::QueryScalar<'static, Postgres, String, PgArguments>;

/// Partners of the first page of a report whose rows are sums of many.
const FIRST_PAGE: i64 = 20;

fn explain(sql: &str) -> Question {
    sqlx::query_scalar(AssertSqlSafe(format!("explain (analyze, buffers, settings) {sql}")))
}

/// Writes a file for each question into a folder.
pub(crate) async fn keep(
    db: &mut PgConnection,
    program_id: ProgramId,
    folder: &Path,
) -> anyhow::Result<()> {
    let now: Timestamp = Clock::system().now();
    let (from, month) = (now - Days::new(401), now - Days::new(31));
    let ago = |days| now - Days::new(days);
    let partners: Vec<Uuid> = sqlx::query_scalar(
        "select distinct partner_id from ledger_accounts
         where program_id = $1 and partner_id is not null order by 1 limit $2",
    )
    .bind(program_id.0)
    .bind(FIRST_PAGE)
    .fetch_all(&mut *db)
    .await?;
    // The largest of all: what its page costs is the most that a page can cost.
    let largest: Vec<Uuid> = sqlx::query_scalar("select partner_id from load.partner where n = 1")
        .fetch_all(&mut *db)
        .await?;
    let of = |sql: &str| explain(sql).bind(program_id.0).bind("EUR");
    let accrual = include_str!("../../src/report/accrual.sql");
    let aged = include_str!("../../src/report/aged.sql");
    let nil = Uuid::nil();
    let first_period = "2000-01";
    let questions: Vec<(&str, Question)> = vec![
        (
            "commissions",
            of(include_str!("../../src/report/commissions.sql")).bind(from).bind(nil).bind(now).bind(200i64),
        ),
        (
            "payouts",
            of(include_str!("../../src/report/payment/payouts.sql"))
                .bind(from)
                .bind(now)
                .bind(nil)
                .bind(nil)
                .bind(FIRST_PAGE),
        ),
        (
            "reconciliation",
            of(include_str!("../../src/report/reconciliation.sql"))
                .bind(month)
                .bind(now)
                .bind(nil)
                .bind(FIRST_PAGE),
        ),
        ("accrual", of(accrual).bind("UTC").bind(from).bind(now).bind(partners.clone())),
        ("accrual-of-the-largest", of(accrual).bind("UTC").bind(from).bind(now).bind(largest.clone())),
        ("aged", of(aged).bind(partners).bind(now).bind(ago(30)).bind(ago(60)).bind(ago(90))),
        (
            "aged-of-the-largest",
            of(aged).bind(largest.clone()).bind(now).bind(ago(30)).bind(ago(60)).bind(ago(90)),
        ),
        (
            "unattributed",
            of(include_str!("../../src/report/unattributed.sql")).bind(from).bind(nil).bind(now).bind(200i64),
        ),
        (
            "traffic",
            of(include_str!("../../src/report/traffic.sql"))
                .bind("UTC")
                .bind(ago(2))
                .bind(ago(1))
                .bind(0i16)
                .bind(2i16),
        ),
        (
            "statements",
            of(include_str!("../../src/report/payment/statements.sql"))
                .bind(first_period)
                .bind(nil)
                .bind("9999-12")
                .bind(200i64),
        ),
        (
            "receipts",
            of(include_str!("../../src/report/payment/receipts.sql"))
                .bind(from)
                .bind(nil)
                .bind(now)
                .bind(200i64),
        ),
        (
            "bank-answers",
            of(include_str!("../../src/report/payment/bank_answers.sql"))
                .bind(from)
                .bind(now)
                .bind(tributary::payout::result::UNMATCHED.map(str::to_owned).to_vec()),
        ),
        (
            "balance",
            explain(
                "select a.path, b.balance_minor
                 from ledger_accounts a
                 join ledger_balances b on b.program_id = a.program_id and b.account_id = a.account_id
                 where a.program_id = $1 and a.currency = $2
                   and a.path in (select path from ledger_accounts where partner_id = $3 and program_id = $1)",
            )
            .bind(program_id.0)
            .bind("EUR")
            .bind(largest[0]),
        ),
    ];
    let folder = folder.join("plans");
    std::fs::create_dir_all(&folder)?;
    for (name, question) in questions {
        let lines = question.fetch_all(&mut *db).await?;
        std::fs::write(folder.join(format!("{name}.txt")), lines.join("\n") + "\n")?;
    }
    Ok(())
}

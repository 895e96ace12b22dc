//! Keeps how PostgreSQL answers each question: the plans of the first page, with times and buffers.

use std::path::Path;

use chrono::Days;
use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};
use tributary::clock::{Clock, Timestamp};
use tributary::ids::ProgramId;
use tributary::payout::result::UNMATCHED;
use uuid::Uuid;

type Question = sqlx::query::QueryScalar<'static, Postgres, String, PgArguments>;

/// A question and the name of its file.
type Named = (&'static str, Question);

/// Partners of the first page of a report whose rows are sums of many.
const FIRST_PAGE: i64 = 20;

/// Whom and when the questions are about.
struct About {
    program_id: Uuid,
    now: Timestamp,
    /// Those of the first page.
    partners: Vec<Uuid>,
    /// The largest of all: what its page costs is the most that a page can cost.
    largest: Vec<Uuid>,
}

impl About {
    async fn load(db: &mut PgConnection, program_id: ProgramId) -> anyhow::Result<Self> {
        let partners = sqlx::query_scalar(
            "select distinct partner_id from ledger_accounts
             where program_id = $1 and partner_id is not null order by 1 limit $2",
        )
        .bind(program_id.0)
        .bind(FIRST_PAGE)
        .fetch_all(&mut *db)
        .await?;
        let largest = sqlx::query_scalar("select partner_id from load.partner where n = 1")
            .fetch_all(&mut *db)
            .await?;
        Ok(Self { program_id: program_id.0, now: Clock::system().now(), partners, largest })
    }

    fn ago(&self, days: u64) -> Timestamp {
        self.now - Days::new(days)
    }

    fn ask(&self, sql: &str) -> Question {
        explain(sql).bind(self.program_id).bind("EUR")
    }

    fn accrual(&self, partners: &[Uuid]) -> Question {
        self.ask(include_str!("../../src/report/accrual.sql"))
            .bind("UTC")
            .bind(self.ago(401))
            .bind(self.now)
            .bind(partners.to_vec())
    }

    fn aged(&self, partners: &[Uuid]) -> Question {
        self.ask(include_str!("../../src/report/aged.sql"))
            .bind(partners.to_vec())
            .bind(self.now)
            .bind(self.ago(30))
            .bind(self.ago(60))
            .bind(self.ago(90))
    }

    /// Asks what reads on after a place in time.
    fn after(&self, sql: &str) -> Question {
        self.ask(sql).bind(self.ago(401)).bind(Uuid::nil()).bind(self.now).bind(200i64)
    }

    fn of_lines(&self) -> Vec<Named> {
        vec![
            ("commissions", self.after(include_str!("../../src/report/commissions.sql"))),
            (
                "unattributed",
                self.after(include_str!("../../src/report/unattributed/rows.sql")).bind(vec![
                    "click".to_owned(),
                    "coupon".to_owned(),
                    "customer".to_owned(),
                ]),
            ),
            ("receipts", self.after(include_str!("../../src/report/payment/receipts.sql"))),
            (
                "traffic",
                self.ask(include_str!("../../src/report/traffic.sql"))
                    .bind("UTC")
                    .bind(self.ago(2))
                    .bind(self.ago(1))
                    .bind(0i16)
                    .bind(2i16)
                    .bind(None::<Uuid>),
            ),
            (
                "statements",
                self.ask(include_str!("../../src/report/payment/statements.sql"))
                    .bind("2000-01")
                    .bind(Uuid::nil())
                    .bind("9999-12")
                    .bind(200i64),
            ),
            (
                "bank-answers",
                self.ask(include_str!("../../src/report/payment/bank_answers.sql"))
                    .bind(self.ago(401))
                    .bind(self.now)
                    .bind(UNMATCHED.map(str::to_owned).to_vec()),
            ),
        ]
    }

    fn of_sums(&self) -> Vec<Named> {
        vec![
            (
                "payouts",
                self.ask(include_str!("../../src/report/payment/payouts.sql"))
                    .bind(self.ago(401))
                    .bind(self.now)
                    .bind(Uuid::nil())
                    .bind(Uuid::nil())
                    .bind(FIRST_PAGE),
            ),
            (
                "reconciliation",
                self.ask(include_str!("../../src/report/reconciliation.sql"))
                    .bind(self.ago(31))
                    .bind(self.now)
                    .bind(Uuid::nil())
                    .bind(FIRST_PAGE),
            ),
            ("accrual", self.accrual(&self.partners)),
            ("accrual-of-the-largest", self.accrual(&self.largest)),
            ("aged", self.aged(&self.partners)),
            ("aged-of-the-largest", self.aged(&self.largest)),
        ]
    }
}

fn explain(sql: &str) -> Question {
    sqlx::query_scalar(AssertSqlSafe(format!("explain (analyze, buffers, settings) {sql}")))
}

/// Writes a file for each question into a folder.
pub(crate) async fn keep(
    db: &mut PgConnection,
    program_id: ProgramId,
    folder: &Path,
) -> anyhow::Result<()> {
    let about = About::load(db, program_id).await?;
    let folder = folder.join("plans");
    std::fs::create_dir_all(&folder)?;
    for (name, question) in about.of_lines().into_iter().chain(about.of_sums()) {
        let lines = question.fetch_all(&mut *db).await?;
        std::fs::write(folder.join(format!("{name}.txt")), lines.join("\n") + "\n")?;
    }
    Ok(())
}

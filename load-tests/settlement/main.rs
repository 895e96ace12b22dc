//! Settles conversions and clicks with every rule applied, beside a bare batch that only writes
//! the rows.
//!
//! Both work in one process on one PostgreSQL, in alternating bursts, so that a busy machine slows
//! both alike: only their ratio is a result. The bare batch copies the very rows that settlement
//! has just written (conversion, commission, ledger entries, and the sum of each account) into
//! tables of the same shape, indexes and size, by COPY, in one transaction. Conversions are settled of one
//! shard, as on a single Redis, and of two at once, against one bare batch of all their rows.
//!
//! `load-tests/settlement/run` starts scratch engines around it.
#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a measurement at a terminal: it prints ratios"
)]

mod clicks;

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnection, PgPoolCopyExt as _};
use sqlx::{Connection as _, Executor as _};
use tributary::app::App;
use tributary::click::click_id::ClickId;
use tributary::clock::{Clock, Timestamp};
use tributary::commission::hold::Trust;
use tributary::config::{Config, environment};
use tributary::conversion::webhook::{WebhookMessage, read_report};
use tributary::dev::example_setting;
use tributary::ids::{LinkNo, PartnerNo, ProgramId, ProgramNo, ReceiptId, SourceId};
use tributary::settlement::Message;
use tributary::settlement::settler::Settler;
use uuid::Uuid;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Conversions in a burst: one batch of them is one transaction of either side. The second is what the
/// service settles at once where it is not told otherwise.
const BATCHES: [usize; 3] = [1_000, 2_000, 10_000];
/// Clicks in a batch; of a backlog the service settles the largest of these at once.
const CLICK_BATCHES: [usize; 3] = [1_000, 10_000, 40_000];
/// Clicks of a burst, in whole batches.
const CLICKS_A_BURST: usize = 80_000;
/// Bursts of each side and size; the first of them warms caches and is not counted.
const BURSTS: usize = 8;
/// Bursts before all others, which are not counted.
const WARMING: usize = 5;
/// Shards that are settled at once: one on a single Redis where nobody asked for more; of many a process
/// settles two at a time, each by a transaction of its own.
const SHARDS: [usize; 2] = [1, 2];
/// Partners who earn.
const PARTNERS: u32 = 500;
/// What a bare batch writes: each table with the rows of the burst.
const TABLES: [(&str, &str); 3] = [
    ("conversions", "settled_at = $$AT$$"),
    ("commissions", "created_at = $$AT$$"),
    (
        "ledger_entries",
        "(program_id, ledger_transaction_id) in (select program_id, ledger_transaction_id from
          public.ledger_transactions where recorded_at = $$AT$$)",
    ),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = environment("DATABASE_URL").expect("run it by load-tests/settlement/run");
    tributary::db::migrate(&url).await?;
    let spool = tempfile::tempdir()?;
    let config = Config::from(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "TRIBUTARY_SPOOL_DIR" => Some(spool.path().join("spool").display().to_string()),
        other => example_setting(other),
    })
    .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let app = App::build(config, Clock::manual(Clock::system().now()))?;
    let mut db = PgConnection::connect(&url).await?;
    let ground = Ground::lay(&mut db).await?;
    println!("                 batch    rules/s    bare/s   ratio min  median     max");
    let mut n_orders = 0;
    // Tables that hold nothing are nobody's, and a process that has just begun is none that settles.
    for _ in 0..WARMING {
        settle(&app, vec![ground.messages(&app, n_orders, BATCHES[1])?]).await?;
        copy_bare(&app, &mut db).await?;
        n_orders += BATCHES[1];
    }
    for n_shards in SHARDS {
        for batch in BATCHES {
            let mut pairs = Vec::new();
            for _ in 0..BURSTS {
                let mut batches = Vec::new();
                for _ in 0..n_shards {
                    batches.push(ground.messages(&app, n_orders, batch)?);
                    n_orders += batch;
                }
                let took = settle(&app, batches).await?;
                pairs.push((took, copy_bare(&app, &mut db).await?));
            }
            print(&format!("conversions, {n_shards}"), n_shards * batch, n_shards * batch, &pairs);
        }
    }
    let mut n_clicks = 0;
    // One for all bursts: it keeps in memory whom it has seen.
    let settler = app.settler();
    for batch in CLICK_BATCHES {
        let mut pairs = Vec::new();
        for _ in 0..BURSTS {
            let burst = clicks::burst(&ground, &app, n_clicks, CLICKS_A_BURST);
            n_clicks += CLICKS_A_BURST;
            pairs.push(clicks::settle((&settler, &app), &mut db, &burst, batch).await?);
        }
        print("clicks", batch, CLICKS_A_BURST, &pairs);
    }
    let (rows, beside) = clicks::bytes_a_click(&mut db).await?;
    println!("a click takes {rows:.0} bytes with its key, {beside:.0} in visitors and sums");
    Ok(())
}

/// Prints rates and ratios of all bursts but the first, which warms caches.
fn print(what: &str, batch: usize, n: usize, pairs: &[(Duration, Duration)]) {
    let pairs = &pairs[1..];
    let rate = |took: Duration| n as f64 / took.as_secs_f64();
    let mut with_rules: Vec<f64> = pairs.iter().map(|(rules, _)| rate(*rules)).collect();
    let mut bare: Vec<f64> = pairs.iter().map(|(_, bare)| rate(*bare)).collect();
    let ratio = |(rules, bare): &(Duration, Duration)| bare.as_secs_f64() / rules.as_secs_f64();
    let mut ratios: Vec<f64> = pairs.iter().map(ratio).collect();
    println!(
        "{what:>15} {batch:>6} {:>9.0} {:>9.0}   {:>9.2} {:>7.2} {:>7.2}",
        median(&mut with_rules),
        median(&mut bare),
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        median(&mut ratios),
        ratios.iter().copied().fold(0.0, f64::max),
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Settles batches at once as the settler does: facts, decisions, one transaction for each.
async fn settle(app: &App, batches: Vec<Vec<Message>>) -> anyhow::Result<Duration> {
    app.clock.set(app.clock.now() + chrono::Duration::seconds(1));
    let n_shards = u16::try_from(batches.len())?;
    let settler = Settler { n_shards, ..app.settler() };
    let started = Instant::now();
    let settling = batches.into_iter().map(|messages| {
        let settler = settler.clone();
        tokio::spawn(async move { settler.settle_messages(messages).await })
    });
    for settled in settling.collect::<Vec<_>>() {
        settled.await??;
    }
    Ok(started.elapsed())
}

/// Writes what the last batch wrote once more, by COPY, into tables without any rule.
async fn copy_bare(app: &App, db: &mut PgConnection) -> anyhow::Result<Duration> {
    let at = app.clock.now().to_rfc3339();
    let mut rows = Vec::new();
    for (table, of_burst) in TABLES {
        let filter = of_burst.replace("$$AT$$", &format!("'{at}'"));
        let sql =
            format!("copy (select * from public.{table} where {filter}) to stdout (format binary)");
        let bytes: Vec<u8> = app
            .background_db
            .copy_out_raw(&sql)
            .await?
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await?;
        rows.push((table, bytes));
    }
    // A batch knows what it sums up, as settlement does.
    let sums: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "select e.program_id, e.account_id, sum(e.amount_minor)::bigint
         from ledger_entries e
         join ledger_transactions t using (program_id, ledger_transaction_id)
         where t.recorded_at = $1 group by 1, 2 order by 1, 2",
    )
    .bind(app.clock.now())
    .fetch_all(&mut *db)
    .await?;
    let started = Instant::now();
    db.execute("begin").await?;
    for (table, bytes) in &rows {
        let sql = format!("copy bare.{table} from stdin (format binary)");
        let mut copy = db.copy_in_raw(&sql).await?;
        copy.send(bytes.as_slice()).await?;
        copy.finish().await?;
    }
    sqlx::query(
        "insert into bare.ledger_balances as b (program_id, account_id, balance_minor)
         select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
         on conflict (program_id, account_id)
         do update set balance_minor = b.balance_minor + excluded.balance_minor",
    )
    .bind(sums.iter().map(|sum| sum.0).collect::<Vec<_>>())
    .bind(sums.iter().map(|sum| sum.1).collect::<Vec<_>>())
    .bind(sums.iter().map(|sum| sum.2).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    db.execute("commit").await?;
    Ok(started.elapsed())
}

/// The terms that everything is settled by: one program, one plan, one source, some partners.
struct Ground {
    program_id: ProgramId,
    number: ProgramNo,
    source_id: SourceId,
    first_partner: u32,
}

impl Ground {
    async fn lay(db: &mut PgConnection) -> anyhow::Result<Self> {
        let (program_id, source_id) = (ProgramId::new(), SourceId::new());
        let slug = format!("load-{}", Uuid::now_v7().simple());
        let number: i32 = sqlx::query_scalar(
            "insert into programs (program_id, name, slug, currency, landing_template, created_at,
                                   updated_at)
             values ($1, 'Load', $2, 'EUR', 'https://shop.test/', now(), now()) returning number",
        )
        .bind(program_id.0)
        .bind(&slug)
        .fetch_one(&mut *db)
        .await?;
        sqlx::query(
            "insert into sources (program_id, source_id, name, created_at, updated_at)
             values ($1, $2, 'Load', now(), now())",
        )
        .bind(program_id.0)
        .bind(source_id.0)
        .execute(&mut *db)
        .await?;
        let plan = json!({
            "v": 1, "hold_days": 30, "approval": "auto", "rounding": "half_even",
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]});
        sqlx::query(
            "insert into plan_versions (program_id, plan_version_id, effective_from, document,
                                        created_by, created_at)
             values ($1, $2, now() - interval '1 year', $3, gen_random_uuid(), now())",
        )
        .bind(program_id.0)
        .bind(Uuid::now_v7())
        .bind(plan)
        .execute(&mut *db)
        .await?;
        let first_partner: i64 = sqlx::query_scalar(
            "with made as (
                 insert into partners (partner_id, name, slug, kind, created_at, updated_at)
                 select gen_random_uuid(), 'Partner ' || n, $2 || '-' || n, 'webmaster', now(), now()
                 from generate_series(1, $3) n returning partner_id, number),
             enrolled as (
                 insert into enrollments (program_id, partner_id, created_at, updated_at)
                 select $1, partner_id, now(), now() from made)
             select min(number) from made",
        )
        .bind(program_id.0)
        .bind(&slug)
        .bind(i64::from(PARTNERS))
        .fetch_one(&mut *db)
        .await?;
        db.execute("drop schema if exists bare cascade").await?;
        db.execute("create schema bare").await?;
        for table in ["clicks", "conversions", "commissions", "ledger_entries", "ledger_balances"] {
            let sql = format!("create table bare.{table} (like public.{table} including indexes)");
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *db).await?;
        }
        Ok(Self {
            program_id,
            number: ProgramNo(u32::try_from(number)?),
            source_id,
            first_partner: u32::try_from(first_partner)?,
        })
    }

    /// Returns sales as a shop would report them, each of another order and of a click of its own.
    fn messages(&self, app: &App, first: usize, n: usize) -> anyhow::Result<Vec<Message>> {
        (first..first + n).map(|order| self.message(app, order)).collect()
    }

    fn message(&self, app: &App, order: usize) -> anyhow::Result<Message> {
        let now: Timestamp = app.clock.now();
        let n = u32::try_from(order)?;
        let partner = PartnerNo(self.first_partner + n % PARTNERS);
        let [a, b, c, d] = n.to_be_bytes();
        let clicked_at = now - chrono::Duration::hours(2);
        let click = ClickId::new(clicked_at, self.number, partner, LinkNo(1), [0, a, b, c, d]);
        let body = json!({
            "type": "conversion.created", "timestamp": now,
            "data": {
                "click_id": click.sign(&app.config.click_keys).to_string(), "event": "sale",
                "order_id": format!("L-{order}"), "currency": "EUR",
                "amount": format!("{}.{:02}", 10 + n % 400, n % 100)}})
        .to_string();
        let webhook: WebhookMessage = serde_json::from_str(&body)?;
        let report = read_report(webhook, &app.customer_key, now)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        Ok(Message {
            receipt_id: ReceiptId::new(),
            program_id: self.program_id,
            source_id: self.source_id,
            channel: "webhook".to_owned(),
            message_id: format!("msg_{order}"),
            body_hash: Sha256::digest(body.as_bytes()).into(),
            received_at: now,
            sent_at: now,
            trust: Trust::Signed,
            report,
        })
    }
}

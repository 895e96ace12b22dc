//! Measures what-if: a plan as it is, and drafts with tiers, caps and a budget, over a long history
//! of many partners.
//!
//! The history is written by SQL: conversions and commissions as settlement would have written them
//! by a plan of 20 %. `load-tests/whatif/run` starts scratch engines around it.
#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a measurement at a terminal: it prints rates"
)]

use std::time::Instant;

use anyhow::ensure;
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tributary::app::App;
use tributary::clock::{Clock, Timestamp};
use tributary::commission::PlanTerms;
use tributary::commission::simulate::run::{self, Ask};
use tributary::commission::simulate::{Draft, Span};
use tributary::config::{Config, environment};
use tributary::dev::example_setting;
use tributary::ids::{PartnerId, PlanVersionId, ProgramId};
use uuid::Uuid;

/// Partners who earn.
const PARTNERS: i32 = 2_000;
/// Days of history.
const DAYS: i64 = 365;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = environment("DATABASE_URL").expect("run it by load-tests/whatif/run");
    let n: i64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    tributary::db::migrate(&url).await?;
    let spool = tempfile::tempdir()?;
    let config = Config::from(|name| match name {
        "DATABASE_URL" => Some(url.clone()),
        "TRIBUTARY_SPOOL_DIR" => Some(spool.path().join("spool").display().to_string()),
        other => example_setting(other),
    })
    .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let app = App::build(config, Clock::system())?;
    let mut db = PgConnection::connect(&url).await?;
    let now = app.clock.now();
    let span = Span { from: now - chrono::TimeDelta::days(DAYS + 1), to: now };
    let began = Instant::now();
    let program_id = lay(&mut db, n, span).await?;
    println!("{n} conversions of {PARTNERS} partners laid in {:.0?}", began.elapsed());
    println!("plan                                     seconds  conversions/s");
    for (name, plan) in plans() {
        let draft = plan.map(|plan| {
            let terms = PlanTerms::try_from(&serde_json::from_value(plan)?)?;
            anyhow::Ok(Draft { from: span.from, terms: terms.into() })
        });
        let is_draft = draft.is_some();
        let ask = Ask { program_id, span, draft: draft.transpose()?, now };
        let began = Instant::now();
        let told = run::run(&app.db, &ask, None, |_| true).await?;
        let took = began.elapsed().as_secs_f64();
        ensure!(told.n_read == n.cast_unsigned(), "{} read", told.n_read);
        let changed: i64 =
            told.outcome.totals().values().map(|tally| tally.difference_minor()).sum();
        ensure!(is_draft == (changed != 0), "{name}: {changed}");
        println!("{name:40} {took:>7.1} {:>14.0}", n as f64 / took);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("peak memory of the service: {}", peak.trim_start_matches("VmHWM:").trim());
    Ok(())
}

/// The plan as it is, a draft that counts, and one that must know each month before it begins.
fn plans() -> [(&'static str, Option<Value>); 3] {
    let tiered = |mode: &str| {
        json!({"v": 1, "rules": [
            {"event": "sale", "kind": "percent", "percent_bps": 1500, "currency": "EUR",
             "tiers": {"period": "month", "mode": mode, "steps": [
                {"from_amount": "2000.00", "percent_bps": 1800},
                {"from_amount": "8000.00", "percent_bps": 2200}]},
             "caps": [{"period": "week", "amount": "900.00"}]},
            {"event": "sale", "kind": "percent", "percent_bps": 2500, "currency": "EUR",
             "countries": ["DE"]}],
            "caps": [{"period": "day", "per": "program", "amount": "60000.00",
                "currency": "EUR"}]})
    };
    [
        ("as it is", None),
        ("draft: progressive tiers, caps, a budget", Some(tiered("progressive"))),
        ("draft: retroactive tiers, read twice", Some(tiered("retroactive"))),
    ]
}

/// Writes the history.
async fn lay(db: &mut PgConnection, n: i64, span: Span) -> anyhow::Result<ProgramId> {
    let (program_id, version_id) = (ProgramId::new(), PlanVersionId::new());
    sqlx::query(
        "insert into programs (program_id, name, slug, currency, landing_template, created_at,
                               updated_at)
         values ($1, 'Load', $2, 'EUR', 'https://shop.test/', now(), now())",
    )
    .bind(program_id.0)
    .bind(format!("load-{}", Uuid::now_v7().simple()))
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into plan_versions (program_id, plan_version_id, effective_from, document,
                                    created_by, created_at)
         values ($1, $2, $3, $4, gen_random_uuid(), now())",
    )
    .bind(program_id.0)
    .bind(version_id.0)
    .bind(span.from)
    .bind(json!({"v": 1, "rules": [{"event": "sale", "kind": "percent", "percent_bps": 2000}]}))
    .execute(&mut *db)
    .await?;
    let partners: Vec<PartnerId> = (0..PARTNERS).map(|_| PartnerId::new()).collect();
    let ids: Vec<Uuid> = partners.iter().map(|id| id.0).collect();
    let names: Vec<String> = partners.iter().map(ToString::to_string).collect();
    sqlx::query(
        "with made as (
             insert into partners (partner_id, name, slug, kind, created_at, updated_at)
             select id, 'Partner ' || n, $3 || '-' || n, 'webmaster', now(), now()
             from unnest($2::uuid[]) with ordinality as p (id, n)
             returning partner_id)
         insert into enrollments (program_id, partner_id, created_at, updated_at)
         select $1, partner_id, now(), now() from made",
    )
    .bind(program_id.0)
    .bind(&ids)
    .bind(format!("load-{}", Uuid::now_v7().simple()))
    .execute(&mut *db)
    .await?;
    write_history(db, program_id, &ids, n, span.from).await?;
    write_commissions(db, (program_id, version_id), (&ids, &names)).await?;
    sqlx::query("analyze").execute(&mut *db).await?;
    Ok(program_id)
}

/// One sale in a hundred has a partial refund; a third comes from Germany.
async fn write_history(
    db: &mut PgConnection,
    program_id: ProgramId,
    ids: &[Uuid],
    n: i64,
    from: Timestamp,
) -> anyhow::Result<()> {
    sqlx::query(
        "create temporary table laid as
         select n, gen_random_uuid() as conversion_id, 1 + (n * 7919 % $2)::int as partner,
                500 * (1 + n * 31 % 200) as amount_minor,
                (n % 100 = 0) as is_refunded, (n % 3 = 0) as is_german,
                $3::timestamptz + (n * 86400.0 * $4 / $1) * interval '1 second' as at
         from generate_series(1, $1) n",
    )
    .bind(n)
    .bind(i64::from(PARTNERS))
    .bind(from)
    .bind(DAYS)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        r#"insert into conversions
             (program_id, conversion_id, order_namespace, event, dedup_ref, source_id, channel,
              trust, order_id, partner_id, attribution, amount_minor, base_minor, currency,
              refunded_minor, occurred_at, received_at, settled_at, receipt_id, content_hash,
              details)
         select $1, conversion_id, '', 'sale', 'L-' || n, $1, 'webhook', 'signed', 'L-' || n,
                ($2::uuid[])[partner], 'click', amount_minor, amount_minor, 'EUR',
                case when is_refunded then 100 else 0 end, at, at, at, gen_random_uuid(), '\x00',
                jsonb_build_object('v', 1, 'type', 'conversion.created', 'event', 'sale',
                    'order_id', 'L-' || n, 'click_id', repeat('x', 60), 'currency', 'EUR',
                    'amount_minor', amount_minor, 'occurred_at', at, 'is_test', false,
                    'metadata', case when is_german then '{"country": "DE"}'::jsonb else '{}' end)
         from laid"#,
    )
    .bind(program_id.0)
    .bind(ids)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into conversion_refunds
             (program_id, conversion_id, refund_id, amount_minor, refunded_at, receipt_id)
         select $1, conversion_id, 'R-1', 100, at, gen_random_uuid() from laid where is_refunded",
    )
    .bind(program_id.0)
    .execute(&mut *db)
    .await?;
    Ok(())
}

/// What settlement would have written for these sales, with the arithmetic in its form.
async fn write_commissions(
    db: &mut PgConnection,
    (program_id, version_id): (ProgramId, PlanVersionId),
    (ids, names): (&[Uuid], &[String]),
) -> anyhow::Result<()> {
    sqlx::query(
        "insert into commissions
             (program_id, commission_id, kind, state, partner_id, conversion_id, amount_minor,
              currency, plan_version_id, calculation, occurred_at, hold_until, approval, created_at,
              opened_state, opened_by, opened_rule)
         select $1, gen_random_uuid(), 'earned', 'pending', ($2::uuid[])[partner], conversion_id,
                (amount_minor - case when is_refunded then 100 else 0 end) / 5, 'EUR', $3,
                jsonb_build_object('v', 2, 'plan_version_id', $4::text, 'rule', 0, 'over', '[]'::jsonb,
                    'inputs', jsonb_build_object('event', 'sale', 'occurred_at', at,
                        'partner_id', ($5::text[])[partner], 'currency', 'EUR',
                        'amount_minor', amount_minor),
                    'base', (amount_minor / 100)::text || '.00', 'percent_bps', 2000,
                    'percent_amount', (amount_minor / 500)::text || '.00', 'rounding', 'half_even',
                    'whole', (amount_minor / 500)::text || '.00', 'caps', '[]'::jsonb,
                    'slices', '[]'::jsonb, 'sums', '[]'::jsonb, 'counts', '[]'::jsonb,
                    'total', (amount_minor / 500)::text || '.00', 'currency', 'EUR',
                    'sentence', repeat('a sentence of some length ', 3)),
                at, at + interval '30 days', 'auto', at, 'pending', 'system', 'created'
         from laid",
    )
    .bind(program_id.0)
    .bind(ids)
    .bind(version_id.0)
    .bind(version_id.to_string())
    .bind(names)
    .execute(&mut *db)
    .await?;
    Ok(())
}

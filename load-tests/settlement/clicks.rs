//! Clicks with everything that settling them takes (who is unique, sums by hour, each once, the position
//! of the stream), beside a bare COPY of the same rows into a table of the same shape and key.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::Executor as _;
use sqlx::postgres::{PgConnection, PgPoolCopyExt as _};
use tributary::app::App;
use tributary::click::classify::{Browser, Class, Device, Reason};
use tributary::click::click_id::ClickId;
use tributary::ids::{LinkNo, PartnerNo};
use tributary::settlement::click::{Adding, Click, store, sum_store};
use tributary::settlement::offset_store::{self, Counts, Position};
use tributary::settlement::settler::Settler;
use tributary::stream::{ClickRecord, Offset, Shard};
use uuid::Uuid;

use crate::{Ground, PARTNERS};

/// Each visitor clicks twice, so that half of the clicks find their visitor known.
const CLICKS_A_VISITOR: usize = 2;
/// A visitor comes to one of them.
const LINKS_A_PARTNER: usize = 3;
/// Clicks of a second: what one redirect takes.
const A_SECOND: usize = 20_000;

/// Returns the clicks of a burst.
pub(crate) fn burst(ground: &Ground, app: &App, first: usize, n: usize) -> Vec<Click> {
    let begun = app.clock.now() - chrono::Duration::hours(1);
    (first..first + n)
        .map(|i| {
            let ms = i64::try_from(i * 1000 / A_SECOND).unwrap_or(0);
            let at = begun + chrono::Duration::milliseconds(ms);
            let number = u32::try_from(i).unwrap_or(u32::MAX);
            let partner = PartnerNo(ground.first_partner + number % PARTNERS);
            let [a, b, c, d] = number.to_be_bytes();
            let visitor = i / CLICKS_A_VISITOR / PARTNERS as usize;
            let link = LinkNo(1 + u32::try_from(visitor % LINKS_A_PARTNER).unwrap_or(0));
            let id = ClickId::new(at, ground.number, partner, link, [0, a, b, c, d]);
            Click::from_record(ClickRecord {
                payload: id.payload(),
                class: Class::Human.code(),
                reason: Reason::Navigation.code(),
                device: Device::Mobile.code(),
                browser: Browser::Chrome.code(),
                visitor: Some(visitor.to_be_bytes()),
                country: Some(*b"DE"),
                referrer_host: Some("blog.example".to_owned()),
                subs: [Some(format!("banner-{}", number % 40)), None, None, None, None],
                ..ClickRecord::default()
            })
        })
        .collect()
}

/// Settles a burst in batches as the settler does, each in one transaction that moves the position too, and
/// copies the rows of each batch once more; returns how long both took. The sums that the batches have put
/// aside are added once, which the service does once a second: less often, at such a rate.
pub(crate) async fn settle(
    (settler, app): (&Settler, &App),
    db: &mut PgConnection,
    burst: &[Click],
    batch: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let (mut settling, mut copying) = (Duration::ZERO, Duration::ZERO);
    for batch in burst.chunks(batch) {
        let started = Instant::now();
        settle_batch(settler, batch).await?;
        settling += started.elapsed();
        copying += copy_bare(app, db, batch).await?;
    }
    let started = Instant::now();
    sum_store::add_waiting(&mut *settler.db.acquire().await?).await?;
    Ok((settling + started.elapsed(), copying))
}

async fn settle_batch(settler: &Settler, clicks: &[Click]) -> anyhow::Result<()> {
    let (shard, generation, now) = (Shard(0), Uuid::nil(), settler.clock.now());
    let mut db = settler.db.begin().await?;
    let at = offset_store::lock_position(&mut db, &settler.prefix, shard, generation, now).await?;
    let clicks: Vec<&Click> = clicks.iter().collect();
    let n = store::insert_clicks(&mut db, &settler.clicks, &clicks, Adding::Later).await?;
    anyhow::ensure!(n == clicks.len() as u64, "{n} of {} clicks were new", clicks.len());
    let to = Position { generation, offset: Offset { ms: at.ms + 1, seq: 0 } };
    let counts = Counts { n_settled: n, n_duplicates: 0, n_dead: 0, n_entries: 1 };
    offset_store::move_position(&mut db, &settler.prefix, shard, to, counts, now).await?;
    db.commit().await?;
    Ok(())
}

/// Writes the rows of a batch once more, by COPY, into a table without any rule.
async fn copy_bare(app: &App, db: &mut PgConnection, clicks: &[Click]) -> anyhow::Result<Duration> {
    let ids: Vec<String> = clicks.iter().map(|c| format!("'{}'", c.click_id)).collect();
    let sql = format!(
        "copy (select * from public.clicks where click_id in ({}) order by day, click_id)
         to stdout (format binary)",
        ids.join(",")
    );
    let bytes: Vec<u8> = app
        .background_db
        .copy_out_raw(&sql)
        .await?
        .try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await?;
    let started = Instant::now();
    db.execute("begin").await?;
    let mut copy = db.copy_in_raw("copy bare.clicks from stdin (format binary)").await?;
    copy.send(bytes.as_slice()).await?;
    copy.finish().await?;
    db.execute("commit").await?;
    Ok(started.elapsed())
}

/// Says what a settled click costs on disk: rows, keys, visitors and sums.
pub(crate) async fn bytes_a_click(db: &mut PgConnection) -> anyhow::Result<(f64, f64)> {
    // As autovacuum does every minute: what waited and was added leaves its room to others.
    db.execute("vacuum click_sums_waiting").await?;
    let (rows, all, n): (i64, i64, i64) = sqlx::query_as(
        "with parts as (select inhrelid as id from pg_inherits where inhparent = 'clicks'::regclass)
         select (select sum(pg_table_size(id) + pg_indexes_size(id)) from parts)::bigint,
                pg_total_relation_size('visitor_runs') + pg_total_relation_size('click_hours')
                    + pg_total_relation_size('click_sums_waiting'),
                (select count(*) from clicks)",
    )
    .fetch_one(db)
    .await?;
    Ok((rows as f64 / n.max(1) as f64, all as f64 / n.max(1) as f64))
}

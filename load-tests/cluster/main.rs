//! Measures what a durable click costs against the number of shards, on one Redis and on a cluster.
//!
//! Callers append through the same log as the redirect does, so many at once as there are visitors,
//! each with a batch as large as a turn of a worker's event loop packs. All setups take turns,
//! because the machine is shared; only ratios carry over. `load-tests/cluster/run` starts scratch
//! engines around it.
#![expect(
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a measurement at a terminal: it prints rates"
)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{StreamExt as _, iter};
use tributary::config::environment;
use tributary::stream::durable::{DurableLog, DurableOptions, Where};
use tributary::stream::redis::{RedisLog, RedisOptions};
use tributary::stream::spool::{Spool, SpoolOptions};
use tributary::stream::{ClickRecord, PackedBatch, Shard, StreamStats};

/// Bursts of each setup.
const ROUNDS: usize = 5;
/// Appends under way at once.
const CALLERS: usize = 64;
/// Clicks that a worker packs into one append: on an idle service, and under load.
const BATCHES: [usize; 2] = [1, 16];
const SHARDS: [u16; 4] = [1, 4, 16, 64];
/// Longer than any append: what would go to the spool is not what is measured.
const DEADLINE: Duration = Duration::from_secs(10);

/// One way to keep clicks.
struct Setup {
    name: String,
    log: DurableLog,
    servers: Vec<String>,
    shards: u16,
    batch: usize,
    /// Microseconds of processor time for each click, ours and Redis's, of each burst.
    costs: Vec<(f64, f64)>,
    _spool: tempfile::TempDir,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let n_clicks: usize = std::env::args().nth(1).map_or(Ok(200_000), |n| n.parse())?;
    let given = |name| environment(name).context("run it by load-tests/cluster/run");
    let single = vec![given("TRIBUTARY_TEST_REDIS")?];
    let cluster: Vec<String> =
        given("TRIBUTARY_TEST_REDIS_CLUSTER")?.split(',').map(str::to_owned).collect();
    let mut setups = Vec::new();
    for batch in BATCHES {
        for servers in [&single, &cluster] {
            for shards in SHARDS {
                setups.push(Setup::new(servers, shards, batch)?);
            }
        }
    }
    for _ in 0..ROUNDS {
        for setup in &mut setups {
            setup.burst(n_clicks).await?;
        }
    }
    for batch in BATCHES {
        let of_batch: Vec<&Setup> = setups.iter().filter(|setup| setup.batch == batch).collect();
        let base = of_batch[0].median();
        println!("{batch} clicks to an append         service  Redis  together   ratio");
        for setup in of_batch {
            let (ours, theirs) = setup.median();
            let ratio = (ours + theirs) / (base.0 + base.1);
            let sum = ours + theirs;
            println!("{:<28} {ours:>7.2} {theirs:>6.2} {sum:>9.2} {ratio:>7.2}", setup.name);
        }
    }
    Ok(())
}

impl Setup {
    fn new(servers: &[String], shards: u16, batch: usize) -> anyhow::Result<Self> {
        let stats = Arc::new(StreamStats::default());
        let options = RedisOptions {
            prefix: format!("load-{}", uuid::Uuid::now_v7().simple()),
            response_timeout: DEADLINE,
            ..RedisOptions::default()
        };
        let (place, redis) = match servers {
            [one] => ("one Redis", RedisLog::new(one, options, stats.clone())?),
            many => {
                let urls: Vec<&str> = many.iter().map(String::as_str).collect();
                ("three masters", RedisLog::cluster(&urls, options, stats.clone())?)
            }
        };
        let dir = tempfile::tempdir()?;
        let bytes = 1 << 20;
        let options =
            SpoolOptions { dir: dir.path().into(), bytes_max: bytes, segment_bytes: bytes };
        let spool = Spool::open(options, stats.clone())?;
        let options = DurableOptions { shards, ..DurableOptions::default() };
        Ok(Self {
            name: format!("{place}, {shards} shards"),
            log: DurableLog::new(Arc::new(redis), spool, options, stats),
            servers: servers.to_vec(),
            shards,
            batch,
            costs: Vec::new(),
            _spool: dir,
        })
    }

    /// Appends so many clicks and notes what it cost.
    async fn burst(&mut self, n_clicks: usize) -> anyhow::Result<()> {
        self.log.probe().await;
        let n_appends = n_clicks.div_ceil(self.batch);
        let (before, redis_before) = (own_cpu_us()?, redis_cpu_us(&self.servers).await?);
        let (log, shards, batch) = (&self.log, self.shards, self.batch);
        let all_kept = iter(0..n_appends)
            .map(|n| async move {
                let shard = Shard(rand::random::<u16>() % shards);
                let kept = log.append(shard, &clicks(n, batch), DEADLINE).await;
                matches!(kept, Ok(Where::Log))
            })
            .buffer_unordered(CALLERS)
            .all(std::future::ready)
            .await;
        anyhow::ensure!(all_kept, "a click went to the spool: the machine is too busy");
        let (ours, theirs) =
            (own_cpu_us()? - before, redis_cpu_us(&self.servers).await? - redis_before);
        let n = (n_appends * self.batch) as f64;
        self.costs.push((ours / n, theirs / n));
        Ok(())
    }

    fn median(&self) -> (f64, f64) {
        let mut costs = self.costs.clone();
        costs.sort_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
        costs[costs.len() / 2]
    }
}

fn clicks(n: usize, batch: usize) -> PackedBatch {
    let mut packed = PackedBatch::new();
    for m in 0..batch {
        let mut click = ClickRecord::default();
        click.payload[..8].copy_from_slice(&((n * batch + m) as u64).to_be_bytes());
        packed.push_click(&click);
    }
    packed
}

/// Processor time of the one thread that appends.
fn own_cpu_us() -> anyhow::Result<f64> {
    let told = std::fs::read_to_string("/proc/self/schedstat")?;
    let ns: f64 = told.split(' ').next().context("schedstat is empty")?.parse()?;
    Ok(ns / 1000.0)
}

/// Processor time of all servers.
async fn redis_cpu_us(servers: &[String]) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for url in servers {
        let client = redis::Client::open(url.as_str())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut connection).await?;
        for line in info.lines() {
            if let Some((name, value)) = line.split_once(':')
                && ["used_cpu_sys", "used_cpu_user"].contains(&name)
            {
                sum += value.trim().parse::<f64>()? * 1e6;
            }
        }
    }
    Ok(sum)
}

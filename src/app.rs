//! The handles that every part of the service shares.
//!
//! [`App::build`] makes them and starts nothing: no connection is opened, no task runs. That is
//! what `roles` does.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;

use crate::address::Guard;
use crate::audit::{Beside, Stream};
use crate::click::visitor::Salts;
use crate::clock::Clock;
use crate::config::{Config, Redis, UnsafeRedis};
use crate::db::{self, Db};
use crate::intake::known::LookUp;
use crate::intake::rate::Rates;
use crate::intake::refused::Refusals;
use crate::lease::keeper::LeaseKeeper;
use crate::link::token::LinkKeys;
use crate::outbound::deliverer::Deliverer;
use crate::outbound::mail::{Mailer, Post};
use crate::outbound::sender::Sender;
use crate::report::decline::wishes::Wishes;
use crate::sealing::Sealer;
use crate::settlement::click::ClickMemory;
use crate::settlement::click::visitors::Visitors;
use crate::settlement::settler::Settler;
use crate::settlement::waiting::Bounds;
use crate::signing::{Key, tag};
use crate::snapshot::SnapshotCell;
use crate::snapshot::keeper::Keeper;
use crate::stream::durable::{DurableLog, DurableOptions};
use crate::stream::redis::{OnUnsafe, RedisLog, RedisOptions};
use crate::stream::spool::{Spool, SpoolOptions};
use crate::stream::{NotDurable, PackedBatch, Shard, StreamStats, Where};

/// Connections of the tasks behind the scenes; handlers have a pool of their own.
const BACKGROUND_CONNECTIONS: u32 = 5;
/// Batches settled at once: less than half of those connections, so that nothing else waits behind
/// them; the daily run and a day that a reader waits for may take one each.
const BATCHES_MAX: usize = 2;
/// Size at which a spool segment is closed.
const SPOOL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// The shared handles.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// PostgreSQL, for handlers.
    pub db: Db,
    /// Finds the messages of conversion sources that came before.
    pub known: Arc<LookUp>,
    /// How fast each conversion source sends.
    pub rates: Rates,
    /// Calls that were refused because nobody knows who sent them.
    pub refusals: Refusals,
    /// Days that readers of the decline report wait for.
    pub wishes: Wishes,
    /// Places for requests that wait for their verdict.
    pub waits: Arc<Semaphore>,
    /// PostgreSQL, for settlement, timers and the snapshot: their connections belong to another
    /// runtime, and must not wait behind requests.
    pub background_db: Db,
    /// The terms that the hot paths live on.
    pub snapshot: SnapshotCell,
    /// Renews them.
    pub keeper: Keeper,
    /// What visitors are recognized with for a day.
    pub salts: Salts,
    /// Which shards this process settles.
    pub shard_leases: LeaseKeeper,
    /// Whether this process runs the timers.
    pub timer_leases: LeaseKeeper,
    /// Where clicks and conversions become durable.
    pub log: Arc<DurableLog<RedisLog>>,
    /// What happened on the way in.
    pub stream_stats: Arc<StreamStats>,
    /// Keys of link tokens.
    pub link_keys: LinkKeys,
    /// Seals secrets at rest.
    pub sealer: Sealer,
    /// Hashes shops' names of customers.
    pub customer_key: Key,
}

impl App {
    /// Makes the handles out of the settings.
    pub fn build(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let url = config.database_url.expose_secret();
        let waits = Arc::new(Semaphore::new(config.wait_max));
        let db = db::connect_lazily(url, config.db_pool)?;
        let background_db = db::connect_for_batches(url, BACKGROUND_CONNECTIONS)?;
        let snapshot = SnapshotCell::default();
        let keeper = Keeper::new(
            background_db.clone(),
            clock.clone(),
            snapshot.clone(),
            config.snapshot_path.clone(),
        );
        let stream_stats = Arc::new(StreamStats::default());
        let redis = redis_log(&config, &stream_stats)?;
        let spool = open_spool(&config, "", &stream_stats)?;
        let options = DurableOptions {
            shards: config.stream_shards,
            brisk: config.redirect_append_timeout,
            ..DurableOptions::default()
        };
        let log = DurableLog::new(Arc::new(redis), spool, options, Arc::clone(&stream_stats));
        let log = match &config.redis {
            Redis::One(_) => log,
            // A failover can lose what was acknowledged.
            Redis::Cluster(_) => log.holding(open_spool(&config, "held", &Arc::default())?),
        };
        let leases = |pool: String, n_items: u16| {
            LeaseKeeper::new(background_db.clone(), pool, n_items, &config.instance_id)
        };
        Ok(Self {
            shard_leases: leases(format!("stream:{}", config.stream_prefix), config.stream_shards),
            timer_leases: leases("timers".to_owned(), 1),
            link_keys: LinkKeys {
                issued: config.link_keys.clone(),
                mint: config.mint_keys.clone(),
            },
            sealer: Sealer::new(&config.secrets_key),
            customer_key: Key::new(tag(&config.secrets_key, "tributary/derive/customer", &[])),
            log: Arc::new(log),
            config,
            clock,
            known: Arc::new(LookUp::new(db.clone())),
            rates: Rates::default(),
            refusals: Refusals::default(),
            wishes: Wishes::default(),
            waits,
            db,
            background_db,
            snapshot,
            keeper,
            salts: Salts::default(),
            stream_stats,
        })
    }

    /// Returns the settler of this process.
    pub fn settler(&self) -> Settler {
        Settler {
            db: self.background_db.clone(),
            clock: self.clock.clone(),
            click_keys: self.config.click_keys.clone(),
            customer_key: self.customer_key.clone(),
            prefix: self.config.stream_prefix.clone(),
            messages_max: self.config.settle_batch_max,
            waiting_max: self.config.waiting_room_max,
            places: Arc::new(Semaphore::new(BATCHES_MAX)),
            n_shards: self.config.stream_shards,
            clicks: Arc::new(ClickMemory::new(Visitors::new(self.config.spool_dir.clone()))),
        }
    }

    /// Returns how long messages wait for their conversion, and how many.
    pub fn waiting_room(&self) -> Bounds {
        let (hours, places) = (self.config.waiting_room_hours, self.config.waiting_room_max);
        Bounds { hours, places }
    }

    /// Returns the deliverer of this process.
    pub fn deliverer(&self) -> Result<Deliverer, reqwest::Error> {
        Ok(Deliverer {
            db: self.background_db.clone(),
            clock: self.clock.clone(),
            sealer: self.sealer.clone(),
            sender: Sender::new(self.guard())?,
        })
    }

    /// Returns what an audit needs beside the database.
    pub fn beside_audit(&self) -> Beside<'_> {
        let stream = Stream {
            log: self.log.log(),
            prefix: &self.config.stream_prefix,
            n_shards: self.config.stream_shards,
            stats: Some(&self.stream_stats),
        };
        Beside { sealer: Some(&self.sealer), stream: Some(stream) }
    }

    /// Returns where outbound connections may go.
    pub fn guard(&self) -> Guard {
        Guard { allow: self.config.outbound_allow.clone() }
    }

    /// Returns the mailer of this process; none without a mail server.
    pub fn mailer(&self) -> anyhow::Result<Option<Mailer>> {
        let (Some(url), Some(from)) = (&self.config.smtp_url, &self.config.mail_from) else {
            return Ok(None);
        };
        let post = Post::new(url.expose_secret(), from.clone())?;
        Ok(Some(Mailer { db: self.background_db.clone(), clock: self.clock.clone(), post }))
    }

    /// Appends a batch to any shard: in the log within the time that Redis has, else in the spool.
    pub async fn append(&self, batch: &PackedBatch) -> Result<Where, NotDurable> {
        self.log.append(self.shard_of(rand::random()), batch, self.config.redis_timeout).await
    }

    /// Returns the shard that an event goes to; any will do, the random bits spread them.
    pub fn shard_of(&self, random: u16) -> Shard {
        Shard(random % self.config.stream_shards)
    }
}

/// Makes the log on one Redis or on a cluster.
fn redis_log(config: &Config, stats: &Arc<StreamStats>) -> anyhow::Result<RedisLog> {
    let options = RedisOptions {
        prefix: config.stream_prefix.clone(),
        response_timeout: config.redis_timeout,
        on_unsafe: match config.unsafe_redis {
            UnsafeRedis::Refuse => OnUnsafe::Refuse,
            UnsafeRedis::AcceptLoss => OnUnsafe::AcceptLoss,
        },
        replicas: config.redis_replicas,
        ..RedisOptions::default()
    };
    Ok(match &config.redis {
        Redis::One(url) => RedisLog::new(url.expose_secret(), options, Arc::clone(stats))?,
        Redis::Cluster(urls) => {
            let urls: Vec<&str> = urls.iter().map(|url| url.expose_secret()).collect();
            RedisLog::cluster(&urls, options, Arc::clone(stats))?
        }
    })
}

/// Opens the spool, or one in a folder inside it.
fn open_spool(config: &Config, inside: &str, stats: &Arc<StreamStats>) -> anyhow::Result<Spool> {
    let options = SpoolOptions {
        dir: config.spool_dir.join(inside),
        bytes_max: config.spool_max_bytes,
        segment_bytes: SPOOL_SEGMENT_BYTES.min(config.spool_max_bytes),
    };
    Ok(Spool::open(options, Arc::clone(stats))?)
}

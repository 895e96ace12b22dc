//! The log in Redis Streams: one stream per shard, one field `b` per entry, one XADD per append.
//!
//! We hold the connection ourselves instead of using the client's own reconnecting one: each
//! connection is checked for safe settings *before* the first append may use it, and a connection
//! that gave any doubtful answer is dropped, so that the next one is checked anew. Commands are
//! sent one by one, never as a pipeline: an error in one cannot shift the reply of another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo};
use ::redis::{RedisError, Value, cmd};
use arc_swap::ArcSwapOption;
use chrono::NaiveDate;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{Entry, EventLog, LogState, Offset, PackedBatch, Shard, StreamError, StreamStats};

/// The one field of an entry.
const FIELD: &str = "b";

/// Commands that may wait for the socket; more simply wait in their own tasks. The client's
/// default of 50 makes a burst of clicks queue behind one another.
const PIPELINE_COMMANDS_MAX: usize = 1024;

/// What must stand in Redis's configuration so that an acknowledged event cannot vanish.
const SAFE_SETTINGS: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

/// A salt outlives its day by the clocks of all processes, and not by more.
const SALT_S: u64 = 48 * 3600;

/// Server errors that concern one key or command; after all others the server counts as down
/// (MISCONF, OOM, READONLY, LOADING, NOAUTH and so on).
const REFUSALS: [&str; 4] = ["ERR", "WRONGTYPE", "NOPERM", "CROSSSLOT"];

/// Says whether Redis keeps what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Safety {
    /// It does, as far as its settings tell.
    Safe,
    /// It may not, or does not let us see; the text names the settings.
    Unsafe(String),
}

/// What to do with an unsafe Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnsafe {
    /// Treat it as down, so that events go to the spool.
    Refuse,
    /// Use it and accept that acknowledged events may be lost.
    AcceptLoss,
}

/// How to speak with Redis. The address is passed apart, since it may hold a password.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The first part of every key, `trb` by default.
    pub prefix: String,
    /// How long to wait for an answer before the connection is given up.
    pub response_timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to leave Redis alone after a connection failed; bounds the rate of attempts.
    pub reconnect_pause: Duration,
    /// What to do when it could lose events.
    pub on_unsafe: OnUnsafe,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "trb".into(),
            response_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            reconnect_pause: Duration::from_millis(100),
            on_unsafe: OnUnsafe::Refuse,
        }
    }
}

/// An [`EventLog`] on one Redis server.
pub struct RedisLog {
    client: Client,
    options: RedisOptions,
    stats: Arc<StreamStats>,
    /// The connection in use; it has passed the safety check.
    live: ArcSwapOption<MultiplexedConnection>,
    /// Held while connecting, so that one caller dials and the others wait; remembers when the
    /// last attempt failed.
    dialing: Mutex<Option<Instant>>,
}

impl RedisLog {
    /// Returns a log that connects when first used: the service starts with Redis down.
    pub fn new(
        url: &str,
        options: RedisOptions,
        stats: Arc<StreamStats>,
    ) -> Result<Self, StreamError> {
        let settings = |error: RedisError| StreamError::Settings(error.to_string());
        let info = url.into_connection_info().map_err(settings)?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(settings)?;
        let live = ArcSwapOption::empty();
        Ok(Self { client, options, stats, live, dialing: Mutex::new(None) })
    }

    /// Reads whether Redis is safe now, over a connection of its own. An error means it is down.
    ///
    /// The start of the service asks this and exits when the answer is unsafe and not accepted.
    pub async fn check(&self) -> Result<Safety, StreamError> {
        let mut connection = self.dial().await?;
        safety_of(&mut connection).await.map_err(|error| down("safety check", error))
    }

    async fn live(&self) -> Result<Arc<MultiplexedConnection>, StreamError> {
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        let mut failed_at = self.dialing.lock().await;
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        if failed_at.is_some_and(|at| at.elapsed() < self.options.reconnect_pause) {
            let reason = "the last attempt to connect failed just now".into();
            return Err(StreamError::Down { reason, source: None });
        }
        // Noted before the attempt: a caller with a short deadline may drop us half-way.
        *failed_at = Some(Instant::now());
        let live = Arc::new(self.connect_safely().await?);
        *failed_at = None;
        self.stats.connections.add(1);
        self.live.store(Some(live.clone()));
        Ok(live)
    }

    async fn connect_safely(&self) -> Result<MultiplexedConnection, StreamError> {
        let mut connection = self.dial().await?;
        let safety = safety_of(&mut connection).await.map_err(|e| down("safety check", e))?;
        match (safety, self.options.on_unsafe) {
            (Safety::Safe, _) => debug!("connected to Redis; its settings are safe"),
            (Safety::Unsafe(reason), OnUnsafe::AcceptLoss) => {
                warn!("connected to Redis; acknowledged events can be lost, as accepted: {reason}");
            }
            (Safety::Unsafe(reason), OnUnsafe::Refuse) => {
                self.stats.unsafe_refusals.add(1);
                let reason = format!("Redis could lose acknowledged events: {reason}");
                return Err(StreamError::Down { reason, source: None });
            }
        }
        Ok(connection)
    }

    async fn dial(&self) -> Result<MultiplexedConnection, StreamError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(self.options.response_timeout))
            .set_pipeline_buffer_size(PIPELINE_COMMANDS_MAX);
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        connecting.await.map_err(|error| down("connect", error))
    }

    /// Sends one command and reads its answer.
    async fn run<T: FromRedisValue>(
        &self,
        shard: Shard,
        command: &mut Cmd,
    ) -> Result<T, StreamError> {
        let live = self.live().await?;
        let mut connection = MultiplexedConnection::clone(&live);
        command.query_async(&mut connection).await.map_err(|error| {
            let name = name_of(command);
            if error.code().is_some_and(|code| REFUSALS.contains(&code)) {
                return StreamError::Refused { command: name, shard, source: Box::new(error) };
            }
            // Whatever it was, the next connection starts with a new safety check. Calls already
            // under way keep their own handle of this one.
            self.live.compare_and_swap(&Some(live), None);
            down(&name, error)
        })
    }

    /// Agrees with all processes on this Redis on the salt of a day: the first one proposed. It
    /// ends by itself two days later.
    ///
    /// # Errors
    /// Redis is down, or holds something else there.
    pub async fn agree_on_salt(
        &self,
        day: NaiveDate,
        proposed: [u8; 32],
    ) -> Result<[u8; 32], StreamError> {
        let shard = Shard(0);
        let key = format!("{}:salt:{day}", self.options.prefix);
        let mut set = cmd("SET");
        set.arg(&key).arg(&proposed[..]).arg("NX").arg("EX").arg(SALT_S);
        let _: Option<String> = self.run(shard, &mut set).await?;
        let kept: Vec<u8> = self.run(shard, cmd("GET").arg(&key)).await?;
        kept.try_into().map_err(|_| unexpected("GET", "a salt that has not 32 bytes"))
    }

    fn events_key(&self, shard: Shard) -> String {
        shard.events_key(&self.options.prefix)
    }

    async fn generation(&self, shard: Shard) -> Result<Uuid, StreamError> {
        let key = shard.generation_key(&self.options.prefix);
        let fresh = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        let _: bool = self.run(shard, cmd("SETNX").arg(&key).arg(fresh)).await?;
        let text: String = self.run(shard, cmd("GET").arg(&key)).await?;
        text.parse().map_err(|_| unexpected("GET", "a generation that is no UUID"))
    }
}

impl EventLog for RedisLog {
    async fn append(&self, shard: Shard, batch: &PackedBatch) -> Result<Offset, StreamError> {
        let key = self.events_key(shard);
        let mut command = cmd("XADD");
        command.arg(key).arg("*").arg(FIELD).arg(batch.as_bytes());
        let id: String = self.run(shard, &mut command).await?;
        id.parse().map_err(|_| unexpected("XADD", "an id that is no offset"))
    }

    async fn read(
        &self,
        shard: Shard,
        after: Offset,
        entries_max: usize,
    ) -> Result<Vec<Entry>, StreamError> {
        let Some(first) = after.next() else { return Ok(Vec::new()) };
        let key = self.events_key(shard);
        let mut command = cmd("XRANGE");
        command.arg(key).arg(first.to_string()).arg("+").arg("COUNT").arg(entries_max);
        let entries: Vec<Value> = self.run(shard, &mut command).await?;
        let entries = entries.into_iter().map(entry_of).collect::<Option<_>>();
        entries.ok_or_else(|| unexpected("XRANGE", "an entry without id or fields"))
    }

    async fn state(&self, shard: Shard) -> Result<LogState, StreamError> {
        // Not atomic, and need not be: a flush in between shows at the next call, and until then
        // the unique event ids keep a reader of the wrong generation harmless.
        let generation = self.generation(shard).await?;
        let key = self.events_key(shard);
        let info: Result<HashMap<String, Value>, _> =
            self.run(shard, cmd("XINFO").arg("STREAM").arg(key)).await;
        let mut info = match info {
            Ok(info) => info,
            Err(error) if is_missing_key(&error) => {
                let n_added = Some(0);
                let (last, oldest) = (Offset::START, None);
                return Ok(LogState { generation, last, oldest, length: 0, n_added });
            }
            Err(error) => return Err(error),
        };
        let mut field = |name: &str| info.remove(name).unwrap_or(Value::Nil);
        let last = offset_of(field("last-generated-id"));
        let length = ::redis::from_redis_value(field("length")).ok();
        let oldest = entry_of(field("first-entry")).map(|entry| entry.offset);
        // Redis counts them since 7.0.
        let n_added = ::redis::from_redis_value(field("entries-added")).ok();
        match (last, length) {
            (Some(last), Some(length)) => {
                Ok(LogState { generation, last, oldest, length, n_added })
            }
            (_, _) => Err(unexpected("XINFO", "no last id or length")),
        }
    }

    async fn trim_before(&self, shard: Shard, offset: Offset) -> Result<u64, StreamError> {
        let key = self.events_key(shard);
        let minimum = offset.to_string();
        self.run(shard, cmd("XTRIM").arg(key).arg("MINID").arg("=").arg(minimum)).await
    }

    async fn probe(&self, shard: Shard) -> Result<(), StreamError> {
        let key = shard.probe_key(&self.options.prefix);
        self.run(shard, cmd("SET").arg(key).arg(1)).await
    }
}

/// Asks a connection for the settings that matter. What cannot be read counts as unsafe.
async fn safety_of(connection: &mut MultiplexedConnection) -> Result<Safety, RedisError> {
    let mut doubts = Vec::new();
    for (name, wanted) in SAFE_SETTINGS {
        let mut command = cmd("CONFIG");
        match command.arg("GET").arg(name).query_async::<HashMap<String, String>>(connection).await
        {
            Ok(found) => match found.get(name) {
                Some(value) if value == wanted => {}
                Some(value) => doubts.push(format!("{name} is {value}, not {wanted}")),
                None => doubts.push(format!("{name} cannot be read")),
            },
            Err(error) if error.is_io_error() => return Err(error),
            Err(error) => doubts.push(format!("{name} cannot be read ({error})")),
        }
    }
    Ok(if doubts.is_empty() { Safety::Safe } else { Safety::Unsafe(doubts.join("; ")) })
}

/// Reads `[id, [field, value, …]]`. An entry that we did not write still has its place: it comes
/// out as bytes of no known version, so that it becomes a dead letter instead of a stop.
fn entry_of(value: Value) -> Option<Entry> {
    let [id, fields] = <[Value; 2]>::try_from(value.into_sequence().ok()?).ok()?;
    let offset = offset_of(id)?;
    let fields: Vec<Vec<u8>> = ::redis::from_redis_value(fields).ok()?;
    let bytes = match <[Vec<u8>; 2]>::try_from(fields) {
        Ok([field, bytes]) if field == FIELD.as_bytes() => bytes,
        Ok(foreign) => foreign_bytes(&foreign),
        Err(foreign) => foreign_bytes(&foreign),
    };
    Some(Entry { offset, bytes })
}

fn foreign_bytes(fields: &[Vec<u8>]) -> Vec<u8> {
    [&[0], fields.join(&b'\n').as_slice()].concat()
}

fn offset_of(value: Value) -> Option<Offset> {
    ::redis::from_redis_value::<String>(value).ok()?.parse().ok()
}

fn is_missing_key(error: &StreamError) -> bool {
    match error {
        StreamError::Refused { source, .. } => source.to_string().contains("no such key"),
        StreamError::Down { .. } | StreamError::Settings(_) => false,
    }
}

fn name_of(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(::redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        Some(_) | None => String::new(),
    }
}

fn down(command: &str, error: RedisError) -> StreamError {
    StreamError::Down { reason: format!("{command} failed"), source: Some(Box::new(error)) }
}

fn unexpected(command: &str, what: &str) -> StreamError {
    StreamError::Down { reason: format!("{command} answered {what}"), source: None }
}

/// Empties a Redis wholly; for a private one whose owner begins again.
pub async fn empty(url: &str) -> Result<(), StreamError> {
    let settings = |error: RedisError| StreamError::Settings(error.to_string());
    let client = Client::open(url).map_err(settings)?;
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .map_err(|error| down("connecting", error))?;
    cmd("FLUSHALL").query_async(&mut connection).await.map_err(|error| down("FLUSHALL", error))
}

#[cfg(test)]
pub(in crate::stream) mod tests;

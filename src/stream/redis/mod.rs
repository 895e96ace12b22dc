//! The log in Redis Streams: one stream per shard, one field `b` per entry, one XADD per append.
//!
//! On one server (`node`) or on a cluster (`cluster`): the keys of a shard share a hash tag, so
//! each of its commands goes to one server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError, Value, cmd};
use chrono::NaiveDate;
use uuid::Uuid;

use self::cluster::Cluster;
use self::node::{Kind, Node};
use self::slot::slot_of;
use super::{Entry, EventLog, LogState, Offset, PackedBatch, Shard, StreamError, StreamStats};

mod cluster;
mod line;
mod live;
mod node;
mod slot;

/// The one field of an entry.
const FIELD: &str = "b";

/// A salt outlives its day by the clocks of all processes, and not by more.
const SALT_S: u64 = 48 * 3600;

/// The longest wait for replicas, however patient others are: everything else that is sent over the
/// connection waits along, settlement's reading too.
const REPLICAS_PATIENCE_MAX: Duration = Duration::from_secs(1);

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
    /// It does, and takes no events until more replicas follow; the text says how many do.
    Unreplicated(String),
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
    /// Replicas that must have an append before it is durable; with 0 the server's word is enough.
    pub replicas: u8,
}

impl RedisOptions {
    /// Returns how long an append waits for replicas: a part of the time that any answer may take,
    /// so that what is sent behind it, and behind one more, is still answered within that.
    fn replicas_patience(&self) -> Duration {
        (self.response_timeout / 4).min(REPLICAS_PATIENCE_MAX)
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "trb".into(),
            response_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            reconnect_pause: Duration::from_millis(100),
            on_unsafe: OnUnsafe::Refuse,
            replicas: 0,
        }
    }
}

/// What an answer to a command is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The server has given it.
    Answered,
    /// As many replicas as are asked for have what the command wrote, too.
    Replicated,
}

/// An [`EventLog`] on one Redis server, or on a cluster of them.
pub struct RedisLog {
    prefix: String,
    servers: Servers,
}

enum Servers {
    One(Box<Node>),
    Cluster(Cluster),
}

impl RedisLog {
    /// Returns a log that connects when first used: the service starts with Redis down.
    pub fn new(
        url: &str,
        options: RedisOptions,
        stats: Arc<StreamStats>,
    ) -> Result<Self, StreamError> {
        let info =
            url.into_connection_info().map_err(|error| StreamError::Settings(error.to_string()))?;
        let prefix = options.prefix.clone();
        let node = Node::new(info, Kind::Alone, options, stats)?;
        Ok(Self { prefix, servers: Servers::One(Box::new(node)) })
    }

    /// Returns a log on the cluster that these nodes are of; the others are found through them.
    pub fn cluster(
        urls: &[&str],
        options: RedisOptions,
        stats: Arc<StreamStats>,
    ) -> Result<Self, StreamError> {
        let prefix = options.prefix.clone();
        Ok(Self { prefix, servers: Servers::Cluster(Cluster::new(urls, options, stats)?) })
    }

    /// Reads whether Redis is safe now, over a connection of its own; of a cluster, every master
    /// that answers. An error means it is down.
    ///
    /// The start of the service asks this and exits when the answer is unsafe and not accepted.
    pub async fn check(&self) -> Result<Safety, StreamError> {
        match &self.servers {
            Servers::One(node) => node.check().await,
            Servers::Cluster(cluster) => cluster.check().await,
        }
    }

    /// Sends one command about `key` and reads its answer.
    async fn run<T: FromRedisValue>(
        &self,
        shard: Shard,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StreamError> {
        self.run_until(Until::Answered, shard, key, command).await
    }

    async fn run_until<T: FromRedisValue>(
        &self,
        until: Until,
        shard: Shard,
        key: &str,
        command: &Cmd,
    ) -> Result<T, StreamError> {
        let answer = match &self.servers {
            Servers::One(node) => node.ask(command, until).await,
            Servers::Cluster(cluster) => cluster.ask(slot_of(key), command, until).await,
        };
        let answer = answer.map_err(|failure| failure.about(command, shard))?;
        ::redis::from_redis_value(answer)
            .map_err(|error| unexpected(&name_of(command), &error.to_string()))
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
        let key = format!("{}:salt:{day}", self.prefix);
        let mut set = cmd("SET");
        set.arg(&key).arg(&proposed[..]).arg("NX").arg("EX").arg(SALT_S);
        let _: Option<String> = self.run(shard, &key, &set).await?;
        let kept: Vec<u8> = self.run(shard, &key, cmd("GET").arg(&key)).await?;
        kept.try_into().map_err(|_| unexpected("GET", "a salt that has not 32 bytes"))
    }

    fn events_key(&self, shard: Shard) -> String {
        shard.events_key(&self.prefix)
    }

    async fn generation(&self, shard: Shard) -> Result<Uuid, StreamError> {
        let key = shard.generation_key(&self.prefix);
        let fresh = uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string();
        let _: bool = self.run(shard, &key, cmd("SETNX").arg(&key).arg(fresh)).await?;
        let text: String = self.run(shard, &key, cmd("GET").arg(&key)).await?;
        text.parse().map_err(|_| unexpected("GET", "a generation that is no UUID"))
    }
}

impl EventLog for RedisLog {
    async fn append(&self, shard: Shard, batch: &PackedBatch) -> Result<Offset, StreamError> {
        let key = self.events_key(shard);
        let mut command = cmd("XADD");
        command.arg(&key).arg("*").arg(FIELD).arg(batch.as_bytes());
        let id: String = self.run_until(Until::Replicated, shard, &key, &command).await?;
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
        command.arg(&key).arg(first.to_string()).arg("+").arg("COUNT").arg(entries_max);
        let entries: Vec<Value> = self.run(shard, &key, &command).await?;
        let entries = entries.into_iter().map(entry_of).collect::<Option<_>>();
        entries.ok_or_else(|| unexpected("XRANGE", "an entry without id or fields"))
    }

    async fn state(&self, shard: Shard) -> Result<LogState, StreamError> {
        // Not atomic, and need not be: a flush in between shows at the next call, and until then
        // the unique event ids keep a reader of the wrong generation harmless.
        let generation = self.generation(shard).await?;
        let key = self.events_key(shard);
        let info: Result<HashMap<String, Value>, _> =
            self.run(shard, &key, cmd("XINFO").arg("STREAM").arg(&key)).await;
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
        self.run(shard, &key, cmd("XTRIM").arg(&key).arg("MINID").arg("=").arg(minimum)).await
    }

    fn are_apart(&self, one: Shard, other: Shard) -> bool {
        let slot = |shard: Shard| slot_of(&self.events_key(shard));
        match &self.servers {
            Servers::One(_) => false,
            Servers::Cluster(cluster) => cluster.are_apart(slot(one), slot(other)),
        }
    }

    async fn probe(&self, shard: Shard) -> Result<(), StreamError> {
        let key = shard.probe_key(&self.prefix);
        self.run_until(Until::Replicated, shard, &key, cmd("SET").arg(&key).arg(1)).await
    }
}

/// Why a server gave no answer to a command.
enum Failure {
    /// It was not asked, being unsafe or out of reach; or it answered, and replicas did not.
    Away(StreamError),
    /// It was asked, and said this; or nothing in time.
    Said(RedisError),
}

impl Failure {
    /// Tells whether the command is to blame, not the server.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Away(_) => false,
            Self::Said(error) => error.code().is_some_and(|code| REFUSALS.contains(&code)),
        }
    }

    fn about(self, command: &Cmd, shard: Shard) -> StreamError {
        let is_refusal = self.is_refusal();
        let name = name_of(command);
        match self {
            Self::Away(error) => error,
            Self::Said(error) if is_refusal => {
                StreamError::Refused { command: name, shard, source: Box::new(error) }
            }
            Self::Said(error) => down(&name, error),
        }
    }
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
        StreamError::Down { .. } | StreamError::Unreplicated { .. } | StreamError::Settings(_) => {
            false
        }
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
pub(in crate::stream) mod cluster_tests;
#[cfg(test)]
mod replicas_tests;
#[cfg(test)]
pub(in crate::stream) mod tests;

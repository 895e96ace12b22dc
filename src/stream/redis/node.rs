//! One Redis server and the connections to it.
//!
//! We hold the connections ourselves instead of using the client's own reconnecting one: each
//! connection is checked for safe settings *before* the first append may use it, and a connection
//! that gave any doubtful answer is dropped, so that the next one is checked anew. Commands are
//! sent one by one, never as a pipeline: an error in one cannot shift the reply of another.

use std::collections::HashMap;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisError, Value, cmd,
    pipe,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::line::{Asked, Line, Lines};
use super::live::Live;
use super::slot::Address;
use super::{Failure, OnUnsafe, REFUSALS, RedisOptions, Safety, Until, down};
use crate::stream::{StreamError, StreamStats};

/// Commands that may wait for the socket; more simply wait in their own tasks. The client's
/// default of 50 makes a burst of clicks queue behind one another.
const PIPELINE_COMMANDS_MAX: usize = 1024;

/// What must stand in Redis's configuration so that an acknowledged event cannot vanish.
const SAFE_SETTINGS: [(&str, &str); 3] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")];

/// What a node of a cluster answers without anything being wrong with the connection.
const REDIRECTIONS: [&str; 4] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"];

/// What stops the shards of living masters while one is dead.
const FULL_COVERAGE: &str = "cluster-require-full-coverage";

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Alone,
    OfACluster,
}

/// A server that is connected to when first used, by each runtime for itself.
pub(super) struct Node {
    server: Arc<Server>,
    lines: Lines,
}

/// Where a server is and how to speak with it.
struct Server {
    client: Client,
    kind: Kind,
    options: RedisOptions,
    stats: Arc<StreamStats>,
}

impl Node {
    pub(super) fn new(
        info: ConnectionInfo,
        kind: Kind,
        options: RedisOptions,
        stats: Arc<StreamStats>,
    ) -> Result<Self, StreamError> {
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(info.set_tcp_settings(tcp))
            .map_err(|error| StreamError::Settings(error.to_string()))?;
        let server = Arc::new(Server { client, kind, options, stats });
        Ok(Self { server, lines: Lines::default() })
    }

    /// Returns where it is; a socket has no address, and no cluster either.
    pub(super) fn address(&self) -> Address {
        self.server.address()
    }

    /// Reads whether the server is safe now, over a connection of its own.
    pub(super) async fn check(&self) -> Result<Safety, StreamError> {
        let Server { options, .. } = &*self.server;
        let mut connection = self.server.dial().await?;
        let safety = safety_of(&mut connection).await.map_err(|e| down("safety check", e))?;
        let wanted = options.replicas;
        if wanted == 0 || safety != Safety::Safe {
            return Ok(safety);
        }
        // Of all that was written before, by whomever.
        let waiting = Arc::new(Live::new(connection));
        let patience = options.replicas_patience();
        let acknowledged = waiting.acknowledged(wanted, patience).await;
        match acknowledged.map_err(|error| down("WAIT", error))? {
            n if n >= u64::from(wanted) => Ok(Safety::Safe),
            n => Ok(Safety::Unreplicated(format!("{n} of {wanted} replicas follow"))),
        }
    }

    /// Sends one command and reads its answer.
    pub(super) async fn ask(&self, command: &Cmd, until: Until) -> Result<Value, Failure> {
        let ask = |mut connection| async move { command.query_async(&mut connection).await };
        self.ask_by(ask, until).await
    }

    /// Sends one command about a slot that is on its way to this node. The only pipeline: the
    /// first half holds for the next command of the connection alone.
    pub(super) async fn ask_importing(
        &self,
        command: &Cmd,
        until: Until,
    ) -> Result<Value, Failure> {
        let mut both = pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let ask = |mut connection| async move {
            both.query_async(&mut connection).await.map(|(answer,)| answer)
        };
        self.ask_by(ask, until).await
    }

    async fn ask_by<F: Future<Output = Result<Value, RedisError>>>(
        &self,
        ask: impl FnOnce(MultiplexedConnection) -> F,
        until: Until,
    ) -> Result<Value, Failure> {
        let (line, live) = self.live().await.map_err(Failure::Away)?;
        let asked = Asked::over(Arc::clone(&line), Arc::clone(&live));
        let answer = ask(live.connection.clone()).await;
        asked.answered();
        match answer {
            Ok(answer) => self.await_replicas(&line, live, until).await.map(|()| answer),
            Err(error) => Err(note(&line, &live, error)),
        }
    }

    /// Waits, where that is wanted, until replicas have what was just written over a connection.
    async fn await_replicas(
        &self,
        line: &Line,
        live: Arc<Live>,
        until: Until,
    ) -> Result<(), Failure> {
        let Server { options, .. } = &*self.server;
        let wanted = options.replicas;
        if until == Until::Answered || wanted == 0 {
            return Ok(());
        }
        match live.acknowledged(wanted, options.replicas_patience()).await {
            Ok(acknowledged) if acknowledged >= u64::from(wanted) => Ok(()),
            Ok(acknowledged) => {
                Err(Failure::Away(StreamError::Unreplicated { acknowledged, wanted }))
            }
            // The master has just become a replica, or worse.
            Err(error) => {
                line.give_up(&live);
                Err(Failure::Away(down("WAIT", error)))
            }
        }
    }

    /// Asks something that appends nothing, for which an unsafe server will do.
    pub(super) async fn ask_unchecked(&self, command: &Cmd) -> Result<Value, StreamError> {
        let mut connection = match self.lines.own().live() {
            Some(live) => live.connection.clone(),
            None => self.server.dial().await?,
        };
        command.query_async(&mut connection).await.map_err(|error| down("asking", error))
    }

    async fn live(&self) -> Result<(Arc<Line>, Arc<Live>), StreamError> {
        let line = self.lines.own();
        if let Some(live) = line.live() {
            return Ok((line, live));
        }
        // Beside the caller, who may give up sooner than a connection can be had: one that was
        // begun is ended, for the next.
        let dialing = Arc::clone(&self.server).connect(Arc::clone(&line));
        let live = tokio::spawn(dialing)
            .await
            .map_err(|_| StreamError::Down { reason: "the runtime ends".into(), source: None })??;
        Ok((line, live))
    }

    #[cfg(test)]
    pub(super) fn is_connected(&self) -> bool {
        self.lines.own().live().is_some()
    }

    #[cfg(test)]
    pub(super) fn client(&self) -> &Client {
        &self.server.client
    }

    #[cfg(test)]
    pub(super) fn stats(&self) -> &StreamStats {
        &self.server.stats
    }
}

impl Server {
    fn address(&self) -> Address {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), *port)
            }
            ConnectionAddr::Unix(path) => (path.display().to_string(), 0),
            // The client may learn of more kinds.
            _ => (String::new(), 0),
        }
    }

    /// Returns the connection in use of a line, or one that it uses from now on.
    async fn connect(self: Arc<Self>, line: Arc<Line>) -> Result<Arc<Live>, StreamError> {
        let mut failed_at = line.dialing.lock().await;
        if let Some(live) = line.live() {
            return Ok(live);
        }
        if failed_at.is_some_and(|at| at.elapsed() < self.options.reconnect_pause) {
            let reason = "the last attempt to connect failed just now".into();
            return Err(StreamError::Down { reason, source: None });
        }
        *failed_at = Some(Instant::now());
        let live = Arc::new(Live::new(self.connect_safely().await?));
        *failed_at = None;
        self.stats.connections.add(1);
        line.use_from_now(Arc::clone(&live));
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
            // Told by the appends themselves, whenever it is so.
            (Safety::Unreplicated(_), _) => {}
        }
        if self.kind == Kind::OfACluster && stops_as_a_whole(&mut connection).await {
            let (host, port) = self.address();
            warn!(
                "{host}:{port} has {FULL_COVERAGE} yes: while one master is dead the others take \
                 nothing either, and events wait in the spool; set it to no"
            );
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
}

/// Gives up a connection whose answer leaves doubts: the next one starts with a new safety check.
fn note(line: &Line, live: &Arc<Live>, error: RedisError) -> Failure {
    let is_clear =
        error.code().is_some_and(|code| REFUSALS.contains(&code) || REDIRECTIONS.contains(&code));
    if !is_clear {
        line.give_up(live);
    }
    Failure::Said(error)
}

/// Asks a connection for the settings that matter. What cannot be read counts as unsafe.
async fn safety_of(connection: &mut MultiplexedConnection) -> Result<Safety, RedisError> {
    let mut doubts = Vec::new();
    for (name, wanted) in SAFE_SETTINGS {
        match read_setting(connection, name).await {
            Ok(Some(value)) if value == wanted => {}
            Ok(Some(value)) => doubts.push(format!("{name} is {value}, not {wanted}")),
            Ok(None) => doubts.push(format!("{name} cannot be read")),
            Err(error) if error.is_io_error() => return Err(error),
            Err(error) => doubts.push(format!("{name} cannot be read ({error})")),
        }
    }
    Ok(if doubts.is_empty() { Safety::Safe } else { Safety::Unsafe(doubts.join("; ")) })
}

/// Tells whether a cluster refuses everything while a part of it is away.
async fn stops_as_a_whole(connection: &mut MultiplexedConnection) -> bool {
    matches!(read_setting(connection, FULL_COVERAGE).await, Ok(Some(value)) if value == "yes")
}

async fn read_setting(
    connection: &mut MultiplexedConnection,
    name: &str,
) -> Result<Option<String>, RedisError> {
    let mut command = cmd("CONFIG");
    command.arg("GET").arg(name);
    let mut found: HashMap<String, String> = command.query_async(connection).await?;
    Ok(found.remove(name))
}

//! Redis Cluster: each command goes to the master of its slot, and a dead master concerns nobody
//! else.
//!
//! Each node is a [`Node`] of its own with its own connection, checked before the first append. The
//! map of slots is asked for when it is needed first, and again, beside the callers, whenever a node
//! redirects or fails. A redirection is followed at once, at most [`REDIRECTIONS_MAX`] times; there
//! are no other retries: whoever appends has a deadline, other shards and a spool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{
    Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ServerErrorKind, Value, cmd,
};
use arc_swap::ArcSwap;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::node::{Kind, Node};
use super::slot::{Address, SlotMap, address_of};
use super::{Failure, RedisOptions, Safety, Until};
use crate::stream::{StreamError, StreamStats};

/// Redirections that one command follows: one is usual after a failover, two while slots move.
const REDIRECTIONS_MAX: usize = 3;

/// How long the map is used before a failing call may ask for it again.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// A cluster. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Shared>);

struct Shared {
    /// How to reach a node, but for its address: user, password, database.
    template: ConnectionInfo,
    options: RedisOptions,
    stats: Arc<StreamStats>,
    /// The nodes of the settings: asked while no other answers.
    seeds: Vec<Arc<Node>>,
    known: ArcSwap<Known>,
    /// Held while the map is asked for; remembers when that began last.
    looking: Mutex<Option<Instant>>,
}

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    map: SlotMap,
    nodes: HashMap<Address, Arc<Node>>,
}

impl Cluster {
    /// Returns a cluster that connects when first used.
    pub(super) fn new(
        urls: &[&str],
        options: RedisOptions,
        stats: Arc<StreamStats>,
    ) -> Result<Self, StreamError> {
        let settings = |error: &dyn std::fmt::Display| StreamError::Settings(error.to_string());
        let mut infos = Vec::new();
        for url in urls {
            let info = url.into_connection_info().map_err(|error| settings(&error))?;
            if matches!(info.addr(), ConnectionAddr::Unix(_)) {
                return Err(settings(&"a node of a cluster has a host and a port, no socket"));
            }
            infos.push(info);
        }
        let template = infos.first().cloned().ok_or_else(|| settings(&"no node of the cluster"))?;
        let seeds = infos.into_iter().map(|info| {
            Node::new(info, Kind::OfACluster, options.clone(), stats.clone()).map(Arc::new)
        });
        let seeds = seeds.collect::<Result<_, _>>()?;
        let (known, looking) = (ArcSwap::default(), Mutex::new(None));
        Ok(Self(Arc::new(Shared { template, options, stats, seeds, known, looking })))
    }

    /// Reads whether every master that can be reached is safe now. An error means that none can.
    pub(super) async fn check(&self) -> Result<Safety, StreamError> {
        self.look().await?;
        let known = self.0.known.load_full();
        let (mut doubts, mut lonely, mut n_safe, mut away) = (Vec::new(), Vec::new(), 0, None);
        for ((host, port), node) in &known.nodes {
            match node.check().await {
                Ok(Safety::Safe) => n_safe += 1,
                Ok(Safety::Unsafe(why)) => doubts.push(format!("{host}:{port}: {why}")),
                Ok(Safety::Unreplicated(why)) => lonely.push(format!("{host}:{port}: {why}")),
                Err(error) => away = Some(error),
            }
        }
        doubts.sort();
        lonely.sort();
        if !doubts.is_empty() {
            return Ok(Safety::Unsafe(doubts.join("; ")));
        }
        if !lonely.is_empty() {
            return Ok(Safety::Unreplicated(lonely.join("; ")));
        }
        match away {
            Some(error) if n_safe == 0 => Err(error),
            Some(_) | None => Ok(Safety::Safe),
        }
    }

    /// Sends one command to the master of a slot and reads its answer.
    pub(super) async fn ask(
        &self,
        slot: u16,
        command: &Cmd,
        until: Until,
    ) -> Result<Value, Failure> {
        let mut node = self.master_of(slot).await.map_err(Failure::Away)?;
        for _ in 0..REDIRECTIONS_MAX {
            let failure = match node.ask(command, until).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match self.redirection(&node, &failure).map_err(Failure::Away)? {
                Some(Redirection::Moved(to)) => {
                    self.look_soon();
                    node = to;
                }
                // The slot is under way: its map changes when it has arrived.
                Some(Redirection::Ask(to)) => return to.ask_importing(command, until).await,
                None => {
                    if !failure.is_refusal() {
                        self.look_soon();
                    }
                    return Err(failure);
                }
            }
        }
        Err(Failure::Away(away("nodes of the cluster send one command to each other")))
    }

    /// Tells whether two slots have masters of their own, as far as is known.
    pub(super) fn are_apart(&self, one: u16, other: u16) -> bool {
        let known = self.0.known.load();
        known.map.master_of(one) != known.map.master_of(other)
    }

    async fn master_of(&self, slot: u16) -> Result<Arc<Node>, StreamError> {
        if let Some(node) = self.known_master_of(slot) {
            return Ok(node);
        }
        self.look().await?;
        self.known_master_of(slot).ok_or_else(|| away("no master holds the slot"))
    }

    fn known_master_of(&self, slot: u16) -> Option<Arc<Node>> {
        let known = self.0.known.load();
        known.nodes.get(known.map.master_of(slot)?).cloned()
    }

    fn redirection(
        &self,
        from: &Node,
        failure: &Failure,
    ) -> Result<Option<Redirection>, StreamError> {
        let Failure::Said(error) = failure else { return Ok(None) };
        let Some((told, _)) = error.redirect_node() else { return Ok(None) };
        let address = address_of(told, &from.address())
            .ok_or_else(|| away("a redirection without an address"))?;
        let node = match self.0.known.load().nodes.get(&address) {
            Some(node) => node.clone(),
            None => self.node_at(&address)?,
        };
        let is_ask = error.kind() == ::redis::ErrorKind::Server(ServerErrorKind::Ask);
        Ok(Some(if is_ask { Redirection::Ask(node) } else { Redirection::Moved(node) }))
    }

    fn node_at(&self, (host, port): &Address) -> Result<Arc<Node>, StreamError> {
        let Shared { template, options, stats, .. } = &*self.0;
        let mut address = ConnectionAddr::Tcp(host.clone(), *port);
        if let ConnectionAddr::TcpTls { insecure, tls_params, .. } = template.addr() {
            let (insecure, tls_params) = (*insecure, tls_params.clone());
            address =
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure, tls_params };
        }
        let info = template.clone().set_addr(address);
        Node::new(info, Kind::OfACluster, options.clone(), stats.clone()).map(Arc::new)
    }

    /// Asks for the map beside the caller, unless that happens or has just happened.
    fn look_soon(&self) {
        let is_due = self.0.looking.try_lock().is_ok_and(|began| !is_fresh(*began));
        if is_due {
            let this = self.clone();
            tokio::spawn(async move { drop(this.look().await) });
        }
    }

    /// Asks for the map: the known nodes all at once, and if none answers, those of the settings.
    async fn look(&self) -> Result<(), StreamError> {
        let mut began = self.0.looking.lock().await;
        let known = self.0.known.load_full();
        if is_fresh(*began) && !known.nodes.is_empty() {
            return Ok(());
        }
        *began = Some(Instant::now());
        match ask_for_map(known.nodes.values()).await {
            Ok(map) => self.adopt(map),
            Err(_) => self.adopt(ask_for_map(self.0.seeds.iter()).await?),
        }
    }

    /// Takes a map over; nodes that stay keep their connections.
    fn adopt(&self, map: SlotMap) -> Result<(), StreamError> {
        let before = self.0.known.load_full();
        let mut nodes = HashMap::new();
        for address in map.masters() {
            if !nodes.contains_key(address) {
                let node = match before.nodes.get(address) {
                    Some(node) => node.clone(),
                    None => self.node_at(address)?,
                };
                nodes.insert(address.clone(), node);
            }
        }
        self.0.known.store(Arc::new(Known { map, nodes }));
        Ok(())
    }
}

/// Where a node sent a command.
enum Redirection {
    Moved(Arc<Node>),
    Ask(Arc<Node>),
}

fn is_fresh(began: Option<Instant>) -> bool {
    began.is_some_and(|at| at.elapsed() < LOOK_PAUSE)
}

/// The first answer counts: a node that hangs stops nobody.
async fn ask_for_map(nodes: impl Iterator<Item = &Arc<Node>>) -> Result<SlotMap, StreamError> {
    let mut asking: FuturesUnordered<_> = nodes
        .map(|node| async move {
            let answer = node.ask_unchecked(cmd("CLUSTER").arg("SLOTS")).await?;
            SlotMap::read(answer, &node.address()).ok_or_else(|| away("it is not in a cluster"))
        })
        .collect();
    let mut failure = away("no node of the cluster is known");
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(map) => return Ok(map),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn away(reason: &str) -> StreamError {
    StreamError::Down { reason: reason.to_owned(), source: None }
}

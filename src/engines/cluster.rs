//! A private Redis Cluster on ports of this machine: for tests that kill masters, and for measuring.
//!
//! A cluster has no sockets, so its nodes listen on free ports of 127.0.0.1. Their data lies in a
//! temporary folder that goes with them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{EngineError, EngineOptions, child, find, io, start};
use crate::progress::Progress;

/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// How long a master may be silent before its replica takes over: as short as a busy machine allows.
const NODE_TIMEOUT_MS: &str = "2000";

/// Meeting takes a second or two; more means that the nodes do not hear each other.
const MEET_LIMIT: Duration = Duration::from_secs(60);

/// A node answers in microseconds; more means that it is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Below the ports of clients on Linux (32768) and macOS (49152).
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// Ports that are tried before a node counts as one that does not start.
const PORTS_TRIED_MAX: usize = 5;

/// How many nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Masters, which share the slots.
    pub masters: usize,
    /// Replicas of each.
    pub replicas: usize,
}

/// A running cluster; dropping it kills its nodes. Start it from a thread that lives as long as it
/// does: the nodes end with it.
pub struct RedisCluster {
    program: find::Program,
    nodes: Vec<Node>,
    masters: usize,
    dir: TempDir,
}

struct Node {
    port: u16,
    bus_port: u16,
    child: Child,
}

impl Node {
    /// Waits until the node answers; `false` if it ended, as it does where its port was taken meanwhile,
    /// none if it hangs.
    fn runs(&mut self) -> Option<bool> {
        // Whoever took the port may answer, too.
        let own = format!("process_id:{}", self.child.id());
        let answers = |port| {
            let told = ask(port, "INFO server").ok().flatten();
            told.is_some_and(|told| told.lines().any(|line| line == own))
        };
        child::poll(MEET_LIMIT, || match self.child.try_wait() {
            Ok(None) => answers(self.port).then_some(true),
            Ok(Some(_)) | Err(_) => Some(false),
        })
    }
}

impl RedisCluster {
    /// Starts the nodes, lets them meet, and returns when all agree on the slots and every replica
    /// follows its master. The masters come first, then the replicas in the same order.
    ///
    /// # Errors
    /// Redis missing and not fetchable, a node that does not start, nodes that do not agree in time.
    pub fn start(
        options: &EngineOptions,
        size: Size,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let program = find::programs(options, progress)?.redis;
        let dir = TempDir::new().map_err(io("create", Path::new("a temporary folder")))?;
        let mut cluster = Self { program, nodes: Vec::new(), masters: size.masters, dir };
        let step = progress.step("Starting a Redis Cluster");
        for n in 0..size.masters * (1 + size.replicas) {
            let node = cluster.start_node(n)?;
            cluster.nodes.push(node);
        }
        cluster.join(size)?;
        step.done("A Redis Cluster runs");
        Ok(cluster)
    }

    /// Returns the URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port)).collect()
    }

    /// Returns which node is the master of a slot now, as a living node sees it.
    pub fn master_of(&self, slot: u16) -> Option<usize> {
        let told = (0..self.nodes.len()).find_map(|n| self.tell(n, "CLUSTER NODES"))?;
        let has_slot = |run: &str| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            matches!((first.parse(), last.parse()), (Ok(a), Ok(b)) if (a..=b).contains(&slot))
        };
        let line = told.lines().find(|line| {
            let mut words = line.split(' ');
            let is_failed = words.nth(2).is_some_and(|flags| flags.split(',').any(|f| f == "fail"));
            !is_failed && line.split(' ').skip(8).any(has_slot)
        })?;
        let port: u16 = line.split([' ', '@']).nth(1)?.rsplit_once(':')?.1.parse().ok()?;
        self.nodes.iter().position(|node| node.port == port)
    }

    /// Sends a command of one line to a node and returns its answer; none if it does not answer, or
    /// answers an error.
    pub fn tell(&self, n: usize, command: &str) -> Option<String> {
        ask(self.nodes[n].port, command).ok().flatten()
    }

    /// Tells whether a node has replicas and each of them all that it has. `WAIT` would answer for the
    /// writes of one's own connection only.
    pub fn is_replicated(&self, n: usize) -> bool {
        let told = self.tell(n, "INFO replication").unwrap_or_default();
        let own = told.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        let mut replicas = told
            .lines()
            .filter(|line| line.starts_with("slave") && line.contains(":ip="))
            .map(|line| line.split(',').find_map(|field| field.strip_prefix("offset=")))
            .peekable();
        own.is_some() && replicas.peek().is_some() && replicas.all(|offset| offset == own)
    }

    /// Sends a signal to a node: SIGSTOP lets it hang, SIGCONT go on.
    pub fn signal(&self, n: usize, signal: Signal) {
        child::send(self.nodes[n].child.id(), signal);
    }

    /// Kills a node as a crash would.
    pub fn kill(&mut self, n: usize) {
        // A node that is gone already is as dead.
        let _ = self.nodes[n].child.kill();
        let _ = self.nodes[n].child.wait();
    }

    /// Starts a node that was killed, on its data.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self, n: usize) -> Result<(), EngineError> {
        let Node { port, bus_port, .. } = self.nodes[n];
        let mut node = Node { port, bus_port, child: self.spawn(n, port, bus_port)? };
        let runs = node.runs();
        self.nodes[n] = node;
        if runs == Some(true) { Ok(()) } else { Err(self.not_in_time("a node")) }
    }

    /// Starts a node on ports that nobody has, also when its turn has come.
    fn start_node(&self, n: usize) -> Result<Node, EngineError> {
        for _ in 0..PORTS_TRIED_MAX {
            let [port, bus_port] =
                free_ports().map_err(io("find a port of", Path::new("127.0.0.1")))?;
            let mut node = Node { port, bus_port, child: self.spawn(n, port, bus_port)? };
            match node.runs() {
                Some(true) => return Ok(node),
                Some(false) => {}
                None => {
                    let _ = node.child.kill();
                    let _ = node.child.wait();
                    break;
                }
            }
        }
        Err(self.not_in_time("a node"))
    }

    fn spawn(&self, n: usize, port: u16, bus_port: u16) -> Result<Child, EngineError> {
        let dir = self.dir.path().join(n.to_string());
        std::fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        let mut command = start::command(&self.program, &self.program.path, &dir);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        command.args(["--rdbcompression", "no"]);
        command.args(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
        command.args(["--cluster-require-full-coverage", "no"]);
        command.args(["--cluster-node-timeout", NODE_TIMEOUT_MS]);
        // Replicas take over at once, however long ago they heard of their master.
        command.args(["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]);
        command.args(["--port", &port.to_string(), "--cluster-port", &bus_port.to_string()]);
        let (out, err) = child::log_file(&dir.join("redis.log"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        child::spawn(&mut command, None, Signal::SIGKILL).map_err(io("start", &self.program.path))
    }

    /// Makes one cluster of the nodes.
    fn join(&self, size: Size) -> Result<(), EngineError> {
        for n in 0..self.nodes.len() {
            // Epochs of their own spare the nodes a quarrel about who is older.
            self.order(n, &format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1))?;
        }
        for n in 0..size.masters {
            let (first, last) = (n * SLOTS / size.masters, (n + 1) * SLOTS / size.masters - 1);
            self.order(n, &format!("CLUSTER ADDSLOTSRANGE {first} {last}"))?;
        }
        for node in &self.nodes[1..] {
            let Node { port, bus_port, .. } = node;
            self.order(0, &format!("CLUSTER MEET 127.0.0.1 {port} {bus_port}"))?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        // Without full coverage a state of "ok" says nothing about the slots.
        let held = format!("cluster_slots_ok:{SLOTS}");
        self.await_all("a node of the cluster", |cluster, n| {
            let info = cluster.tell(n, "CLUSTER INFO").unwrap_or_default();
            ["cluster_state:ok", &known, &held].iter().all(|t| info.lines().any(|line| line == *t))
        })?;
        for n in size.masters..self.nodes.len() {
            let master = self.tell(n % size.masters, "CLUSTER MYID").unwrap_or_default();
            self.order(n, &format!("CLUSTER REPLICATE {}", master.trim()))?;
        }
        self.await_all("a replica", |cluster, n| {
            n < cluster.masters
                || cluster
                    .tell(n, "INFO replication")
                    .is_some_and(|info| info.contains("master_link_status:up"))
        })?;
        // Everybody has to have heard of every replica, or a failover finds no voters.
        let followers = self.nodes.len() - size.masters;
        self.await_all("a node of the cluster", |cluster, n| {
            cluster.tell(n, "CLUSTER NODES").is_some_and(|told| {
                told.lines().filter(|line| line.contains("slave")).count() == followers
            })
        })
    }

    fn order(&self, n: usize, command: &str) -> Result<(), EngineError> {
        let dir = self.dir.path().join(n.to_string());
        let failed = io("give orders to", &dir);
        match ask(self.nodes[n].port, command) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(failed(std::io::Error::other(format!("it refused {command}")))),
            Err(error) => Err(failed(error)),
        }
    }

    fn await_all(
        &self,
        who: &str,
        is_ready: impl Fn(&Self, usize) -> bool,
    ) -> Result<(), EngineError> {
        let all = || (0..self.nodes.len()).all(|n| is_ready(self, n)).then_some(());
        child::poll(MEET_LIMIT, all).ok_or_else(|| self.not_in_time(who))
    }

    fn not_in_time(&self, who: &str) -> EngineError {
        let told = std::io::Error::other(format!("{who} was not ready in time"));
        io("start a cluster in", self.dir.path())(told)
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        for n in 0..self.nodes.len() {
            self.kill(n);
        }
    }
}

/// Finds two ports that nobody uses now, among those that systems do not give to clients: a node that
/// was killed finds its own free again.
fn free_ports() -> std::io::Result<[u16; 2]> {
    let any = || {
        let free = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(PORTS))).ok();
        let found = (0..PORTS_TRIED_MAX).find_map(free);
        found.map_or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)), Ok)
    };
    let (one, other) = (any()?, any()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// Sends a command of one line; an error that the server tells is `None`.
fn ask(port: u16, command: &str) -> std::io::Result<Option<String>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let head = head.trim_end();
    let Some(length) = head.strip_prefix('$') else {
        return Ok((!head.starts_with('-') && !head.is_empty()).then(|| head.to_owned()));
    };
    let length = length.parse().map_err(std::io::Error::other)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    // Lines end as they do on the wire; who reads them wants plain ones.
    Ok(Some(String::from_utf8_lossy(&body).replace("\r\n", "\n")))
}

//! Private PostgreSQL and Redis for `tributary dev` and for the tests.
//!
//! Somebody who has just cloned the project has neither. [`Engines::start`] finds the programs
//! (`find.rs`), or on Debian and Ubuntu fetches them without installing anything (`fetch.rs`), and
//! runs an instance of each that belongs to this process alone (`start.rs`):
//!
//! - **Unix sockets only**, in a folder that only its owner may enter: no port to clash, no
//!   password to choose.
//! - **They never outlive us.** Each child asks the kernel for a signal at our death, so even
//!   `kill -9` leaves nothing behind. The kernel watches the *thread* that started the child:
//!   **call `start` from a thread that lives as long as the process (the main thread)**. Started
//!   from a worker thread, the engines stop when that thread ends.
//! - **One at a time.** A lock in the data folder is inherited by the engines, so it is free only
//!   when the last of their processes has gone.
//! - As root, PostgreSQL refuses to run: both engines then run as `postgres`, else as `nobody`,
//!   and live in [`ROOT_DATA_DIR`], where that account can reach its files.
//!
//! A folder made by this module holds `pg/`, `redis/`, `run/` (sockets), `log/`, `engines/`
//! (fetched programs) and `lock`.

mod child;
mod cluster;
mod fetch;
mod find;
mod folder;
mod hold;
mod start;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::unistd::geteuid;
use url::Url;

use crate::progress::Progress;
pub use cluster::{RedisCluster, Size as ClusterSize};
pub use hold::{Exports, hold};

/// Where the engines live when root starts them: root's home is closed to the account that
/// PostgreSQL has to run as.
pub const ROOT_DATA_DIR: &str = "/var/lib/tributary-dev";

/// A PostgreSQL that was killed replays its log first; this is far beyond what a machine for
/// development collects.
const START_LIMIT: Duration = Duration::from_secs(60);

/// PostgreSQL writes everything it holds to disk before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The superuser of the private PostgreSQL; it owns what the caller creates.
pub const OWNER_ROLE: &str = "tributary_owner";

/// How to find and run the engines.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Folder of this instance; made when missing.
    pub data_dir: PathBuf,
    /// Folder of fetched programs, `<data_dir>/engines` unless several instances share them.
    pub engines_dir: PathBuf,
    /// What a crash of the machine may cost.
    pub durability: Durability,
    /// Folder with `postgres` and `initdb` to use instead of searching.
    pub pg_bin: Option<PathBuf>,
    /// The environment's `PATH`, as read by `config.rs`; the usual folders are searched without it.
    pub search_path: Option<OsString>,
    /// Whether missing programs may be downloaded.
    pub may_fetch: bool,
}

impl EngineOptions {
    /// Returns durable engines in `data_dir` that may be fetched when they are missing.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            engines_dir: data_dir.join("engines"),
            data_dir,
            durability: Durability::Durable,
            pg_bin: None,
            search_path: None,
            may_fetch: true,
        }
    }
}

/// What a crash of the machine may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was acknowledged.
    Durable,
    /// Everything in PostgreSQL: for tests, which are faster without waiting for the disk. Redis
    /// stays as safe as in production, because the service refuses to run on an unsafe one.
    Scratch,
}

/// Returns the folder `tributary dev` keeps its data in: [`ROOT_DATA_DIR`] for root, `./data`
/// otherwise.
pub fn default_data_dir() -> PathBuf {
    if geteuid().is_root() { ROOT_DATA_DIR.into() } else { "data".into() }
}

/// Returns what runs the Redis of this machine, fetched if it is missing: for tests that kill
/// servers of their own.
///
/// # Errors
/// Programs missing and not fetchable.
pub fn redis_server(options: &EngineOptions, progress: &Progress) -> Result<Command, EngineError> {
    let redis = find::programs(options, progress)?.redis;
    Ok(start::command(&redis, &redis.path, Path::new("/")))
}

/// Running engines; dropping them stops them.
pub struct Engines {
    // Field order is drop order: the scratch folder goes after what lives in it.
    running: start::Running,
    scratch: Option<folder::ScratchFolder>,
}

impl Engines {
    /// Starts both engines in `options.data_dir`, keeping what an earlier start left there.
    ///
    /// Blocks until both answer. Call it from the main thread: the page of this module says why.
    ///
    /// # Errors
    /// Programs missing and not fetchable, a folder in use or out of reach, an engine that dies or
    /// does not answer in time. Nothing is left running.
    pub fn start(options: &EngineOptions, progress: &Progress) -> Result<Self, EngineError> {
        let programs = find::programs(options, progress)?;
        let running =
            start::Running::start(&programs, &options.data_dir, options.durability, progress)?;
        Ok(Self { running, scratch: None })
    }

    /// Starts both engines in a new temporary folder that disappears with them; programs are
    /// still found in, or fetched into, `options.engines_dir`. Always [`Durability::Scratch`].
    ///
    /// # Errors
    /// As [`Engines::start`].
    pub fn start_scratch(
        options: &EngineOptions,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let programs = find::programs(options, progress)?;
        folder::ScratchFolder::sweep();
        let scratch = folder::ScratchFolder::create()?;
        let running =
            start::Running::start(&programs, scratch.path(), Durability::Scratch, progress)?;
        Ok(Self { running, scratch: Some(scratch) })
    }

    /// Returns the URL of the database `postgres`, for the superuser [`OWNER_ROLE`].
    pub fn database_url(&self) -> String {
        self.database_url_of("postgres")
    }

    /// Returns the URL of `database` for the superuser [`OWNER_ROLE`]; creating it is the
    /// caller's work.
    pub fn database_url_of(&self, database: &str) -> String {
        // With the port, which names the socket: without it sqlx would obey `PGPORT`.
        let mut url = Url::parse("postgres://localhost:5432").expect("a constant");
        url.set_username(OWNER_ROLE).expect("the URL has a host");
        url.set_path(database);
        url.query_pairs_mut().append_pair("host", &self.running.socket_dir().to_string_lossy());
        url.into()
    }

    /// Returns the URL of Redis, in the form `redis+unix:///folder/redis.sock`.
    pub fn redis_url(&self) -> String {
        format!("redis+unix://{}", self.running.redis_socket().display())
    }

    /// Returns the process ids of PostgreSQL and Redis.
    pub fn process_ids(&self) -> [u32; 2] {
        self.running.process_ids()
    }

    /// Returns the folder with both logs.
    pub fn log_dir(&self) -> PathBuf {
        self.running.log_dir()
    }

    /// Stops Redis, then PostgreSQL, and waits for both.
    ///
    /// # Errors
    /// One of them had to be killed because it did not stop in time.
    pub fn stop(mut self) -> Result<(), EngineError> {
        let stopped = self.running.stop();
        drop(self.scratch.take());
        stopped
    }
}

/// The programs that this module runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `postgres`.
    PostgreSql,
    /// `redis-server`, or `valkey-server`, which takes the same options.
    Redis,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PostgreSql => "PostgreSQL",
            Self::Redis => "Redis",
        })
    }
}

/// Why the engines could not be found, fetched, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A program is missing and may not, or cannot, be fetched.
    #[error("{} not found. Install with: {install}", list(missing))]
    Missing {
        /// What is missing.
        missing: Vec<Engine>,
        /// The exact line to run.
        install: String,
    },
    /// The folder that was asked for holds no PostgreSQL.
    #[error("{} holds no `postgres` with `initdb` beside it", .0.display())]
    NotInPgBin(PathBuf),
    /// Another process runs engines in this folder.
    #[error("{} is in use by process {holder}, or by engines it has left to stop. Stop it, or choose another folder", data_dir.display())]
    Busy {
        /// The folder.
        data_dir: PathBuf,
        /// The process id it wrote into the lock.
        holder: String,
    },
    /// Started by root, and there is no account to run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither an account `postgres` nor `nobody`"
    )]
    NoAccount,
    /// The account that runs the engines may not enter a folder on the way to the data.
    #[error("the account `{account}` cannot enter {}. As root, choose a data folder outside it, such as {ROOT_DATA_DIR}", folder.display())]
    Unreachable {
        /// The closed folder.
        folder: PathBuf,
        /// The account.
        account: String,
    },
    /// A helping program (`apt-get`, `dpkg-deb`, `initdb`) failed.
    #[error("`{program}` failed ({status}):\n{output}")]
    Failed {
        /// Its name.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// An engine ended while it was starting.
    #[error("{engine} ended at its start ({status}); end of {}:\n{tail}", log.display())]
    Died {
        /// Which.
        engine: Engine,
        /// How.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// An engine did not answer in time.
    #[error("{engine} did not answer within {limit_s} s; end of {}:\n{tail}", log.display())]
    Silent {
        /// Which.
        engine: Engine,
        /// How long was waited.
        limit_s: u64,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// An engine did not stop in time and was killed.
    #[error("{engine} did not stop within {limit_s} s and was killed")]
    Killed {
        /// Which.
        engine: Engine,
        /// How long was waited.
        limit_s: u64,
    },
    /// A file, folder or process could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

fn list(engines: &[Engine]) -> String {
    engines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// Names the action and the path of a failed call.
fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    move |source| EngineError::Io { action, path: path.to_owned(), source }
}

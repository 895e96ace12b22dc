//! Runs one PostgreSQL and one Redis in a folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::child::{self, Account};
use super::find::{Program, Programs};
use super::folder::{self, REDIS_SOCKET, Sockets};
use super::{Durability, Engine, EngineError, OWNER_ROLE, START_LIMIT, STOP_LIMIT, io};
use crate::progress::Progress;

/// Redis answers a ping in microseconds; more means that it is stuck.
const PING_LIMIT: Duration = Duration::from_secs(1);

/// Both engines of a folder, running. Dropping it stops them, Redis first.
pub(super) struct Running {
    // Field order is drop order; the lock goes last.
    redis: Process,
    postgres: Process,
    sockets: Sockets,
    home: PathBuf,
    _lock: File,
}

impl Running {
    /// Starts both in `home` and waits until they answer.
    pub(super) fn start(
        programs: &Programs,
        home: &Path,
        durability: Durability,
        progress: &Progress,
    ) -> Result<Self, EngineError> {
        let account = Account::for_engines()?;
        let account = account.as_ref();
        let home = folder::prepare_home(home, account)?;
        let lock = folder::lock(&home, progress)?;
        let sockets = Sockets::prepare(&home, account)?;
        initialize(&programs.postgres, &home, durability, account, progress)?;
        folder::remove_stale_pid_file(&home)?;

        let step = progress.step("Starting PostgreSQL and Redis");
        let launch = Launch { home: &home, account, lock: &lock };
        let command = postgres_command(&programs.postgres, &home, sockets.path(), durability);
        let mut postgres = launch.engine(Engine::PostgreSql, command)?;
        let command = redis_command(&programs.redis, &home, sockets.path());
        let mut redis = launch.engine(Engine::Redis, command)?;
        let pid_file = home.join("pg/postmaster.pid");
        let process_id = postgres.child.id();
        postgres.await_ready(|| is_ready(&pid_file, process_id))?;
        redis.await_ready(|| answers_ping(&sockets.path().join(REDIS_SOCKET)))?;
        step.done("PostgreSQL and Redis run");
        Ok(Self { redis, postgres, sockets, home, _lock: lock })
    }

    pub(super) fn socket_dir(&self) -> &Path {
        self.sockets.path()
    }

    pub(super) fn redis_socket(&self) -> PathBuf {
        self.socket_dir().join(REDIS_SOCKET)
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.home.join("log")
    }

    pub(super) fn process_ids(&self) -> [u32; 2] {
        [self.postgres.child.id(), self.redis.child.id()]
    }

    /// Stops Redis, then PostgreSQL.
    pub(super) fn stop(&mut self) -> Result<(), EngineError> {
        let redis = self.redis.stop();
        self.postgres.stop().and(redis)
    }
}

/// An engine that runs.
struct Process {
    engine: Engine,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn await_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), EngineError> {
        let Self { engine, child, log } = self;
        let (engine, log) = (*engine, log.clone());
        let ended = child::poll(START_LIMIT, || match child.try_wait() {
            Ok(Some(status)) => Some(Some(status)),
            Ok(None) | Err(_) => is_ready().then_some(None),
        });
        let tail = || child::tail(&log);
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => {
                Err(EngineError::Died { engine, status, tail: tail(), log: log.clone() })
            }
            None => {
                let limit_s = START_LIMIT.as_secs();
                Err(EngineError::Silent { engine, limit_s, tail: tail(), log: log.clone() })
            }
        }
    }

    fn stop(&mut self) -> Result<(), EngineError> {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        child::send(self.child.id(), stop_signal(self.engine));
        if child::wait(&mut self.child, STOP_LIMIT).is_some() {
            return Ok(());
        }
        // Nothing better is left; both recover from it at their next start.
        let _ = self.child.kill();
        let _ = self.child.wait();
        Err(EngineError::Killed { engine: self.engine, limit_s: STOP_LIMIT.as_secs() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// SIGINT is PostgreSQL's fast stop: it ends the connections instead of waiting for them.
fn stop_signal(engine: Engine) -> Signal {
    match engine {
        Engine::PostgreSql => Signal::SIGINT,
        Engine::Redis => Signal::SIGTERM,
    }
}

/// What both engines are started with.
struct Launch<'a> {
    home: &'a Path,
    account: Option<&'a Account>,
    lock: &'a File,
}

impl Launch<'_> {
    fn engine(&self, engine: Engine, mut command: Command) -> Result<Process, EngineError> {
        let log = self.home.join(match engine {
            Engine::PostgreSql => "log/postgresql.log",
            Engine::Redis => "log/redis.log",
        });
        let (out, err) = child::log_file(&log)?;
        // The lock as standard input, which neither reads: every process of an engine inherits
        // it, so it stays taken until the last of them has gone, even after our own death.
        let lock = self.lock.try_clone().map_err(io("share the lock of", self.home))?;
        command.stdin(Stdio::from(lock)).stdout(out).stderr(err);
        let program = PathBuf::from(command.get_program());
        let child = child::spawn(&mut command, self.account, stop_signal(engine))
            .map_err(io("start", &program))?;
        Ok(Process { engine, child, log })
    }
}

/// A command that sees none of our environment: `PGPORT`, `PGDATA` and their kin would change it.
pub(super) fn command(program: &Program, path: &Path, home: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().current_dir(home);
    if let Ok(libraries) = std::env::join_paths(&program.libraries)
        && !libraries.is_empty()
    {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

fn postgres_command(
    program: &Program,
    home: &Path,
    sockets: &Path,
    durability: Durability,
) -> Command {
    let mut command = command(program, &program.path, home);
    command.arg("-D").arg(home.join("pg"));
    let sockets = format!("unix_socket_directories={}", sockets.display());
    let settings = [
        "listen_addresses=",
        &sockets,
        "port=5432",
        // A test binary, or `dev` with its pools, beside `psql`.
        "max_connections=200",
        // Fetched without LLVM, a query that is expensive enough to compile would fail.
        "jit=off",
        // As in production, whatever this machine's zone is.
        "timezone=UTC",
        "log_timezone=UTC",
    ];
    let by_durability = match durability {
        // A day's visitors are found by keys without order: where their pages do not fit into memory, each
        // click reads one, and writes it whole into the log after each checkpoint.
        Durability::Durable => ["shared_buffers=512MB", "max_wal_size=4GB", "wal_compression=on"],
        Durability::Scratch => ["fsync=off", "synchronous_commit=off", "full_page_writes=off"],
    };
    for setting in settings.iter().chain(&by_durability) {
        command.args(["-c", setting]);
    }
    command
}

fn redis_command(program: &Program, home: &Path, sockets: &Path) -> Command {
    let mut command = command(program, &program.path, home);
    command.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]);
    command.arg(sockets.join(REDIS_SOCKET)).arg("--dir").arg(home.join("redis"));
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    command.args(["--maxmemory-policy", "noeviction", "--rdbcompression", "no"]);
    command
}

/// Makes the database files, once.
fn initialize(
    postgres: &Program,
    home: &Path,
    durability: Durability,
    account: Option<&Account>,
    progress: &Progress,
) -> Result<(), EngineError> {
    folder::make_private(&home.join("redis"), account)?;
    let pg = home.join("pg");
    if pg.join("PG_VERSION").exists() {
        return Ok(());
    }
    let step = progress.step("Creating the database files");
    // Renamed when whole: `initdb` writes PG_VERSION first, so a folder it was killed in would
    // look ready. A name of our own, because what it had started may still write for a moment.
    let new = home.join(format!("pg.new-{}", std::process::id()));
    folder::remove_unfinished(home);
    folder::make_private(&new, account)?;
    let mut command = command(postgres, &postgres.path.with_file_name("initdb"), home);
    let locale = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
    // Whoever can open the socket is trusted; the folder around it lets only its owner in.
    command.args(["--auth=trust", "--encoding=UTF8", "--locale", locale]);
    // The order of code points, as C.UTF-8 has it, compared as bytes.
    command.arg("--lc-collate=C");
    command.args(["--username", OWNER_ROLE, "--pgdata"]).arg(&new);
    if durability == Durability::Scratch {
        command.arg("--no-sync");
    }
    child::run(&mut command, account, &home.join("log/initdb.log"), || ())?;
    fs::rename(&new, &pg).map_err(io("create", &pg))?;
    step.done("Database files created");
    Ok(())
}

/// Reads PostgreSQL's own report, as `pg_ctl` does: the socket opens before recovery has ended.
fn is_ready(pid_file: &Path, process_id: u32) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.first() == Some(&process_id.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

/// Redis listens while it still loads, but answers an error then.
fn answers_ping(socket: &Path) -> bool {
    let ping = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PING_LIMIT))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ping().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_is_ready_only_when_it_says_so_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postmaster.pid");
        let told = |text: &str| {
            fs::write(&file, text).unwrap();
            is_ready(&file, 42)
        };
        assert!(told("42\n/pg\n1\n5432\n/run\n\n 1 2\nready   \n"));
        assert!(!told("42\n/pg\n1\n5432\n/run\n\n 1 2\nstarting\n"));
        assert!(!told("41\n/pg\n1\n5432\n/run\n\n 1 2\nready   \n"), "another process");
        assert!(!told(""));
    }

    #[test]
    fn only_scratch_gives_up_safety_and_redis_never_does() {
        let program = Program { path: "/bin/x".into(), libraries: Vec::new() };
        let (home, run) = (Path::new("/h"), Path::new("/h/run"));
        let text = |command: Command| format!("{command:?}");
        let durable = text(postgres_command(&program, home, run, Durability::Durable));
        let scratch = text(postgres_command(&program, home, run, Durability::Scratch));
        assert!(!durable.contains("fsync=off") && scratch.contains("fsync=off"));
        let redis = text(redis_command(&program, home, run));
        assert!(redis.contains(r#""--appendfsync" "always""#), "{redis}");
    }
}

//! Runs one PostgreSQL and one Redis in a folder.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::child::{self, Account};
use super::find::{Program, Programs};
use super::{Durability, Engine, EngineError, OWNER_ROLE, io};
use crate::progress::Progress;

/// A PostgreSQL that was killed replays its log first; this is far beyond what a machine for
/// development collects.
const START_LIMIT: Duration = Duration::from_secs(60);

/// PostgreSQL writes everything it holds to disk before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Redis answers a ping in microseconds; more means that it is stuck.
const PING_LIMIT: Duration = Duration::from_secs(1);

/// Longest path of a unix socket, without the closing zero byte (Linux; others have less by 4).
const SOCKET_PATH_MAX: usize = 103;

const POSTGRES_SOCKET: &str = ".s.PGSQL.5432";
const REDIS_SOCKET: &str = "redis.sock";

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
        let home = prepare_home(home, account)?;
        let lock = lock(&home)?;
        let sockets = Sockets::prepare(&home, account)?;
        initialize(&programs.postgres, &home, durability, account, progress)?;
        remove_stale_pid_file(&home)?;

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
fn command(program: &Program, path: &Path, home: &Path) -> Command {
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
    let scratch = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];
    let scratch = match durability {
        Durability::Durable => &scratch[..0],
        Durability::Scratch => &scratch[..],
    };
    for setting in settings.iter().chain(scratch) {
        command.args(["-c", setting]);
    }
    command
}

fn redis_command(program: &Program, home: &Path, sockets: &Path) -> Command {
    let mut command = command(program, &program.path, home);
    command.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]);
    command.arg(sockets.join(REDIS_SOCKET)).arg("--dir").arg(home.join("redis"));
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    command.args(["--maxmemory-policy", "noeviction"]);
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
    make_private(&home.join("redis"), account)?;
    let pg = home.join("pg");
    if pg.join("PG_VERSION").exists() {
        return Ok(());
    }
    let step = progress.step("Creating the database files");
    // Renamed when whole: `initdb` writes PG_VERSION first, so a folder it was killed in would
    // look ready.
    let new = home.join("pg.new");
    let _ = fs::remove_dir_all(&new);
    make_private(&new, account)?;
    let mut command = command(postgres, &postgres.path.with_file_name("initdb"), home);
    let locale = if cfg!(target_os = "macos") { "en_US.UTF-8" } else { "C.UTF-8" };
    // Whoever can open the socket is trusted; the folder around it lets only its owner in.
    command.args(["--auth=trust", "--encoding=UTF8", "--locale", locale]);
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

/// Makes the folder with its logs.
fn prepare_home(home: &Path, account: Option<&Account>) -> Result<PathBuf, EngineError> {
    let home = make_reachable(home, account)?;
    let log = home.join("log");
    fs::create_dir_all(&log).map_err(io("create", &log))?;
    Ok(home)
}

/// Makes the folder, checks that the engines' account can reach it, and returns its full path.
pub(super) fn make_reachable(
    folder: &Path,
    account: Option<&Account>,
) -> Result<PathBuf, EngineError> {
    let mode = if account.is_some() { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(io("create", folder))?;
    let folder = folder.canonicalize().map_err(io("resolve", folder))?;
    let Some(account) = account else { return Ok(folder) };
    for ancestor in folder.ancestors() {
        let meta = fs::metadata(ancestor).map_err(io("read", ancestor))?;
        if meta.mode() & 0o001 == 0 && meta.uid() != account.uid {
            let (folder, account) = (ancestor.to_owned(), account.name.clone());
            return Err(EngineError::Unreachable { folder, account });
        }
    }
    Ok(folder)
}

/// Takes the folder for this process, waiting for engines that are still going down.
fn lock(home: &Path) -> Result<File, EngineError> {
    let path = home.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open", &path))?;
    let holder = |mut file: &File| {
        let mut text = String::new();
        let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
        text.trim().parse::<u32>().ok()
    };
    let taken = child::poll(STOP_LIMIT, || match file.try_lock() {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::Error(error)) => Some(Err(io("lock", &path)(error))),
        // The engines of a killed process end by themselves; those of a living one do not.
        Err(TryLockError::WouldBlock) => holder(&file)
            .filter(|&pid| child::is_alive(pid))
            .map(|pid| Err(EngineError::Busy { data_dir: home.into(), holder: pid.to_string() })),
    });
    taken.unwrap_or_else(|| {
        Err(EngineError::Busy { data_dir: home.into(), holder: "unknown".into() })
    })?;
    let told = file.set_len(0).and_then(|()| file.rewind());
    told.and_then(|()| write!(file, "{}", std::process::id())).map_err(io("write", &path))?;
    Ok(file)
}

/// Removes the mark of a killed PostgreSQL. After a restart of a container its process id often
/// belongs to somebody else, and PostgreSQL would refuse to start.
fn remove_stale_pid_file(home: &Path) -> Result<(), EngineError> {
    let pg = home.join("pg");
    let path = pg.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    // Without /proc nothing tells whose the process is: PostgreSQL then decides by itself.
    if !Path::new("/proc/self").exists() {
        return Ok(());
    }
    let process_id = text.lines().next().unwrap_or_default().trim();
    // Somebody started it by hand, without our lock.
    if fs::read_link(format!("/proc/{process_id}/cwd")).is_ok_and(|cwd| cwd == pg) {
        return Err(EngineError::Busy { data_dir: home.into(), holder: process_id.into() });
    }
    fs::remove_file(&path).map_err(io("remove", &path))
}

/// Makes a folder that only the account of the engines may enter.
fn make_private(folder: &Path, account: Option<&Account>) -> Result<(), EngineError> {
    DirBuilder::new().recursive(true).create(folder).map_err(io("create", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(io("protect", folder))?;
    match account {
        Some(account) => {
            chown(folder, Some(account.uid), Some(account.gid)).map_err(io("hand over", folder))
        }
        None => Ok(()),
    }
}

/// The folder with both sockets.
enum Sockets {
    InHome(PathBuf),
    Temporary(ScratchFolder),
}

impl Sockets {
    fn prepare(home: &Path, account: Option<&Account>) -> Result<Self, EngineError> {
        let run = home.join("run");
        let sockets = if is_fit(&run) {
            Self::InHome(run)
        } else {
            Self::Temporary(ScratchFolder::create()?)
        };
        make_private(sockets.path(), account)?;
        // The lock is ours, so whatever a killed engine left here is stale.
        for left in [POSTGRES_SOCKET, ".s.PGSQL.5432.lock", REDIS_SOCKET] {
            let _ = fs::remove_file(sockets.path().join(left));
        }
        Ok(sockets)
    }

    fn path(&self) -> &Path {
        match self {
            Self::InHome(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Tells whether sockets can live in `folder`: short enough for the kernel, and without letters
/// that mean something in a URL or in PostgreSQL's list of folders.
fn is_fit(folder: &Path) -> bool {
    let socket = folder.join(POSTGRES_SOCKET);
    socket.as_os_str().len() <= SOCKET_PATH_MAX
        && folder.to_str().is_some_and(|text| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        })
}

/// A folder in `/tmp` that is removed when dropped. `/tmp` itself rather than `TMPDIR`, because
/// the path has to stay short.
pub(super) struct ScratchFolder(PathBuf);

impl ScratchFolder {
    /// Creates it; others may pass through (root hands folders inside to another account), not
    /// list it.
    pub(super) fn create() -> Result<Self, EngineError> {
        let template = Path::new("/tmp/tributary-XXXXXX");
        let path =
            nix::unistd::mkdtemp(template).map_err(|error| io("create", template)(error.into()))?;
        let folder = Self(path);
        fs::set_permissions(&folder.0, Permissions::from_mode(0o711))
            .map_err(io("open up", &folder.0))?;
        Ok(folder)
    }

    /// Removes the folders of processes that were killed, or that kept their engines in a static:
    /// a database each would soon fill the disk.
    pub(super) fn sweep() {
        for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("tributary-")
                && is_abandoned(&entry.path().join("lock"))
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

/// Tells whether nobody holds `lock`, and not only because its owner has yet to take it.
fn is_abandoned(lock: &Path) -> bool {
    let Ok(lock) = File::open(lock) else { return false };
    let age =
        lock.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age > START_LIMIT) && lock.try_lock().is_ok()
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_leave_folders_that_are_too_deep_or_oddly_named() {
        assert!(is_fit(Path::new("/home/ann/tributary/data/run")));
        assert!(!is_fit(&Path::new("/home").join("d".repeat(100))));
        for odd in ["/home/ann,bob/run", "/home/my data/run", "/home/анна/run", "/home/a%20b"] {
            assert!(!is_fit(Path::new(odd)), "{odd}");
        }
    }

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

    #[test]
    fn only_an_old_lock_that_nobody_holds_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_abandoned(&path), "no lock yet");
        let lock = File::create(&path).unwrap();
        assert!(!is_abandoned(&path), "new");
        let old = lock.metadata().unwrap().modified().unwrap() - 2 * START_LIMIT;
        lock.set_modified(old).unwrap();
        assert!(is_abandoned(&path));
        lock.lock().unwrap();
        assert!(!is_abandoned(&path), "held");
    }

    #[test]
    fn a_stale_pid_file_goes_even_when_its_id_lives_again() {
        let home = tempfile::tempdir().unwrap();
        let pg = home.path().canonicalize().unwrap().join("pg");
        fs::create_dir(&pg).unwrap();
        let file = pg.join("postmaster.pid");
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        remove_stale_pid_file(pg.parent().unwrap()).unwrap();
        assert_eq!(file.exists(), !Path::new("/proc/self").exists());
    }
}

//! A Redis of one story, which may be killed, filled and misled.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tributary::config;
use tributary::engines::{EngineOptions, default_data_dir, redis_server};
use tributary::progress::Progress;

/// As safe as the service wants it, and dumping only when it is told to.
const SETTINGS: &str = "--port 0 --unixsocket redis.sock --save  --logfile  --appendonly yes \
    --appendfsync always --maxmemory-policy noeviction";

pub struct OwnRedis {
    dir: TempDir,
    child: Child,
}

impl OwnRedis {
    pub fn start() -> Self {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let child = spawn(&dir);
        Self { dir, child }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Where it would put its next dump.
    pub fn dump(&self) -> PathBuf {
        self.dir.path().join("dump.rdb")
    }

    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = spawn(&self.dir);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Runs a command past the wire and returns what it answers.
    pub fn ask(&self, words: &[&str]) -> redis::Value {
        let url = format!("redis+unix://{}", self.socket().display());
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut connection).unwrap()
    }

    /// Tells whether its last dump came about, once none is under way.
    pub fn dumps(&self) -> bool {
        self.ask(&["BGSAVE"]);
        loop {
            let about: String =
                redis::from_redis_value(self.ask(&["INFO", "persistence"])).unwrap();
            if about.contains("rdb_bgsave_in_progress:0") {
                return about.contains("rdb_last_bgsave_status:ok");
            }
        }
    }
}

fn spawn(dir: &TempDir) -> Child {
    let mut options = EngineOptions::new(default_data_dir());
    options.search_path = config::environment("PATH").map(Into::into);
    let mut child = redis_server(&options, &Progress::hidden())
        .unwrap()
        .args(SETTINGS.split(' '))
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("ready to accept connections")));
    // It goes on talking, and a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

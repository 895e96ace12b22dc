//! Private engines: they start from nothing, keep their data, and never outlive their holder.

use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tributary::engines::{Durability, EngineError, EngineOptions, Engines, default_data_dir};
use tributary::progress::Progress;

/// Far beyond the stop of two idle engines.
const PATIENCE_POLLS: u32 = 500;
const POLL: Duration = Duration::from_millis(20);

/// A folder that the engines' account may enter when root runs the tests.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

/// Tests may fetch, once for all: a machine without the engines is the one they are for.
fn options(dir: &Path) -> EngineOptions {
    EngineOptions {
        durability: Durability::Scratch,
        engines_dir: default_data_dir().join("engines"),
        ..EngineOptions::new(dir)
    }
}

fn start(dir: &Path) -> Result<Engines, EngineError> {
    Engines::start(&options(dir), &Progress::hidden())
}

async fn postgres(engines: &Engines) -> PgConnection {
    PgConnection::connect(&engines.database_url()).await.unwrap()
}

async fn redis(engines: &Engines) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(engines.redis_url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// Tells whether a process runs; one that only waits to be collected has ended.
fn runs(process_id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..PATIENCE_POLLS {
        if condition() {
            return;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test]
async fn both_start_from_nothing_and_answer() {
    let dir = folder();
    let engines = start(dir.path()).unwrap();

    let mut db = postgres(&engines).await;
    let role: String =
        sqlx::query_scalar("select current_user::text").fetch_one(&mut db).await.unwrap();
    assert_eq!(role, "tributary_owner");
    let addresses: String =
        sqlx::query_scalar("show listen_addresses").fetch_one(&mut db).await.unwrap();
    assert_eq!(addresses, "", "sockets only");

    let mut redis = redis(&engines).await;
    for (setting, expected) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory-policy", "noeviction"),
        ("port", "0"),
    ] {
        let found: (String, String) =
            redis::cmd("config").arg("get").arg(setting).query_async(&mut redis).await.unwrap();
        assert_eq!(found.1, expected, "{setting}");
    }
    let processes = engines.process_ids();
    assert!(processes.into_iter().all(runs));
    engines.stop().unwrap();
    assert!(!processes.into_iter().any(runs));
}

#[tokio::test]
async fn a_second_start_keeps_the_data() {
    let dir = folder();
    let engines = start(dir.path()).unwrap();
    write(&engines).await;
    engines.stop().unwrap();

    let engines = start(dir.path()).unwrap();
    assert_eq!(read(&engines).await, (7, Some(7)));
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_holder() {
    let dir = folder();
    let first = start(dir.path()).unwrap();
    let error = start(dir.path()).err().expect("two instances in one folder would destroy it");
    assert!(
        matches!(&error, EngineError::Busy { holder, .. } if *holder == std::process::id().to_string()),
        "{error}"
    );
    // The refusal must not disturb the first.
    postgres(&first).await.ping().await.unwrap();
    redis(&first).await;
}

#[tokio::test]
async fn sockets_of_a_deep_folder_move_and_are_removed_at_the_end() {
    let dir = folder();
    let engines = start(&dir.path().join("d".repeat(110)).join("a b")).unwrap();
    postgres(&engines).await.ping().await.unwrap();
    redis(&engines).await;
    let socket = engines.redis_url().replace("redis+unix://", "");
    assert!(Path::new(&socket).exists());
    engines.stop().unwrap();
    assert!(!Path::new(&socket).parent().unwrap().exists());
}

#[tokio::test]
async fn scratch_engines_take_their_folder_with_them() {
    let dir = folder();
    let engines = Engines::start_scratch(&options(dir.path()), &Progress::hidden()).unwrap();
    let home = engines.log_dir().parent().unwrap().to_owned();
    postgres(&engines).await.ping().await.unwrap();
    drop(engines);
    assert!(!home.exists());
}

#[tokio::test]
async fn an_early_death_is_told_with_the_end_of_the_log() {
    let dir = folder();
    start(dir.path()).unwrap().stop().unwrap();
    std::fs::write(dir.path().join("pg/postgresql.conf"), "nonsense = 1\n").unwrap();
    let error = start(dir.path()).err().expect("PostgreSQL refuses an unknown setting");
    assert!(error.to_string().contains("nonsense"), "{error}");
    assert!(matches!(error, EngineError::Died { .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killing_the_holder_leaves_no_engine_and_loses_nothing() {
    let dir = folder();
    let (mut holder, processes) = spawn_holder(dir.path());
    assert!(processes.iter().copied().all(runs));

    holder.kill().unwrap(); // SIGKILL
    holder.wait().unwrap();
    // At once, while the orphans may still be going down: the start waits for them.
    let engines = start(dir.path()).unwrap();
    assert!(!processes.iter().copied().any(runs), "the lock was free before they had gone");
    assert_eq!(read(&engines).await, (7, Some(7)));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn killing_every_process_leaves_a_folder_that_starts_again() {
    let dir = folder();
    let (mut holder, processes) = spawn_holder(dir.path());
    for process in processes {
        let process = nix::unistd::Pid::from_raw(process.try_into().unwrap());
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_for("their end", || !processes.iter().copied().any(runs)).await;
    let engines = start(dir.path()).unwrap();
    assert_eq!(read(&engines).await, (7, Some(7)), "acknowledged before the kill");
}

async fn write(engines: &Engines) {
    let mut db = postgres(engines).await;
    sqlx::query("create table kept as select 7 as n").execute(&mut db).await.unwrap();
    let mut redis = redis(engines).await;
    let () = redis::cmd("set").arg("kept").arg(7).query_async(&mut redis).await.unwrap();
}

async fn read(engines: &Engines) -> (i32, Option<i32>) {
    let mut db = postgres(engines).await;
    let row = sqlx::query_scalar("select n from kept").fetch_one(&mut db).await.unwrap();
    let mut redis = redis(engines).await;
    (row, redis::cmd("get").arg("kept").query_async(&mut redis).await.unwrap())
}

/// Starts this test binary again as a process that holds engines in `dir`; returns it with the
/// ids of the engines' processes once data has been written.
fn spawn_holder(dir: &Path) -> (Child, [u32; 2]) {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "engines::holder", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(holder.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
    let mut lines = BufReader::new(holder.stdout.as_mut().unwrap()).lines();
    // The test harness writes lines of its own.
    let told =
        lines.find_map(|line| line.unwrap().split_once("holding ").map(|(_, ids)| ids.to_owned()));
    let ids: Vec<u32> =
        told.expect("the holder starts").split(' ').map(|id| id.parse().unwrap()).collect();
    (holder, ids.try_into().unwrap())
}

#[tokio::test]
#[ignore = "not a test of its own: the process that other tests kill"]
async fn holder() {
    let mut dir = String::new();
    stdin().read_line(&mut dir).unwrap();
    if dir.is_empty() {
        return; // Started by hand, with nobody to say where.
    }
    // Durable, because scratch engines may lose their last writes in a kill.
    let dir = Path::new(dir.trim()).to_owned();
    let options = EngineOptions { durability: Durability::Durable, ..options(&dir) };
    let engines = Engines::start(&options, &Progress::hidden()).unwrap();
    write(&engines).await;
    let [postgres, redis] = engines.process_ids();
    println!("holding {postgres} {redis}");
    // Until it is killed, or its parent has gone and closed the pipe.
    let _ = stdin().read_line(&mut String::new());
}

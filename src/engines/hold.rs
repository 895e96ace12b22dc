//! Runs a command between the start and the stop of scratch engines.
//!
//! Under nextest every test is a process of its own, so the engines have to be held around the
//! whole run: `./x test` does it with `tributary with-engines -- cargo nextest run`.

use std::io::{IsTerminal, stdin};
use std::path::Path;
use std::process::ExitStatus;

use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

use super::{ClusterSize, EngineError, EngineOptions, Engines, RedisCluster, child, io};
use crate::progress::Progress;

/// What the command finds in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exports {
    /// `TRIBUTARY_TEST_PG` and `TRIBUTARY_TEST_REDIS`, for the tests.
    Tests,
    /// These and `DATABASE_URL`, for sqlx's macros.
    TestsAndDatabaseUrl,
}

/// Starts scratch engines, and a Redis Cluster (`TRIBUTARY_TEST_REDIS_CLUSTER`) where one is wanted, runs `command` with their addresses in its environment, stops the
/// engines, and returns how the command ended.
///
/// SIGTERM and SIGHUP are passed on. So is Ctrl-C where there is no terminal; on one, the command
/// has received it already, and a second would mean "at once" to most runners. The engines stop
/// only after the command has ended.
///
/// Await it on the main thread (`block_on` in `main`), for the reason given in
/// [`super`]; it blocks that thread while the engines start and stop.
///
/// # Errors
/// As [`Engines::start`]; the command is empty or cannot be started.
pub async fn hold(
    options: &EngineOptions,
    progress: &Progress,
    command: &[String],
    exports: Exports,
    cluster: Option<ClusterSize>,
) -> Result<ExitStatus, EngineError> {
    let (program, arguments) = command.split_first().ok_or_else(|| EngineError::Io {
        action: "run",
        path: "an empty command".into(),
        source: std::io::ErrorKind::InvalidInput.into(),
    })?;
    let engines = Engines::start_scratch(options, progress)?;
    let cluster = match cluster {
        Some(size) => Some(RedisCluster::start(options, size, progress)?),
        None => None,
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;

    let mut command = Command::new(program);
    command.args(arguments);
    command.env("TRIBUTARY_TEST_PG", engines.database_url());
    command.env("TRIBUTARY_TEST_REDIS", engines.redis_url());
    if let Some(cluster) = &cluster {
        command.env("TRIBUTARY_TEST_REDIS_CLUSTER", cluster.urls().join(","));
    }
    match exports {
        Exports::Tests => {}
        Exports::TestsAndDatabaseUrl => {
            command.env("DATABASE_URL", engines.database_url());
        }
    }
    let mut running = command.spawn().map_err(io("start", Path::new(program)))?;
    let pass_on = |process_id: Option<u32>, signal| {
        if let Some(id) = process_id {
            child::send(id, signal);
        }
    };
    let ended = loop {
        let id = running.id();
        tokio::select! {
            ended = running.wait() => break ended,
            _ = interrupt.recv() => if !stdin().is_terminal() { pass_on(id, Signal::SIGINT) },
            _ = terminate.recv() => pass_on(id, Signal::SIGTERM),
            _ = hang_up.recv() => pass_on(id, Signal::SIGHUP),
        }
    };
    let status = ended.map_err(io("wait for", Path::new(program)))?;
    engines.stop()?;
    Ok(status)
}

fn listen(kind: SignalKind) -> Result<Signals, EngineError> {
    signal(kind).map_err(io("listen for", Path::new("signals")))
}

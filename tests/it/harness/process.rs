//! Further processes of the service, to be killed and paused.

use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tributary::config::{DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_SECRETS_KEY};

use super::app::TestApp;
use super::services::services;

/// Returns the program with the settings of an app, and a folder of its own.
fn program_of(app: &TestApp, dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command
        .env_clear()
        .env("TRIBUTARY_ENV", "dev")
        .env("DATABASE_URL", &app.database.service_url)
        .env("REDIS_URL", &services().redis_url)
        .env("TRIBUTARY_STREAM_PREFIX", &app.app().config.stream_prefix)
        .env("TRIBUTARY_SPOOL_DIR", dir.path().join("spool"))
        .env("TRIBUTARY_LINK_KEYS", DEV_LINK_KEYS)
        .env("TRIBUTARY_CLICK_KEYS", DEV_CLICK_KEYS)
        .env("TRIBUTARY_SECRETS_KEY", DEV_SECRETS_KEY);
    command
}

/// Runs a command with the settings of an app, to its end.
pub async fn run_beside(app: &TestApp, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::from(program_of(app, &dir));
    command.args(arguments).output().await.unwrap()
}

/// A process beside the app, on the same database and stream; killed at the end.
pub struct Process {
    child: Child,
    _dir: TempDir,
}

impl Process {
    /// Starts a process with the roles given. Its clock is that of the machine, so the app's has to
    /// be near it: [`TestApp::keep_time`].
    pub fn beside(app: &TestApp, roles: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = program_of(app, &dir)
            .arg("serve")
            .env("TRIBUTARY_ROLES", roles)
            .env("TRIBUTARY_BIND", "127.0.0.1:0")
            .env("TRIBUTARY_ADMIN_BIND", "127.0.0.1:0")
            .env("TRIBUTARY_SNAPSHOT_PATH", dir.path().join("snapshot.json"))
            .env("TRIBUTARY_WORKERS", "1")
            .env("RUST_LOG", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _dir: dir }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

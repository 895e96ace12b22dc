//! Child processes that do not outlive us.
//!
//! Each gets its own process group, so that Ctrl-C at the terminal reaches us alone and the
//! engines stop only after the service has drained; and a signal from the kernel when we die
//! without a word.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use super::{EngineError, io};

/// How often a condition without an event of its own is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Lines of a log that an error quotes: enough for the cause, short enough for a terminal.
const TAIL_LINES_MAX: usize = 15;

/// The account that runs the engines when we are root.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Returns `postgres`, else `nobody`, when we are root; nothing for an ordinary user, who runs
    /// the engines as themselves.
    pub(super) fn for_engines() -> Result<Option<Self>, EngineError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .ok_or(EngineError::NoAccount)?;
        Ok(Some(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }
}

/// Starts `command` as `account`, with `at_our_death` sent to it when the calling thread ends.
pub(super) fn spawn(
    command: &mut Command,
    account: Option<&Account>,
    at_our_death: Signal,
) -> io::Result<Child> {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command.process_group(0);
    follow_us_into_death(command, at_our_death);
    command.spawn()
}

#[cfg(target_os = "linux")]
fn follow_us_into_death(command: &mut Command, signal: Signal) {
    let us = nix::unistd::getpid();
    let ask_the_kernel = move || {
        // The kernel forgets the wish when the account changes: std has changed it by now.
        nix::sys::prctl::set_pdeathsig(signal)?;
        // We may have died between the fork and the wish; nobody would send the signal then.
        if nix::unistd::getppid() == us { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    #[expect(
        unsafe_code,
        reason = "runs between fork and exec, where only async-signal-safe calls are allowed: \
                  prctl and getppid are plain system calls, and nothing allocates"
    )]
    // SAFETY: as the reason above says.
    unsafe {
        command.pre_exec(ask_the_kernel);
    }
}

#[cfg(not(target_os = "linux"))]
fn follow_us_into_death(_command: &mut Command, _signal: Signal) {
    // Other systems have no such wish; there the engines stop with `Drop` alone.
}

/// Runs `command` to its end, with everything it says in the file `log`; calls `meanwhile` while
/// it runs.
///
/// # Errors
/// [`EngineError::Failed`] with the end of `log`.
pub(super) fn run(
    command: &mut Command,
    account: Option<&Account>,
    log: &Path,
    mut meanwhile: impl FnMut(),
) -> Result<(), EngineError> {
    let program = command.get_program().to_owned();
    let (out, err) = log_file(log)?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let mut child =
        spawn(command, account, Signal::SIGKILL).map_err(io("start", program.as_ref()))?;
    let status = loop {
        meanwhile();
        match child.try_wait().map_err(io("wait for", program.as_ref()))? {
            Some(status) => break status,
            None => pause(),
        }
    };
    if status.success() {
        return Ok(());
    }
    let program =
        Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
    Err(EngineError::Failed { program, status, output: tail(log) })
}

/// Creates a log, emptying the last one, for standard output and standard error.
pub(super) fn log_file(log: &Path) -> Result<(File, File), EngineError> {
    let out = File::create(log).map_err(io("create", log))?;
    let err = out.try_clone().map_err(io("create", log))?;
    Ok((out, err))
}

/// Returns the last lines of `log`.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES_MAX)..].join("\n")
}

/// Sends `signal`; a child that has just gone is none of our concern.
pub(super) fn send(process_id: u32, signal: Signal) {
    let id = i32::try_from(process_id).expect("the kernel's process ids are positive i32");
    let _ = kill(Pid::from_raw(id), signal);
}

/// Waits for the child's end, at most `limit`.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    poll(limit, || child.try_wait().ok().flatten())
}

/// Asks `look` until it has a value; gives up after `limit`.
pub(super) fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if started.elapsed() >= limit {
            return None;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a child's end or first answer has no event that can be awaited with a time limit"
)]
fn pause() {
    std::thread::sleep(POLL_INTERVAL);
}

//! The folder of an instance: who may enter it, who has taken it, what a killed one left in it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;

use super::child::{self, Account};
use super::{EngineError, START_LIMIT, io};
use crate::progress::Progress;

/// Engines whose holder was killed are gone after a tenth of a second, unless much is to be
/// written; longer, and somebody is using them.
const LOCK_LIMIT: Duration = Duration::from_secs(3);

/// Longest path of a unix socket, without the closing zero byte: 103 on macOS, 107 on Linux.
const SOCKET_PATH_MAX: usize = 103;

/// The socket's name is PostgreSQL's own, made of the port.
const POSTGRES_SOCKET: &str = ".s.PGSQL.5432";
pub(super) const REDIS_SOCKET: &str = "redis.sock";

/// Makes the folder with its logs.
pub(super) fn prepare_home(home: &Path, account: Option<&Account>) -> Result<PathBuf, EngineError> {
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

/// Takes the folder for this process, waiting a little for engines that are still going down.
///
/// Whether the last holder lives is not asked: a killed process can linger as a zombie, and its
/// id can be somebody else's.
pub(super) fn lock(home: &Path, progress: &Progress) -> Result<File, EngineError> {
    let path = home.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open", &path))?;
    let mut waiting = None;
    let taken = child::poll(LOCK_LIMIT, || match file.try_lock() {
        Ok(()) => Some(Ok(())),
        Err(TryLockError::Error(error)) => Some(Err(error)),
        Err(TryLockError::WouldBlock) => {
            waiting.get_or_insert_with(|| progress.step("Waiting: the data folder is in use"));
            None
        }
    });
    let Some(taken) = taken else {
        let holder = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
        return Err(EngineError::Busy { data_dir: home.into(), holder });
    };
    let told = taken.and_then(|()| file.set_len(0));
    told.and_then(|()| write!(file, "{}", std::process::id())).map_err(io("lock", &path))?;
    Ok(file)
}

/// Removes database files whose making was cut off, as far as that goes.
pub(super) fn remove_unfinished(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("pg.new-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes the mark of a killed PostgreSQL. After a restart of a container its process id often
/// belongs to somebody else, and PostgreSQL would refuse to start.
pub(super) fn remove_stale_pid_file(home: &Path) -> Result<(), EngineError> {
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
pub(super) fn make_private(folder: &Path, account: Option<&Account>) -> Result<(), EngineError> {
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
pub(super) enum Sockets {
    InHome(PathBuf),
    Temporary(ScratchFolder),
}

impl Sockets {
    pub(super) fn prepare(home: &Path, account: Option<&Account>) -> Result<Self, EngineError> {
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

    pub(super) fn path(&self) -> &Path {
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
    /// Creates it, closed to others; root's lets them pass, because the engines' account has to.
    pub(super) fn create() -> Result<Self, EngineError> {
        let template = Path::new("/tmp/tributary-XXXXXX");
        let path =
            nix::unistd::mkdtemp(template).map_err(|error| io("create", template)(error.into()))?;
        let folder = Self(path);
        if geteuid().is_root() {
            fs::set_permissions(&folder.0, Permissions::from_mode(0o711))
                .map_err(io("open up", &folder.0))?;
        }
        Ok(folder)
    }

    /// Removes the folders of processes that were killed, or that kept their engines in a static:
    /// a database each would soon fill the disk.
    pub(super) fn sweep() {
        for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("tributary-")
                // Not a stranger's: /tmp is everybody's.
                && entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == geteuid().as_raw())
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

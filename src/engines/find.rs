//! Where PostgreSQL and Redis are on this machine.
//!
//! Order: the folder asked for, `PATH`, where packages put them (newest version first), Homebrew,
//! and last what was fetched earlier. An installed program comes first because its owner keeps it
//! up to date.

use std::path::{Path, PathBuf};

use super::{Engine, EngineError, EngineOptions, fetch};
use crate::progress::Progress;

/// The programs to run.
pub(super) struct Programs {
    pub(super) postgres: Program,
    pub(super) redis: Program,
}

/// A program and where its libraries are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Folders of fetched libraries; empty for an installed program.
    pub(super) libraries: Vec<PathBuf>,
}

/// Finds both programs, fetching what is missing.
pub(super) fn programs(
    options: &EngineOptions,
    progress: &Progress,
) -> Result<Programs, EngineError> {
    if let Some(dir) = &options.pg_bin
        && !holds_postgres(dir)
    {
        return Err(EngineError::NotInPgBin(dir.clone()));
    }
    let missing = missing(options);
    if !missing.is_empty() {
        if !options.may_fetch || !fetch::is_possible() {
            return Err(EngineError::Missing { install: install_line(&missing), missing });
        }
        fetch::fetch(options, progress)?;
    }
    match (postgres(options), redis(options)) {
        (Some(postgres), Some(redis)) => Ok(Programs { postgres, redis }),
        (None, _) | (_, None) => {
            let missing = self::missing(options);
            Err(EngineError::Missing { install: install_line(&missing), missing })
        }
    }
}

/// Lists the engines that are not on this machine.
pub(super) fn missing(options: &EngineOptions) -> Vec<Engine> {
    let postgres = postgres(options).is_none().then_some(Engine::PostgreSql);
    let redis = redis(options).is_none().then_some(Engine::Redis);
    postgres.into_iter().chain(redis).collect()
}

fn postgres(options: &EngineOptions) -> Option<Program> {
    let fetched = fetch::fetched(&options.engines_dir, Engine::PostgreSql);
    let dirs = match &options.pg_bin {
        Some(dir) => vec![dir.clone()],
        None => on_path(options)
            .chain(versions(Path::new("/usr/lib/postgresql"), "", "bin"))
            .chain(versions(Path::new("/usr"), "pgsql-", "bin"))
            .chain(versions(Path::new("/opt/homebrew/opt"), "postgresql@", "bin"))
            .chain(versions(Path::new("/usr/local/opt"), "postgresql@", "bin"))
            .chain(usual_folders())
            .chain(versions(&fetched.join("usr/lib/postgresql"), "", "bin"))
            .collect(),
    };
    let dir = dirs.into_iter().find(|dir| holds_postgres(dir))?;
    Some(Program::new(dir.join("postgres"), &fetched))
}

fn redis(options: &EngineOptions) -> Option<Program> {
    let fetched = fetch::fetched(&options.engines_dir, Engine::Redis);
    let path = on_path(options)
        .chain(usual_folders())
        .chain([fetched.join("usr/bin")])
        .flat_map(|dir| [dir.join("redis-server"), dir.join("valkey-server")])
        .find(|path| path.is_file())?;
    Some(Program::new(path, &fetched))
}

impl Program {
    fn new(path: PathBuf, fetched: &Path) -> Self {
        // Absolute, because the engines run in another folder than we do.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let libraries =
            if path.starts_with(fetched) { fetch::libraries(fetched) } else { Vec::new() };
        let libraries = libraries.into_iter().map(absolute).collect();
        Self { path: absolute(path), libraries }
    }
}

/// `initdb` has to be beside it: a client package may bring one without the other.
fn holds_postgres(dir: &Path) -> bool {
    dir.join("postgres").is_file() && dir.join("initdb").is_file()
}

fn on_path(options: &EngineOptions) -> impl Iterator<Item = PathBuf> {
    let dirs: Vec<_> = options.search_path.iter().flat_map(std::env::split_paths).collect();
    dirs.into_iter()
}

fn usual_folders() -> impl Iterator<Item = PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"].into_iter().map(PathBuf::from)
}

/// Lists `parent/{prefix}{version}/{inside}`, newest version first.
fn versions(
    parent: &Path,
    prefix: &'static str,
    inside: &'static str,
) -> impl Iterator<Item = PathBuf> + use<> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version: Result<_, _> =
                name.strip_prefix(prefix)?.split('.').map(str::parse).collect();
            // As numbers: as text, 9.6 would come after 15.
            Some((version.ok()?, entry.path().join(inside)))
        })
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path)
}

/// Returns the line that installs what is missing on this system.
fn install_line(missing: &[Engine]) -> String {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let (command, postgres, redis) = installer(&system, cfg!(target_os = "macos"));
    let packages = missing.iter().map(|engine| match engine {
        Engine::PostgreSql => postgres,
        Engine::Redis => redis,
    });
    packages.fold(command.to_owned(), |line, package| line + " " + package)
}

/// Returns the install command and the packages with PostgreSQL and Redis.
fn installer(os_release: &str, is_mac: bool) -> (&'static str, &'static str, &'static str) {
    if is_mac {
        return ("brew install", "postgresql@17", "redis");
    }
    let is = |name: &str| {
        os_release
            .lines()
            .filter(|line| line.starts_with("ID=") || line.starts_with("ID_LIKE="))
            .any(|line| line.split(['=', ' ', '"']).any(|word| word == name))
    };
    if is("alpine") {
        ("sudo apk add", "postgresql", "redis")
    } else if is("arch") {
        ("sudo pacman -S", "postgresql", "valkey")
    } else if is("fedora") || is("rhel") {
        ("sudo dnf install -y", "postgresql-server", "redis")
    } else if is("suse") {
        ("sudo zypper install -y", "postgresql-server", "redis")
    } else {
        ("sudo apt-get install -y", "postgresql", "redis-server")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9.6", "15", "14", "current", "15.bak"] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
        }
        let found: Vec<_> = versions(dir.path(), "", "bin").collect();
        let expected = ["15/bin", "14/bin", "9.6/bin"].map(|v| dir.path().join(v));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_folder_that_was_asked_for_is_the_only_one_searched() {
        let dir = tempfile::tempdir().unwrap();
        let options = EngineOptions {
            pg_bin: Some(dir.path().into()),
            ..EngineOptions::new(dir.path().join("data"))
        };
        let error = programs(&options, &Progress::hidden()).err().unwrap();
        assert!(matches!(error, EngineError::NotInPgBin(path) if path == dir.path()));
    }

    #[test]
    fn path_comes_before_the_usual_folders() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["postgres", "initdb", "valkey-server"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let options = EngineOptions {
            search_path: Some(dir.path().into()),
            ..EngineOptions::new(dir.path().join("data"))
        };
        assert_eq!(postgres(&options).unwrap().path, dir.path().join("postgres"));
        assert_eq!(redis(&options).unwrap().path, dir.path().join("valkey-server"));
    }

    #[test]
    fn the_install_line_fits_the_system() {
        let cases = [
            ("ID=debian\n", false, "sudo apt-get install -y"),
            ("ID=ubuntu\nID_LIKE=debian\n", false, "sudo apt-get install -y"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", false, "sudo dnf install -y"),
            ("ID=manjaro\nID_LIKE=arch\n", false, "sudo pacman -S"),
            ("ID=alpine\n", false, "sudo apk add"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", false, "sudo zypper install -y"),
            ("", true, "brew install"),
        ];
        for (os_release, is_mac, command) in cases {
            assert_eq!(installer(os_release, is_mac).0, command, "{os_release}");
        }
    }
}

//! PostgreSQL and Redis from Debian's and Ubuntu's packages, without installing anything.
//!
//! `apt-get` works for an ordinary user when its state and cache are folders of the user's. It
//! checks the signatures as ever; the packages are then unpacked, not installed: no account, no
//! service, no file outside one folder. Only what this system lacks is fetched, less what a
//! server does not need ([`LEFT_OUT`]).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use indicatif::HumanBytes;

use super::child::{self, Account};
use super::{Engine, EngineError, EngineOptions, find, folder, io};
use crate::progress::Progress;

/// First letters of packages that are dependencies of the packaging (service scripts, clients) or
/// of features we switch off (just-in-time compilation): they would triple the size.
const LEFT_OUT: [&str; 27] = [
    "adduser",
    "libbsd",
    "libc-l10n",
    "libcommon-sense-perl",
    "libedit",
    "libgdbm",
    "libio-pty-perl",
    "libipc-run-perl",
    "libjson-perl",
    "libjson-xs-perl",
    "libllvm",
    "libmd0",
    "libperl",
    "libreadline",
    "libtypes-serialiser-perl",
    "libz3",
    "locales",
    "lsb-base",
    "netbase",
    "openssl",
    "perl",
    "postgresql-client",
    "postgresql-common",
    "readline",
    "sensible-utils",
    "ssl-cert",
    "ucf",
];

/// Tells whether this system has the tools.
pub(super) fn is_possible() -> bool {
    ["/usr/bin/apt-get", "/usr/bin/dpkg-deb", DPKG_STATUS].iter().all(|p| Path::new(p).is_file())
}

/// What is installed; `apt-get` fetches only what is not.
const DPKG_STATUS: &str = "/var/lib/dpkg/status";

/// Returns where a fetched engine is unpacked.
pub(super) fn fetched(engines_dir: &Path, engine: Engine) -> PathBuf {
    let name = match engine {
        Engine::PostgreSql => "postgresql",
        Engine::Redis => "redis",
    };
    engines_dir.join(name)
}

/// Lists the folders with libraries in a fetched engine.
pub(super) fn libraries(fetched: &Path) -> Vec<PathBuf> {
    // Named after the machine, such as `x86_64-linux-gnu`.
    ["usr/lib", "lib"]
        .iter()
        .filter_map(|lib| fs::read_dir(fetched.join(lib)).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains("-linux-gnu"))
        .collect()
}

/// Fetches the engines that are missing into `options.engines_dir`.
pub(super) fn fetch(options: &EngineOptions, progress: &Progress) -> Result<(), EngineError> {
    // Before the download: what the engines' account cannot reach would be of no use.
    let account = Account::for_engines()?;
    let engines = folder::make_reachable(&options.engines_dir, account.as_ref())?;
    // Two first starts at once: the second waits, then finds what the first has fetched.
    let lock_path = engines.join("lock");
    let lock = File::create(&lock_path).map_err(io("create", &lock_path))?;
    lock.lock().map_err(io("lock", &lock_path))?;
    let missing = find::missing(options);
    if missing.is_empty() {
        return Ok(());
    }

    let apt = Apt::new(&engines)?;
    let step = progress.step("Reading the package lists (apt-get update)");
    let updated = apt.run(&mut apt.get(&["update"]), || ());
    let wanted: Vec<_> = missing
        .iter()
        .map(|&engine| Ok((engine, apt.plan(engine)?)))
        .collect::<Result<_, EngineError>>()
        // A stranger's broken source spoils the update but rarely the plan; if it does, it is
        // the cause.
        .map_err(|error| updated.err().unwrap_or(error))?;
    step.done("Package lists read");
    for (engine, packages) in wanted {
        apt.fetch(&packages, &fetched(&engines, engine), engine, progress)?;
    }
    fs::remove_dir_all(&apt.home).map_err(io("remove", &apt.home))
}

/// A package to fetch.
#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    bytes: u64,
}

/// `apt-get` with a state of its own.
struct Apt {
    home: PathBuf,
    archives: PathBuf,
    log: PathBuf,
}

impl Apt {
    fn new(engines: &Path) -> Result<Self, EngineError> {
        let home = engines.join("apt");
        let archives = home.join("cache/archives");
        let _ = fs::remove_dir_all(&home); // Left by a fetch that was cut off.
        for dir in [home.join("state/lists/partial"), archives.join("partial")] {
            fs::create_dir_all(&dir).map_err(io("create", &dir))?;
        }
        Ok(Self { log: home.join("log"), home, archives })
    }

    fn get(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        for option in [
            format!("Dir::State={}", self.home.join("state").display()),
            format!("Dir::State::status={DPKG_STATUS}"),
            format!("Dir::Cache={}", self.home.join("cache").display()),
            // The folders are ours alone, and their lock would need root.
            "Debug::NoLocking=1".to_owned(),
            // The download account of the system may not write into our folders.
            "APT::Sandbox::User=".to_owned(),
            "APT::Install-Recommends=0".to_owned(),
            "Acquire::Languages=none".to_owned(),
            // Signatures are checked whatever the system allows.
            "APT::Get::AllowUnauthenticated=0".to_owned(),
            "Acquire::AllowInsecureRepositories=0".to_owned(),
            "Acquire::AllowDowngradeToInsecureRepositories=0".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command.args(["-qq", "-y"]).args(arguments).current_dir(&self.archives);
        command
    }

    fn run(&self, command: &mut Command, meanwhile: impl FnMut()) -> Result<(), EngineError> {
        child::run(command, None, &self.log, meanwhile)
    }

    /// Lists what this system lacks to run `engine`.
    fn plan(&self, engine: Engine) -> Result<Vec<Package>, EngineError> {
        let package = match engine {
            // Depends on the version that the distribution supports.
            Engine::PostgreSql => "postgresql",
            Engine::Redis => "redis-server",
        };
        self.run(&mut self.get(&["--print-uris", "install", package]), || ())?;
        let listing = fs::read_to_string(&self.log).map_err(io("read", &self.log))?;
        Ok(listing.lines().filter_map(parse_uri).filter(is_needed).collect())
    }

    fn fetch(
        &self,
        packages: &[Package],
        into: &Path,
        engine: Engine,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        let bytes = packages.iter().map(|package| package.bytes).sum();
        progress.say(&format!(
            "{engine} is not installed. Fetching {} packages of this system's distribution \
             ({}, about four times that unpacked) into {}; nothing is installed.",
            packages.len(),
            HumanBytes(bytes),
            into.display(),
        ));
        let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        let bar = progress.bytes(bytes, &format!("Downloading {engine}"));
        self.run(self.get(&["download"]).args(names), || bar.set(size_of(&self.archives)))?;
        bar.set(size_of(&self.archives));
        bar.finish();

        let archives = archives_in(&self.archives);
        let bar = progress.bar(archives.len() as u64, &format!("Unpacking {engine}"));
        let unpacked = into.with_extension("new");
        let _ = fs::remove_dir_all(&unpacked); // Left by a fetch that was cut off.
        for archive in archives {
            self.run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked), || ())?;
            fs::remove_file(&archive).map_err(io("remove", &archive))?;
            bar.inc(1);
        }
        // Whole or not at all: a half-unpacked engine would be found and fail at its start.
        fs::rename(&unpacked, into).map_err(io("create", into))?;
        bar.finish();
        Ok(())
    }
}

/// Reads a line of `--print-uris`: `'uri' name_version_machine.deb bytes hash`.
fn parse_uri(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    let (name, _) = words.next()?.split_once('_')?;
    Some(Package { name: name.to_owned(), bytes: words.next()?.parse().ok()? })
}

fn is_needed(package: &Package) -> bool {
    // `postgresql` alone is an empty package that only depends on the right version.
    package.name != "postgresql" && !LEFT_OUT.iter().any(|start| package.name.starts_with(start))
}

fn archives_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "deb")).collect()
}

/// Adds up the files of `dir`, whole and partial, as a measure of how far a download is.
fn size_of(dir: &Path) -> u64 {
    [dir.to_owned(), dir.join("partial")]
        .iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_print_uris_gives_name_and_size() {
        let line = "'http://mirror.example/debian/pool/main/r/redis/redis-server_7.0.15_amd64.deb' \
                    redis-server_5%3a7.0.15-1%7edeb12u1_amd64.deb 72412 SHA256:ab12";
        let package = Package { name: "redis-server".into(), bytes: 72_412 };
        assert_eq!(parse_uri(line), Some(package));
        for noise in ["", "E: broken", "'http://x' name.deb", "'http://x' a_1_amd64.deb many"] {
            assert_eq!(parse_uri(noise), None, "{noise}");
        }
    }

    #[test]
    fn the_server_is_kept_and_its_packaging_left_out() {
        let is_needed = |name: &str| is_needed(&Package { name: name.into(), bytes: 0 });
        for kept in ["postgresql-15", "libpq5", "redis-server", "redis-tools", "libssl3", "tzdata"]
        {
            assert!(is_needed(kept), "{kept}");
        }
        for left in ["postgresql", "postgresql-client-15", "perl-base", "libllvm14", "ssl-cert"] {
            assert!(!is_needed(left), "{left}");
        }
    }
}

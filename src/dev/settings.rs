//! The settings of `dev`: those of the environment, and for the rest what suits one machine.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Stores;
use crate::config::{DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_MINT_KEYS, DEV_SECRETS_KEY, environment};

const PUBLIC_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9090;

/// Where the two listeners go.
pub(super) struct Addresses {
    public: SocketAddr,
    admin: SocketAddr,
}

impl Addresses {
    /// Takes the usual ports of loopback, or free ones where somebody has those already.
    pub(super) fn choose() -> Self {
        Self { public: free_port(PUBLIC_PORT), admin: free_port(ADMIN_PORT) }
    }
}

fn free_port(wanted: u16) -> SocketAddr {
    let bind = |port| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr())
    };
    bind(wanted).or_else(|_| bind(0)).unwrap_or_else(|_| (Ipv4Addr::LOCALHOST, wanted).into())
}

/// What `dev` adds to the environment.
pub(super) struct DevSettings {
    pub(super) data_dir: PathBuf,
    pub(super) stores: Option<Stores>,
    pub(super) addresses: Addresses,
}

impl DevSettings {
    /// Returns a setting: the environment's word first.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        environment(name).or_else(|| self.of_one_machine(name))
    }

    fn of_one_machine(&self, name: &str) -> Option<String> {
        let path = |file: &str| Some(self.data_dir.join(file).to_string_lossy().into_owned());
        let stores = self.stores.as_ref();
        match name {
            "TRIBUTARY_BIND" => Some(self.addresses.public.to_string()),
            "TRIBUTARY_ADMIN_BIND" => Some(self.addresses.admin.to_string()),
            "TRIBUTARY_PUBLIC_URL" => Some(self.public_url()),
            "DATABASE_URL" => stores.map(|s| s.service_url.clone()),
            "TRIBUTARY_MIGRATE_DATABASE_URL" => stores.map(|s| s.owner_url.clone()),
            "REDIS_URL" => stores.map(|s| s.redis_url.clone()),
            "TRIBUTARY_SPOOL_DIR" => path("spool"),
            "TRIBUTARY_SNAPSHOT_PATH" => path("snapshot.json"),
            "RUST_LOG" => Some("warn".to_owned()),
            _ => example_setting(name).filter(|_| name.ends_with("_KEYS") || is_fixed(name)),
        }
    }
}

/// What a command such as `tributary demo` needs to work on this service.
const FOR_COMMANDS: [&str; 14] = [
    "TRIBUTARY_ENV",
    "TRIBUTARY_BIND",
    "TRIBUTARY_ADMIN_BIND",
    "TRIBUTARY_PUBLIC_URL",
    "DATABASE_URL",
    "TRIBUTARY_MIGRATE_DATABASE_URL",
    "REDIS_URL",
    "TRIBUTARY_SPOOL_DIR",
    "TRIBUTARY_SNAPSHOT_PATH",
    "TRIBUTARY_LINK_KEYS",
    "TRIBUTARY_CLICK_KEYS",
    "TRIBUTARY_MINT_KEYS",
    "TRIBUTARY_SECRETS_KEY",
    "RUST_LOG",
];

impl DevSettings {
    /// Writes the settings of this service to `service.env`, for commands in another terminal. A
    /// file of its own: whoever starts `dev` with these would ask it to start nothing.
    pub(super) fn write_for_commands(&self) -> anyhow::Result<()> {
        let path = self.data_dir.join("service.env");
        let lines: String = FOR_COMMANDS
            .iter()
            .filter_map(|name| Some(format!("export {name}='{}'\n", self.lookup(name)?)))
            .collect();
        write_private(&path, &lines)
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// Writes a file that only its owner can read.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

impl DevSettings {
    /// Returns where this machine's browser finds the service, wherever it was told to bind.
    fn public_url(&self) -> String {
        let told = environment("TRIBUTARY_BIND").and_then(|text| text.parse::<SocketAddr>().ok());
        let mut address = told.unwrap_or(self.addresses.public);
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }
}

fn is_fixed(name: &str) -> bool {
    matches!(name, "TRIBUTARY_ENV" | "TRIBUTARY_SECRETS_KEY")
}

/// Returns settings with which a configuration can be read where nothing will be started.
pub fn example_setting(name: &str) -> Option<String> {
    let value = match name {
        "TRIBUTARY_ENV" => "dev",
        "TRIBUTARY_LINK_KEYS" => DEV_LINK_KEYS,
        "TRIBUTARY_CLICK_KEYS" => DEV_CLICK_KEYS,
        "TRIBUTARY_MINT_KEYS" => DEV_MINT_KEYS,
        "TRIBUTARY_SECRETS_KEY" => DEV_SECRETS_KEY,
        "DATABASE_URL" => "postgres://localhost/tributary",
        "REDIS_URL" => "redis://localhost",
        _ => return None,
    };
    Some(value.to_owned())
}

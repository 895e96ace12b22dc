//! Every setting of the service, read once, all mistakes reported together.
//!
//! [`SETTINGS`] is the one table: it gives the defaults, and `.env.example`, the table of the
//! README and `tributary config check` are printed from it. [`Config`] holds the same settings as
//! values that are already checked. Secrets are never printed: not by `Debug`, not by an error.

mod choices;
mod network;
mod parse;
mod settings;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::signing::{Key, KeyRing};
pub use choices::{
    ClickRetention, Env, GpcMode, LogFormat, Redis, Role, Roles, SubIdPii, UnsafeRedis,
};
pub use network::{BadNetwork, Network};
use parse::Reader;
pub use settings::{
    DEV_CLICK_KEYS, DEV_LINK_KEYS, DEV_MINT_KEYS, DEV_SECRETS_KEY, SETTINGS, Setting, Unset,
    describe, env_example, markdown_table,
};

/// The settings of one process, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Production, or a developer's machine where the well-known keys are allowed.
    pub env: Env,
    /// Where the public listener binds.
    pub bind: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub admin_bind: SocketAddr,
    /// What links and receipts start with; no query, no fragment.
    pub public_url: Url,
    /// The parts of the service that run in this process.
    pub roles: Roles,
    /// The service role's PostgreSQL.
    pub database_url: SecretString,
    /// The owner role's PostgreSQL, for migrations only.
    pub migrate_database_url: Option<SecretString>,
    /// Connections to PostgreSQL, at most.
    pub db_pool: u32,
    /// Redis, one or a cluster.
    pub redis: Redis,
    /// How long any command to Redis may take.
    pub redis_timeout: Duration,
    /// Replicas that must have an event before it is durable in Redis.
    pub redis_replicas: u8,
    /// How long a redirect waits for Redis before the spool takes the click.
    pub redirect_append_timeout: Duration,
    /// Number of streams the events are spread over.
    pub stream_shards: u16,
    /// First part of every Redis key; tests give each application its own.
    pub stream_prefix: String,
    /// How long settled entries stay in the stream.
    pub stream_retain: Duration,
    /// How long raw clicks are kept.
    pub click_retention: ClickRetention,
    /// Folder of the spool.
    pub spool_dir: PathBuf,
    /// Size of the spool, at most.
    pub spool_max_bytes: u64,
    /// Copy on disk of what the redirect needs, for a start without PostgreSQL.
    pub snapshot_path: PathBuf,
    /// How often that copy is refreshed.
    pub snapshot_refresh: Duration,
    /// Sign link tokens.
    pub link_keys: KeyRing,
    /// Sign click ids.
    pub click_keys: KeyRing,
    /// Derive partners' minting keys; without them no partner mints links offline.
    pub mint_keys: Option<KeyRing>,
    /// Encrypts the secrets of sources at rest.
    pub secrets_key: Key,
    /// Where a visitor with a bad link goes; without it, to the built-in help page.
    pub fallback_url: Option<Url>,
    /// How far a webhook's timestamp may be from now, either way.
    pub webhook_tolerance: Duration,
    /// Body of a webhook, at most.
    pub webhook_max_bytes: usize,
    /// Proxies whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Requests that may wait for their verdict at one time.
    pub wait_max: usize,
    /// Requests that a source without a rate of its own may send in a second.
    pub source_rate: u32,
    /// How long a message waits for its conversion, in hours.
    pub waiting_room_hours: u64,
    /// Messages of one program that may wait for their conversion.
    pub waiting_room_max: i64,
    /// Ranges that webhook endpoints may lie in though they are not public.
    pub outbound_allow: Vec<Network>,
    /// Mail server of the daily digest.
    pub smtp_url: Option<SecretString>,
    /// Sender of the daily digest.
    pub mail_from: Option<lettre::message::Mailbox>,
    /// What `Sec-GPC: 1` changes.
    pub gpc_mode: GpcMode,
    /// What happens to sub-ids that look like an e-mail address.
    pub subid_pii: SubIdPii,
    /// Events settled in one transaction, at most.
    pub settle_batch_max: usize,
    /// Threads that serve HTTP.
    pub workers: usize,
    /// Wait between "not ready" and closing the listeners.
    pub shutdown_delay: Duration,
    /// Time for requests under way to end.
    pub shutdown_timeout: Duration,
    /// Form of a log line.
    pub log_format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub log_filter: String,
    /// Whether a Redis that can lose events is accepted.
    pub unsafe_redis: UnsafeRedis,
    /// Names this process among its like: owner of leases and stream consumer.
    pub instance_id: String,
}

/// A mistake in the settings. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting without default is not set.
    #[error("{name} is not set; expected {allowed}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What may stand there.
        allowed: &'static str,
    },
    /// A value cannot be used.
    #[error("{name}={found}: {problem}; expected {allowed}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What was read; `***` for a secret.
        found: String,
        /// What is wrong with it.
        problem: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// The file of a `NAME_FILE` cannot be read.
    #[error("{name}_FILE={path}: the file cannot be read")]
    UnreadableFile {
        /// The variable, without `_FILE`.
        name: &'static str,
        /// The path that was tried.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Both `NAME` and `NAME_FILE` are set: which one is meant?
    #[error("{name} and {name}_FILE are both set; keep one of them")]
    Twice {
        /// The variable, without `_FILE`.
        name: &'static str,
    },
    /// Two settings, each fine alone, contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

impl Config {
    /// Reads the settings from the process environment.
    pub fn from_env() -> Result<Self, Vec<ConfigError>> {
        Self::from(environment)
    }

    /// Reads the settings through `lookup`; an empty value counts as not set. Secrets may also
    /// come from a file named by `NAME_FILE`.
    ///
    /// # Errors
    /// All mistakes, never only the first.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let mut r = Reader::new(&lookup);
        let redis = r.read_redis();
        let config = Self {
            env: r.read("TRIBUTARY_ENV", str::parse),
            bind: r.read("TRIBUTARY_BIND", parse::address),
            admin_bind: r.read("TRIBUTARY_ADMIN_BIND", parse::address),
            public_url: r.read("TRIBUTARY_PUBLIC_URL", parse::base_url),
            roles: r.read("TRIBUTARY_ROLES", str::parse),
            database_url: r.read("DATABASE_URL", parse::postgres_url),
            migrate_database_url: r
                .read_optional("TRIBUTARY_MIGRATE_DATABASE_URL", parse::postgres_url),
            db_pool: r.read("TRIBUTARY_DB_POOL", parse::number(1..=1000)),
            redis_timeout: r.read("TRIBUTARY_REDIS_TIMEOUT_MS", parse::millis(1..=60_000)),
            redis_replicas: r.read("TRIBUTARY_REDIS_REPLICAS", parse::number(0..=5)),
            redirect_append_timeout: r
                .read("TRIBUTARY_REDIRECT_APPEND_TIMEOUT_MS", parse::millis(1..=1000)),
            stream_shards: r
                .read_optional("TRIBUTARY_STREAM_SHARDS", parse::number(1..=1024))
                .unwrap_or_else(|| redis.usual_shards()),
            redis,
            stream_prefix: r.read("TRIBUTARY_STREAM_PREFIX", parse::key_prefix),
            stream_retain: r.read("TRIBUTARY_STREAM_RETAIN_HOURS", parse::hours(0..=8760)),
            click_retention: r.read("TRIBUTARY_CLICK_RETENTION_DAYS", str::parse),
            spool_dir: r.read("TRIBUTARY_SPOOL_DIR", parse::path),
            spool_max_bytes: r
                .read("TRIBUTARY_SPOOL_MAX_BYTES", parse::number(1_048_576..=1_099_511_627_776)),
            snapshot_path: r.read("TRIBUTARY_SNAPSHOT_PATH", parse::path),
            snapshot_refresh: r.read("TRIBUTARY_SNAPSHOT_REFRESH_MS", parse::millis(100..=600_000)),
            link_keys: r.read("TRIBUTARY_LINK_KEYS", KeyRing::parse),
            click_keys: r.read("TRIBUTARY_CLICK_KEYS", KeyRing::parse),
            mint_keys: r.read_optional("TRIBUTARY_MINT_KEYS", KeyRing::parse),
            secrets_key: r.read("TRIBUTARY_SECRETS_KEY", parse::key),
            fallback_url: r.read_optional("TRIBUTARY_FALLBACK_URL", parse::web_url),
            webhook_tolerance: r.read("TRIBUTARY_WEBHOOK_TOLERANCE_S", parse::seconds(1..=3600)),
            webhook_max_bytes: r
                .read("TRIBUTARY_WEBHOOK_MAX_BYTES", parse::number(1024..=1_048_576)),
            wait_max: r.read("TRIBUTARY_WAIT_MAX", parse::number(0..=100_000)),
            source_rate: r.read("TRIBUTARY_SOURCE_RATE", parse::number(1..=1_000_000)),
            waiting_room_hours: r.read("TRIBUTARY_WAITING_ROOM_H", parse::number(1..=8760)),
            waiting_room_max: r.read("TRIBUTARY_WAITING_ROOM_MAX", parse::number(0..=100_000_000)),
            trusted_proxies: r
                .read_optional("TRIBUTARY_TRUSTED_PROXIES", parse::networks)
                .unwrap_or_default(),
            outbound_allow: r
                .read_optional("TRIBUTARY_OUTBOUND_ALLOW_CIDRS", parse::networks)
                .unwrap_or_default(),
            smtp_url: r.read_optional("TRIBUTARY_SMTP_URL", parse::smtp_url),
            mail_from: r.read_optional("TRIBUTARY_MAIL_FROM", str::parse),
            gpc_mode: r.read("TRIBUTARY_GPC_MODE", str::parse),
            subid_pii: r.read("TRIBUTARY_SUBID_PII", str::parse),
            settle_batch_max: r.read("TRIBUTARY_SETTLE_BATCH_MAX", parse::number(1..=10_000)),
            workers: r
                .read_optional("TRIBUTARY_WORKERS", parse::number(1..=1024))
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into)),
            shutdown_delay: r.read("TRIBUTARY_SHUTDOWN_DELAY_S", parse::seconds(0..=300)),
            shutdown_timeout: r.read("TRIBUTARY_SHUTDOWN_TIMEOUT_S", parse::seconds(1..=600)),
            log_format: r.read("TRIBUTARY_LOG_FORMAT", str::parse),
            log_filter: r.read("RUST_LOG", parse::log_filter),
            unsafe_redis: r
                .read_optional("TRIBUTARY_ALLOW_UNSAFE_REDIS", str::parse)
                .unwrap_or(UnsafeRedis::Refuse),
            instance_id: r
                .read_optional("TRIBUTARY_INSTANCE_ID", parse::instance_id)
                .unwrap_or_else(random_instance_id),
        };
        let mut errors = r.into_errors();
        if errors.is_empty() {
            config.contradictions(&mut errors);
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Adds what is wrong between settings that are fine one by one.
    fn contradictions(&self, errors: &mut Vec<ConfigError>) {
        let mut refuse = |wrong: bool, why: &str| {
            if wrong {
                errors.push(ConfigError::Contradiction(why.to_owned()));
            }
        };
        refuse(
            self.redirect_append_timeout >= self.redis_timeout,
            "TRIBUTARY_REDIRECT_APPEND_TIMEOUT_MS must be less than TRIBUTARY_REDIS_TIMEOUT_MS: \
             a redirect gives up on Redis first",
        );
        refuse(
            self.smtp_url.is_some() != self.mail_from.is_some(),
            "TRIBUTARY_SMTP_URL and TRIBUTARY_MAIL_FROM belong together: set both or none",
        );
        refuse(
            self.bind == self.admin_bind && self.bind.port() != 0,
            "TRIBUTARY_BIND and TRIBUTARY_ADMIN_BIND must differ: the admin listener is not public",
        );
        refuse(
            self.link_keys.newest().1 == self.click_keys.newest().1,
            "TRIBUTARY_LINK_KEYS and TRIBUTARY_CLICK_KEYS must not share a key: \
             each purpose has its own",
        );
        if self.env == Env::Dev {
            return;
        }
        for name in settings::dev_keys_in_use(self) {
            refuse(
                true,
                &format!(
                    "{name} holds the well-known development key; make one with \
                     `openssl rand -base64 32`, or set TRIBUTARY_ENV=dev on a developer's machine"
                ),
            );
        }
        refuse(
            self.public_url.scheme() != "https" && !parse::is_loopback(&self.public_url),
            "TRIBUTARY_PUBLIC_URL must be https in production, except on localhost",
        );
    }
}

/// Looks a variable up in the process environment: the only place that does. A value that is not
/// Unicode comes back with its bad bytes replaced, so that it is refused rather than ignored.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The last twelve digits of a UUIDv7 are random; its front is the time and would only look so.
fn random_instance_id() -> String {
    format!("i-{}", &uuid::Uuid::now_v7().simple().to_string()[20..])
}

//! The table of settings, and the three texts printed from it.

use std::fmt::Write as _;

use super::Config;
use super::parse::{Found, find};
use crate::signing::KeyRing;

/// Link keys for a developer's machine; everybody knows them.
pub const DEV_LINK_KEYS: &str = "0:dHJpYnV0YXJ5IGRldiBsaW5rIGtleSwgbm90IHNlY3I=";
/// Click keys for a developer's machine; everybody knows them.
pub const DEV_CLICK_KEYS: &str = "0:dHJpYnV0YXJ5IGRldiBjbGljayBrZXksIG5vdCBzZWM=";
/// Minting keys for a developer's machine; everybody knows them.
pub const DEV_MINT_KEYS: &str = "0:dHJpYnV0YXJ5IGRldiBtaW50IGtleSwgbm90IHNlY3I=";
/// Key of stored secrets for a developer's machine; everybody knows it.
pub const DEV_SECRETS_KEY: &str = "dHJpYnV0YXJ5IGRldiBzZWNyZXRzIGtleSwgbm90IHM=";

/// One setting: a variable of the environment.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What holds when it is not set.
    pub unset: Unset,
    /// Unit of the number, or empty.
    pub unit: &'static str,
    /// What may stand there.
    pub allowed: &'static str,
    /// What it is for, one sentence.
    pub doc: &'static str,
    /// Never printed; may come from a file named by `NAME_FILE`.
    pub secret: bool,
}

/// What holds when a setting is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// This value.
    Default(&'static str),
    /// The service does not start; the value is an example for a developer's machine.
    Required(&'static str),
    /// The setting's doc line says what then.
    Optional,
}

use Unset::{Default, Optional, Required};

const fn plain(
    name: &'static str,
    unset: Unset,
    unit: &'static str,
    allowed: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { name, unset, unit, allowed, doc, secret: false }
}

const fn secret(
    name: &'static str,
    unset: Unset,
    allowed: &'static str,
    doc: &'static str,
) -> Setting {
    Setting { name, unset, unit: "", allowed, doc, secret: true }
}

const KEY_RING: &str = "<kid 0-31>:<base64 of 32 bytes>, several separated by commas";

/// Every setting, in the order a reader wants to meet them.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    plain("TRIBUTARY_ENV", Default("production"), "", "production, dev", "dev allows the well-known keys of a developer's machine."),
    plain("TRIBUTARY_BIND", Default("0.0.0.0:8080"), "", "address:port", "Public listener: redirects, webhooks, API."),
    plain("TRIBUTARY_ADMIN_BIND", Default("127.0.0.1:9090"), "", "address:port", "Listener of /livez, /readyz and /metrics; keep it private."),
    plain("TRIBUTARY_PUBLIC_URL", Default("http://localhost:8080"), "", "http(s) URL without query and fragment", "What links start with; https in production."),
    plain("TRIBUTARY_ROLES", Default("redirect,ingest,settle,api,timers,deliver"), "", "redirect, ingest, settle, api, timers, deliver, separated by commas", "The parts of the service that run in this process."),
    secret("DATABASE_URL", Required("postgres://tributary@localhost/tributary"), "postgres:// URL", "PostgreSQL, as the service role that cannot change the ledger."),
    secret("TRIBUTARY_MIGRATE_DATABASE_URL", Optional, "postgres:// URL", "PostgreSQL, as the owner that migrates; needed by `tributary migrate` only."),
    plain("TRIBUTARY_DB_POOL", Default("16"), "connections", "1–1000", "Connections to PostgreSQL, at most."),
    secret("REDIS_URL", Required("redis://localhost:6379/0"), "redis://, rediss:// or redis+unix:// URL", "Redis, with appendonly yes, appendfsync always, noeviction; not set where REDIS_CLUSTER_URLS is."),
    secret("REDIS_CLUSTER_URLS", Optional, "redis:// or rediss:// URLs, separated by commas", "Some nodes of a Redis Cluster, instead of REDIS_URL; with the same settings on every node, and cluster-require-full-coverage no."),
    plain("TRIBUTARY_REDIS_TIMEOUT_MS", Default("500"), "ms", "1–60000", "How long any command to Redis may take."),
    plain("TRIBUTARY_REDIS_REPLICAS", Default("0"), "replicas", "0–5", "Replicas that must have an event before Redis counts as having it: a failover to one of them loses nothing. A Redis with fewer takes nothing."),
    plain("TRIBUTARY_REDIRECT_APPEND_TIMEOUT_MS", Default("20"), "ms", "1–1000", "How long a redirect waits for Redis before the spool takes the click."),
    plain("TRIBUTARY_STREAM_SHARDS", Optional, "streams", "1–1024", "Streams the events are spread over, the same for all processes; 1 on a single Redis and 64 on a cluster by default."),
    plain("TRIBUTARY_STREAM_PREFIX", Default("trb"), "", "1 to 32 of a-z A-Z 0-9 _ -", "First part of every Redis key; two services on one Redis need two."),
    plain("TRIBUTARY_STREAM_RETAIN_HOURS", Default("24"), "h", "0–8760", "How long settled entries stay in the stream."),
    plain("TRIBUTARY_CLICK_RETENTION_DAYS", Default("400"), "", "31 to 36500 days, or never", "After how many days raw clicks are dropped, a whole day at once; their sums stay. Not sooner than the longest attribution window of any program and 31 days."),
    plain("TRIBUTARY_SPOOL_DIR", Default("./data/spool"), "", "folder", "Where events wait while Redis is down; on a disk that survives a restart."),
    plain("TRIBUTARY_SPOOL_MAX_BYTES", Default("1073741824"), "bytes", "1048576–1099511627776", "Size of the spool, at most."),
    plain("TRIBUTARY_SNAPSHOT_PATH", Default("./data/snapshot.json"), "", "file", "Copy of programs and partners, for a start without PostgreSQL; mode 0600."),
    plain("TRIBUTARY_SNAPSHOT_REFRESH_MS", Default("2000"), "ms", "100–600000", "How often that copy is refreshed."),
    secret("TRIBUTARY_LINK_KEYS", Required(DEV_LINK_KEYS), KEY_RING, "Sign link tokens; the highest kid signs, all verify."),
    secret("TRIBUTARY_CLICK_KEYS", Required(DEV_CLICK_KEYS), KEY_RING, "Sign click ids; the highest kid signs, all verify."),
    secret("TRIBUTARY_MINT_KEYS", Optional, KEY_RING, "Derive partners' minting keys; without them partners mint no links of their own."),
    secret("TRIBUTARY_SECRETS_KEY", Required(DEV_SECRETS_KEY), "base64 of 32 bytes", "Encrypts the secrets of conversion sources and of webhook endpoints at rest."),
    plain("TRIBUTARY_FALLBACK_URL", Optional, "", "http(s) URL", "Where a visitor with a bad link goes; else the built-in help page."),
    plain("TRIBUTARY_WEBHOOK_TOLERANCE_S", Default("300"), "s", "1–3600", "How far a webhook's timestamp may be from now, either way."),
    plain("TRIBUTARY_WEBHOOK_MAX_BYTES", Default("65536"), "bytes", "1024–1048576", "Body of a webhook, at most."),
    plain("TRIBUTARY_WAIT_MAX", Default("256"), "requests", "0–100000", "Messages sent with ?wait=1 that may wait for their verdict at one time; above that they are answered at once."),
    plain("TRIBUTARY_SOURCE_RATE", Default("10000"), "requests/s", "1–1000000", "What one conversion source may send to this process where it has no rate of its own; above that it hears 429."),
    plain("TRIBUTARY_WAITING_ROOM_H", Default("48"), "h", "1–8760", "How long a message waits for its conversion; then it is a dead letter."),
    plain("TRIBUTARY_WAITING_ROOM_MAX", Default("1000000"), "messages", "0–100000000", "Messages of one program that may wait for their conversion; above that they are dead letters at once."),
    plain("TRIBUTARY_TRUSTED_PROXIES", Optional, "", "addresses or address/prefix, separated by commas", "Proxies whose Forwarded and X-Forwarded-For are believed; none by default."),
    plain("TRIBUTARY_OUTBOUND_ALLOW_CIDRS", Optional, "", "addresses or address/prefix, separated by commas", "Ranges that webhook endpoints may lie in though they are not public; plain http and other ports only there."),
    secret("TRIBUTARY_SMTP_URL", Optional, "smtp:// or smtps:// URL with user and password; smtp://…?tls=required for STARTTLS", "Mail server of the daily digest; without it no mail is sent."),
    plain("TRIBUTARY_MAIL_FROM", Optional, "", "mail address, as in `Tributary <tributary@shop.example>`", "Sender of the daily digest; required with TRIBUTARY_SMTP_URL."),
    plain("TRIBUTARY_GPC_MODE", Default("minimal"), "", "minimal, off", "minimal: a click with Sec-GPC: 1 carries no visitor tag; off: the header changes nothing."),
    plain("TRIBUTARY_SUBID_PII", Default("hash"), "", "hash, reject, keep", "What happens to sub-ids that look like an e-mail address."),
    plain("TRIBUTARY_SETTLE_BATCH_MAX", Default("2000"), "messages", "1–10000", "Messages settled in one transaction, at most, unless a single entry of the stream holds more; twenty clicks count as one."),
    plain("TRIBUTARY_WORKERS", Optional, "threads", "1–1024", "Threads that serve HTTP; one for each core by default."),
    plain("TRIBUTARY_SHUTDOWN_DELAY_S", Default("0"), "s", "0–300", "Wait between \"not ready\" and closing the listeners, for the load balancer to notice."),
    plain("TRIBUTARY_SHUTDOWN_TIMEOUT_S", Default("30"), "s", "1–600", "Time for requests under way to end."),
    plain("TRIBUTARY_LOG_FORMAT", Default("text"), "", "text, json", "Form of a log line."),
    plain("TRIBUTARY_ALLOW_UNSAFE_REDIS", Optional, "", "accept-loss", "Accepts a Redis that can lose events; refused by default."),
    plain("TRIBUTARY_INSTANCE_ID", Optional, "", "1 to 64 of a-z A-Z 0-9 _ . -", "Names this process among its like; random by default."),
    plain("RUST_LOG", Default("info"), "", "filter as in `info,tributary=debug`", "What is logged."),
];

/// Returns the setting of that name.
pub(super) fn setting(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|s| s.name == name).expect("every setting that is read is in the table")
}

/// Names the variables that hold a well-known key.
pub(super) fn dev_keys_in_use(config: &Config) -> impl Iterator<Item = &'static str> {
    let ring = |known: &str, used: Option<&KeyRing>| {
        let known = KeyRing::parse(known).expect("the development keys are well-formed");
        // Under any kid: renumbering a well-known key does not make it a secret.
        used.is_some_and(|used| {
            (0..32).filter_map(|kid| used.get(kid)).any(|key| key == known.newest().1)
        })
    };
    let secrets_key =
        super::parse::key(DEV_SECRETS_KEY).expect("the development key is well-formed");
    [
        ("TRIBUTARY_LINK_KEYS", ring(DEV_LINK_KEYS, Some(&config.link_keys))),
        ("TRIBUTARY_CLICK_KEYS", ring(DEV_CLICK_KEYS, Some(&config.click_keys))),
        ("TRIBUTARY_MINT_KEYS", ring(DEV_MINT_KEYS, config.mint_keys.as_ref())),
        ("TRIBUTARY_SECRETS_KEY", config.secrets_key == secrets_key),
    ]
    .into_iter()
    .filter_map(|(name, in_use)| in_use.then_some(name))
}

/// Returns the text of `.env.example`: it starts a service on a developer's machine as it stands.
pub fn env_example() -> String {
    let mut out = String::from(
        "# Every setting of Tributary, printed from src/config/settings.rs; a test compares them.\n\
         # Lines with a leading # show the default. A secret may also come from a file: NAME_FILE.\n\
         # The values below are for a developer's machine; the keys are refused in production.\n",
    );
    for s in SETTINGS {
        let unit = if s.unit.is_empty() { String::new() } else { format!(" {}", s.unit) };
        let line = match (s.name, s.unset) {
            ("TRIBUTARY_ENV", _) => "TRIBUTARY_ENV=dev".to_owned(),
            (name, Required(example)) => format!("{name}={example}"),
            (name, Default(value)) => format!("#{name}={value}"),
            (name, Optional) => format!("#{name}="),
        };
        write!(out, "\n# {} ({}{unit})\n{line}\n", s.doc, s.allowed)
            .expect("a String takes every write");
    }
    out
}

/// Returns the README's table of settings, in Markdown.
pub fn markdown_table() -> String {
    let mut out = String::from("| Variable | Default | Allowed | Meaning |\n|---|---|---|---|\n");
    for s in SETTINGS {
        let default = match s.unset {
            Default(value) => format!("`{value}`"),
            Required(_) => "required".to_owned(),
            Optional => "–".to_owned(),
        };
        let secret = if s.secret { " (secret)" } else { "" };
        let unit = if s.unit.is_empty() { String::new() } else { format!(" {}", s.unit) };
        writeln!(out, "| `{}`{secret} | {default} | {}{unit} | {} |", s.name, s.allowed, s.doc)
            .expect("a String takes every write");
    }
    out
}

/// Lists every setting with its value and where it comes from, secrets masked: the first part of
/// `tributary config check`. The second part is the errors of [`Config::from`].
pub fn describe(lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for s in SETTINGS {
        let (value, origin) = match find(s, &lookup) {
            Ok(Found::Value(_)) if s.secret => ("***".to_owned(), "set"),
            Ok(Found::Value(value)) => (value, "set"),
            Ok(Found::File(_)) => ("***".to_owned(), "from its file"),
            Ok(Found::Nothing) => match s.unset {
                Default(value) => (value.to_owned(), "default"),
                Required(_) => (String::new(), "missing"),
                Optional => (String::new(), "not set"),
            },
            Err(_) => (String::new(), "unusable"),
        };
        writeln!(out, "{}={value}  ({origin})", s.name).expect("a String takes every write");
    }
    out
}

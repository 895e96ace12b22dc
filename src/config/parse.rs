//! From the text of a variable to a checked value.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use url::{Host, Url};

use super::ConfigError;
use super::choices::Redis;
use super::network::{BadNetwork, Network};
use super::settings::{Setting, Unset, setting};
use crate::signing::Key;

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads setting by setting and keeps every mistake.
pub(super) struct Reader<'a> {
    lookup: Lookup<'a>,
    errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, errors: Vec::new() }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    /// Reads a setting that always has a value. After a mistake it goes on with the table's own
    /// value, so that the next mistake is found too; the result is then thrown away.
    pub(super) fn read<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        let s = setting(name);
        let (Unset::Default(fallback) | Unset::Required(fallback)) = s.unset else {
            unreachable!("{name} is optional in the table")
        };
        match self.parse(s, &parse) {
            Ok(Some(value)) => return value,
            Ok(None) if matches!(s.unset, Unset::Required(_)) => {
                self.errors.push(ConfigError::Missing { name, allowed: s.allowed });
            }
            Ok(None) => {}
            Err(error) => self.errors.push(error),
        }
        parse(fallback).ok().expect("the values of the table are valid; a test reads them all")
    }

    /// Reads a setting that may be absent.
    pub(super) fn read_optional<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.parse(setting(name), &parse).unwrap_or_else(|error| {
            self.errors.push(error);
            None
        })
    }

    /// Reads where Redis is: one server or a cluster, and exactly one of the two.
    pub(super) fn read_redis(&mut self) -> Redis {
        let n_errors = self.errors.len();
        let one = self.read_optional("REDIS_URL", redis_url);
        let cluster = self.read_optional("REDIS_CLUSTER_URLS", redis_cluster_urls);
        let is_clear = self.errors.len() == n_errors;
        match (one, cluster) {
            (None, Some(urls)) => return Redis::Cluster(urls),
            (Some(url), None) => return Redis::One(url),
            (Some(url), Some(_)) => {
                let why = "REDIS_URL and REDIS_CLUSTER_URLS are both set; keep REDIS_URL for one \
                           Redis, or REDIS_CLUSTER_URLS for a cluster";
                self.errors.push(ConfigError::Contradiction(why.to_owned()));
                return Redis::One(url);
            }
            (None, None) if is_clear => {
                let allowed = setting("REDIS_URL").allowed;
                self.errors.push(ConfigError::Missing { name: "REDIS_URL", allowed });
            }
            (None, None) => {}
        }
        Redis::Cluster(Vec::new())
    }

    fn parse<T, E: Display>(
        &self,
        s: &'static Setting,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let (Found::Value(text) | Found::File(text)) = find(s, self.lookup)? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(|problem| ConfigError::Invalid {
            name: s.name,
            found: if s.secret { "***".to_owned() } else { text.clone() },
            problem: problem.to_string(),
            allowed: s.allowed,
        })
    }
}

/// The text of a setting and where it stood.
pub(super) enum Found {
    Value(String),
    File(String),
    Nothing,
}

/// Finds the text of a setting: in its variable, or for a secret in the file of `NAME_FILE`.
/// An empty value counts as not set, as compose files and shells produce them.
pub(super) fn find(
    s: &Setting,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Found, ConfigError> {
    let non_empty = |name: &str| {
        lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let value = non_empty(s.name);
    let path = if s.secret { non_empty(&format!("{}_FILE", s.name)) } else { None };
    match (value, path) {
        (Some(_), Some(_)) => Err(ConfigError::Twice { name: s.name }),
        (Some(value), None) => Ok(Found::Value(value)),
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Found::File(text.trim().to_owned())),
            Err(source) => Err(ConfigError::UnreadableFile { name: s.name, path, source }),
        },
        (None, None) => Ok(Found::Nothing),
    }
}

/// Returns a parser of whole numbers within `range`.
pub(super) fn number<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let n: u64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
        T::try_from(n)
            .ok()
            .filter(|_| range.contains(&n))
            .ok_or_else(|| format!("must be {} to {}", range.start(), range.end()))
    }
}

/// Returns a parser of durations in milliseconds.
pub(super) fn millis(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| number(range.clone())(text).map(Duration::from_millis)
}

/// Returns a parser of durations in seconds.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| number(range.clone())(text).map(Duration::from_secs)
}

/// Returns a parser of durations in hours.
pub(super) fn hours(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| number::<u64>(range.clone())(text).map(|h| Duration::from_secs(h * 3600))
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an IP address with a port")
}

pub(super) fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| e.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("the scheme is {other}")),
    }
}

pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("it has a query, a fragment or a user".to_owned());
    }
    Ok(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

pub(super) fn postgres_url(text: &str) -> Result<SecretString, &'static str> {
    secret_url(text, &["postgres://", "postgresql://"])
}

pub(super) fn redis_url(text: &str) -> Result<SecretString, &'static str> {
    secret_url(text, &["redis://", "rediss://", "redis+unix://", "unix://"])
}

pub(super) fn redis_cluster_urls(text: &str) -> Result<Vec<SecretString>, &'static str> {
    let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
    let urls: Vec<_> =
        urls.map(|url| secret_url(url, &["redis://", "rediss://"])).collect::<Result<_, _>>()?;
    if urls.is_empty() { Err("it names no node") } else { Ok(urls) }
}

pub(super) fn smtp_url(text: &str) -> Result<SecretString, &'static str> {
    let is_url = Url::parse(text).is_ok_and(|url| url.has_host());
    if is_url { secret_url(text, &["smtp://", "smtps://"]) } else { Err("not a URL with a host") }
}

fn secret_url(text: &str, schemes: &[&str]) -> Result<SecretString, &'static str> {
    if schemes.iter().any(|scheme| text.starts_with(scheme)) {
        Ok(SecretString::from(text))
    } else {
        Err("the scheme is another")
    }
}

pub(super) fn key(text: &str) -> Result<Key, &'static str> {
    let bytes = STANDARD.decode(text).map_err(|_| "not base64 with padding")?;
    bytes.try_into().map(Key::new).map_err(|_| "not 32 bytes")
}

pub(super) fn path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

pub(super) fn key_prefix(text: &str) -> Result<String, &'static str> {
    let fits = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c));
    if fits && text.len() <= 32 {
        Ok(text.to_owned())
    } else {
        Err("too long, or other characters")
    }
}

pub(super) fn instance_id(text: &str) -> Result<String, &'static str> {
    let fits = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c));
    if fits && text.len() <= 64 {
        Ok(text.to_owned())
    } else {
        Err("too long, or other characters")
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    tracing_subscriber::EnvFilter::builder().parse(text).map(|_| text.to_owned())
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>, BadNetwork> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse).collect()
}

//! Settings that are a word out of a few.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use secrecy::SecretString;

/// A part of the service that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Answers `/r/{token}`.
    Redirect,
    /// Takes conversions in.
    Ingest,
    /// Carries the stream into PostgreSQL.
    Settle,
    /// Serves the management API and the reports.
    Api,
    /// Runs what time triggers; once in a deployment.
    Timers,
    /// Sends notices to endpoints, and the daily mail.
    Deliver,
}

/// The roles of this process; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Tells whether `role` runs here.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Returns the roles that run here.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let roles = parts.map(str::parse).collect::<Result<BTreeSet<_>, _>>()?;
        if roles.is_empty() { Err("no role is left".to_owned()) } else { Ok(Self(roles)) }
    }
}

/// Where the event log is.
#[derive(Debug, Clone)]
pub enum Redis {
    /// On one server.
    One(SecretString),
    /// On the cluster of these nodes; the others are found through them.
    Cluster(Vec<SecretString>),
}

impl Redis {
    /// Streams that the events are spread over where nothing is set. A cluster spreads the load by
    /// them, and keeps a fair share of them when it grows.
    pub(super) fn usual_shards(&self) -> u16 {
        match self {
            Self::One(_) => 1,
            Self::Cluster(_) => 64,
        }
    }
}

/// Where the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Env {
    /// For real: well-known keys are refused.
    Production,
    /// On a developer's machine.
    Dev,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What `Sec-GPC: 1` (Global Privacy Control) changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpcMode {
    /// The click carries no visitor tag; its id still passes, it pays for the referral.
    Minimal,
    /// Nothing.
    Off,
}

/// What happens to sub-ids that look like an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubIdPii {
    /// A hash takes their place.
    Hash,
    /// They are dropped.
    Reject,
    /// They are stored as they are.
    Keep,
}

/// How long raw clicks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickRetention {
    /// So many days, and the one that is not over.
    Days(u32),
    /// For ever.
    Forever,
}

/// Whether a Redis that can lose events is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsafeRedis {
    /// The service does not start on it.
    Refuse,
    /// Starts with a warning; accepted events may be lost.
    AcceptLoss,
}

/// Lets each of these be read and written by its word.
macro_rules! words {
    ($($type:ident { $($word:literal => $variant:ident),+ })+) => {$(
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("{other:?} is not one of them")),
                }
            }
        }

        impl $type {
            /// Returns the word used in settings, logs and answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}

words! {
    Role { "redirect" => Redirect, "ingest" => Ingest, "settle" => Settle, "api" => Api, "timers" => Timers, "deliver" => Deliver }
    Env { "production" => Production, "dev" => Dev }
    LogFormat { "text" => Text, "json" => Json }
    GpcMode { "minimal" => Minimal, "off" => Off }
    SubIdPii { "hash" => Hash, "reject" => Reject, "keep" => Keep }
}

impl FromStr for ClickRetention {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match (text, text.parse()) {
            ("never", _) => Ok(Self::Forever),
            (_, Ok(days @ 31..=36_500)) => Ok(Self::Days(days)),
            _ => Err("neither a number of days in that range nor never"),
        }
    }
}

impl FromStr for UnsafeRedis {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "accept-loss" => Ok(Self::AcceptLoss),
            _ => Err("there is only one way to say this"),
        }
    }
}

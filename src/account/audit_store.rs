//! SQL of the audit log: who did what; append-only.

use std::fmt::Display;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::account::Caller;
use crate::clock::Timestamp;
use crate::ids::ProgramId;

/// One line of the audit log.
#[derive(Clone, Debug)]
pub struct Entry {
    actor: String,
    action: &'static str,
    object: String,
    program_id: Option<ProgramId>,
    details: Value,
    request_id: Option<String>,
}

impl Entry {
    /// Returns a line about what a caller did to an object; `action` is `noun.verb`.
    pub fn by(caller: &Caller, action: &'static str, object: impl Display) -> Self {
        Self {
            actor: caller.actor(),
            action,
            object: object.to_string(),
            program_id: None,
            details: Value::Object(serde_json::Map::new()),
            request_id: None,
        }
    }

    /// Returns a line about what the service did by itself, such as a timer.
    pub fn by_system(action: &'static str, object: impl Display) -> Self {
        Self {
            actor: "system".to_owned(),
            action,
            object: object.to_string(),
            program_id: None,
            details: Value::Object(serde_json::Map::new()),
            request_id: None,
        }
    }

    /// Adds the program that the object belongs to.
    pub fn program(mut self, program_id: ProgramId) -> Self {
        self.program_id = Some(program_id);
        self
    }

    /// Adds what changed; never a secret.
    pub fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Adds the request, so that a line of the log can be found.
    pub fn request(mut self, request_id: &str) -> Self {
        self.request_id = Some(request_id.to_owned());
        self
    }
}

/// Writes a line, in the transaction of what it tells of.
pub async fn record(
    db: &mut PgConnection,
    entry: Entry,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_log
             (audit_id, at, actor, action, object, program_id, details, request_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        Uuid::now_v7(),
        now,
        entry.actor,
        entry.action,
        entry.object,
        entry.program_id.map(|p| p.0),
        entry.details,
        entry.request_id,
    )
    .execute(db)
    .await
    .map(drop)
}

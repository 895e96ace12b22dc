//! Sends what is due: claims deliveries, posts them, writes down how they ended.
//!
//! A delivery is held by a lease while it is posted, so two instances do not send it at the same
//! time; one that dies lets its lease run out and another sends it again. The number of the
//! attempt stands guard: whoever lost the row writes nothing.

use std::pin::pin;

use chrono::TimeDelta;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::Rng as _;
use serde_json::json;

use crate::clock::{Clock, Timestamp};
use crate::conversion::signature::WebhookSecret;
use crate::db::Db;
use crate::ids::NoticeId;
use crate::metrics as metric;
use crate::outbound::retry::{self, Answer, JITTER_PERMILLE_MAX};
use crate::outbound::sender::Sender;
use crate::outbound::store::{self, Bounds, Due};
use crate::outbound::{ENDPOINT_DISABLED, Notice, sign};
use crate::sealing::Sealer;

/// Messages under way at once in this process: each waits for a stranger, hardly any computes.
const IN_FLIGHT_MAX: usize = 16;
/// Of these to one endpoint, counted over all instances.
const PER_ENDPOINT_MAX: i64 = 4;
/// Four times what an attempt may take.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Notices turned into deliveries by one statement.
const DISPATCH_MAX: i64 = 200;
/// While slow receivers are waited for, others become due.
const REFILL_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Sends notices to endpoints.
#[derive(Debug)]
pub struct Deliverer {
    /// PostgreSQL.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Opens endpoints' secrets.
    pub sealer: Sealer,
    /// Posts.
    pub sender: Sender,
}

impl Deliverer {
    /// Sends until nothing is due or `is_stopping` says so; returns the number of attempts.
    ///
    /// What is under way is always waited for: a message that was taken and not written down is
    /// sent again.
    pub async fn deliver_due(&self, is_stopping: impl Fn() -> bool) -> Result<usize, sqlx::Error> {
        let mut under_way = FuturesUnordered::new();
        let mut n_attempts = 0;
        let mut trouble = None;
        loop {
            if trouble.is_none() && !is_stopping() {
                let mut claim = pin!(self.claim(IN_FLIGHT_MAX - under_way.len()));
                // What is under way goes on meanwhile: it may hold the connections that the claim
                // waits for.
                let claimed = loop {
                    tokio::select! {
                        claimed = &mut claim => break claimed,
                        Some(done) = under_way.next() => match done {
                            Ok(()) => n_attempts += 1,
                            Err(error) => trouble = Some(error),
                        },
                    }
                };
                match claimed {
                    Ok(due) => under_way.extend(due.into_iter().map(|due| self.attempt(due))),
                    Err(error) => trouble = Some(error),
                }
            }
            if under_way.is_empty() {
                return trouble.map_or(Ok(n_attempts), Err);
            }
            match tokio::time::timeout(REFILL_PAUSE, under_way.next()).await {
                Ok(Some(Ok(()))) => n_attempts += 1,
                Ok(Some(Err(error))) => trouble = Some(error),
                Ok(None) | Err(_) => {}
            }
        }
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Due>, sqlx::Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let mut db = self.db.acquire().await?;
        // What is left over is dispatched by the next claim.
        store::dispatch(&mut db, now, DISPATCH_MAX).await?;
        let bounds =
            Bounds { limit: i64::try_from(limit).unwrap_or(1), per_endpoint: PER_ENDPOINT_MAX };
        store::claim(&mut db, now, now + LEASE, bounds).await
    }

    async fn attempt(&self, due: Due) -> Result<(), sqlx::Error> {
        let answer = self.post(&due).await?;
        let result = match &answer {
            Answer::Taken { .. } => "delivered",
            Answer::Gone | Answer::Failed { .. } => "failed",
        };
        metrics::counter!(metric::DELIVERIES, "channel" => "webhook", "result" => result)
            .increment(1);
        self.record(&due, answer, self.clock.now()).await
    }

    async fn post(&self, due: &Due) -> Result<Answer, sqlx::Error> {
        let now = self.clock.now();
        let secrets = self.secrets(due, now).await?;
        if secrets.is_empty() {
            // Another TRIBUTARY_SECRETS_KEY, most likely; unsigned is never sent.
            let error = "no secret can be opened; make a new one".to_owned();
            return Ok(Answer::Failed { status: None, error, retry_after: None });
        }
        let body = sign::body(&due.kind, due.decided_at, &due.payload);
        let message = sign::message(due.notice_id, now, body, &secrets);
        Ok(self.sender.post(&due.url, message, now).await)
    }

    async fn secrets(&self, due: &Due, now: Timestamp) -> Result<Vec<WebhookSecret>, sqlx::Error> {
        let mut db = self.db.acquire().await?;
        let sealed = store::live_secrets(&mut db, due.program_id, due.endpoint_id, now).await?;
        let open = |sealed: Vec<u8>| {
            let bytes = self.sealer.open(due.endpoint_id.0.as_bytes(), &sealed).ok()?;
            WebhookSecret::from_bytes(&bytes).ok()
        };
        Ok(sealed.into_iter().filter_map(open).collect())
    }

    async fn record(&self, due: &Due, answer: Answer, now: Timestamp) -> Result<(), sqlx::Error> {
        let mut db = self.db.begin().await?;
        match answer {
            Answer::Taken { status } => store::mark_delivered(&mut db, due, status, now).await?,
            Answer::Gone => {
                store::note_failure(&mut db, due, now).await?;
                store::mark_failed(&mut db, due, (Some(410), "answered 410"), None).await?;
                self.disable(&mut db, due, "answered 410", now).await?;
            }
            Answer::Failed { status, error, retry_after } => {
                let since = store::note_failure(&mut db, due, now).await?;
                let jitter = rand::rng().random_range(0..=JITTER_PERMILLE_MAX);
                let next = retry::next_attempt(due.attempts, now, jitter, retry_after);
                store::mark_failed(&mut db, due, (status, &error), next).await?;
                if since.is_some_and(|since| retry::is_given_up(since, now)) {
                    self.disable(&mut db, due, "failed for 120 hours", now).await?;
                }
            }
        }
        db.commit().await
    }

    /// Disables an endpoint and tells the others of the program, once.
    async fn disable(
        &self,
        db: &mut sqlx::PgConnection,
        due: &Due,
        why: &str,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let endpoint = (due.program_id, due.endpoint_id);
        if !store::set_status(&mut *db, endpoint, "disabled", now).await? {
            return Ok(());
        }
        let id = due.endpoint_id;
        tracing::warn!(endpoint.id = %id, "endpoint {id} is disabled: {why}");
        let notice = Notice {
            program_id: due.program_id,
            notice_id: NoticeId::new(),
            kind: ENDPOINT_DISABLED.to_owned(),
            subject: id.to_string(),
            payload: json!({"endpoint_id": id, "url": due.url, "reason": why}),
            created_at: now,
        };
        store::insert_notice(db, &notice).await
    }
}

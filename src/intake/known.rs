//! Whether messages are known already: the questions of many requests, asked at once.
//!
//! A retry has to hear "duplicate", so every message is looked up before it is taken in. One
//! round trip to PostgreSQL for each would cost more than all the rest of a webhook. So requests
//! put their questions in a queue; the first who finds nobody asking asks for all that are there,
//! again and again until no more come. Under load one query answers many, on an idle service it
//! answers one without waiting.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::db::Db;
use crate::ids::{ConversionId, ProgramId, ReceiptId, SourceId};
use crate::intake::store::{self, Settled};

/// How long an answer waits for PostgreSQL; settlement finds a duplicate in any case.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(50);
/// Questions in one query, at most. While those of one are made durable the next are asked for; were
/// all of a turn asked at once, PostgreSQL, we and the disk of Redis would wait for one another.
const AT_ONCE_MAX: usize = 64;
/// How long who asks waits for more questions. A connection that is handed back is tried out, and
/// again when it is taken: three round trips more for each query.
const LINGERING: Duration = Duration::from_millis(20);
/// Questions that wait, at most; above that a message is taken in and settlement finds out.
const WAITING_MAX: usize = 4_096;

/// What names a message and, if it reports a new one, its conversion.
#[derive(Clone, Debug)]
pub struct Question {
    /// The program of the source.
    pub program_id: ProgramId,
    /// The source.
    pub source_id: SourceId,
    /// The sender's id of the message.
    pub message_id: String,
    /// SHA-256 of its bytes.
    pub body_hash: [u8; 32],
    /// The conversion that it would make; none for a message about one that is there.
    pub makes: Option<Makes>,
}

/// What names a conversion for ever, and what it says.
#[derive(Clone, Debug)]
pub struct Makes {
    /// Sources that share a namespace share their orders.
    pub order_namespace: String,
    /// Lead and sale of one order are two conversions.
    pub event: String,
    /// The order id, or `click:` and the click id.
    pub dedup_ref: String,
    /// Tells a retry from a conflict.
    pub content_hash: [u8; 32],
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or the question found no answer in time.
    No,
    /// The message, or one with the same content about the same order.
    Duplicate {
        /// The receipt given then.
        receipt_id: ReceiptId,
        /// The conversion, if it made one.
        conversion_id: Option<ConversionId>,
    },
    /// Its id was used with other bytes.
    IdReused,
    /// The order is known with other content.
    Conflict {
        /// The conversion that is there.
        conversion_id: ConversionId,
    },
}

/// Looks messages up, many at a time.
#[derive(Debug)]
pub struct LookUp {
    db: Db,
    queue: Mutex<Queue>,
    /// A question has come, and somebody asks already.
    come: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<(Question, oneshot::Sender<Known>)>,
    is_asking: bool,
}

impl LookUp {
    /// Returns a look-up that asks over connections of the pool.
    pub fn new(db: Db) -> Self {
        Self { db, queue: Mutex::default(), come: Notify::new() }
    }

    /// Returns what is known of a message, or [`Known::No`] when PostgreSQL cannot tell in time.
    pub async fn ask(self: &Arc<Self>, question: Question) -> Known {
        let (tell, told) = oneshot::channel();
        let must_ask = {
            let mut queue = self.lock();
            if queue.waiting.len() >= WAITING_MAX {
                return Known::No;
            }
            queue.waiting.push((question, tell));
            !std::mem::replace(&mut queue.is_asking, true)
        };
        if must_ask {
            // A task of its own: the caller may go away in the middle, the others wait on.
            let asking = Asking { look_up: Arc::clone(self), is_done: false };
            spawn_local(asking.ask_all());
        } else {
            self.come.notify_one();
        }
        told.await.unwrap_or(Known::No)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held, and a queue has no state that could be half-changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one who asks; when it ends, however it does, the next question finds a new one.
struct Asking {
    look_up: Arc<LookUp>,
    is_done: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let mut queue = self.look_up.lock();
        queue.is_asking = false;
        // Whoever waits hears "no" at once instead of at the timeout.
        queue.waiting.clear();
    }
}

impl Asking {
    async fn ask_all(mut self) {
        let look_up = Arc::clone(&self.look_up);
        let mut connection = None;
        loop {
            let batch: Vec<_> = {
                let mut queue = self.look_up.lock();
                // Who gave up waiting needs no answer.
                queue.waiting.retain(|(_, tell)| !tell.is_closed());
                let n = queue.waiting.len().min(AT_ONCE_MAX);
                queue.waiting.drain(..n).collect()
            };
            if batch.is_empty() {
                let patience = if has_spare(&look_up.db) { LINGERING } else { Duration::ZERO };
                if timeout(patience, look_up.come.notified()).await.is_err() && self.end() {
                    return;
                }
                continue;
            }
            let (questions, mut tells): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let finding = find(&self.look_up.db, &mut connection, &questions);
            match self.patiently(finding, &mut tells).await {
                Ok(answers) => {
                    for (tell, known) in tells.into_iter().zip(answers) {
                        // Who gave up meanwhile needs no answer.
                        drop(tell.send(known));
                    }
                }
                Err(error) => tracing::debug!("duplicates cannot be looked up now: {error}"),
            }
        }
    }

    /// Waits for answers as long as it takes. Those who wait for them, or would next, wait no longer
    /// than they may: one clock for all of them, not one for each.
    async fn patiently<T>(
        &self,
        finding: impl Future<Output = T>,
        tells: &mut Vec<oneshot::Sender<Known>>,
    ) -> T {
        let mut finding = pin!(finding);
        loop {
            match timeout(LOOKUP_TIMEOUT, finding.as_mut()).await {
                Ok(found) => return found,
                Err(_) => {
                    tells.clear();
                    self.look_up.lock().waiting.clear();
                }
            }
        }
    }

    /// Stops asking if nobody waits; a question that came in between is answered first.
    fn end(&mut self) -> bool {
        let mut queue = self.look_up.lock();
        self.is_done = queue.waiting.is_empty();
        queue.is_asking = !self.is_done;
        self.is_done
    }
}

/// Tells whether others find a connection while one is kept.
fn has_spare(db: &Db) -> bool {
    db.num_idle() > 0 || db.size() < db.options().get_max_connections()
}

/// Asks over a connection, or over one of the pool; one that failed is not kept.
async fn find(
    db: &Db,
    kept: &mut Option<PoolConnection<Postgres>>,
    questions: &[Question],
) -> Result<Vec<Known>, sqlx::Error> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => db.acquire().await?,
    };
    let found = store::find(&mut connection, questions).await?;
    *kept = Some(connection);
    let of = |(n, question)| judge(question, found.messages.get(&n), found.conversions.get(&n));
    Ok((0..).zip(questions).map(of).collect())
}

fn judge(question: &Question, message: Option<&Settled>, conversion: Option<&Settled>) -> Known {
    if let Some(known) = message {
        let (receipt_id, conversion_id) = (known.receipt_id, known.conversion_id);
        return if known.content_hash == question.body_hash {
            Known::Duplicate { receipt_id, conversion_id }
        } else {
            Known::IdReused
        };
    }
    let Some((new, known)) = question.makes.as_ref().zip(conversion) else { return Known::No };
    match known.conversion_id {
        Some(conversion_id) if known.content_hash != new.content_hash => {
            Known::Conflict { conversion_id }
        }
        conversion_id => Known::Duplicate { receipt_id: known.receipt_id, conversion_id },
    }
}

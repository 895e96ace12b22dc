//! The settler: reads a shard, decides, applies; one database transaction for each batch.
//!
//! It stops for nothing that a single event can hold: what cannot be decoded, and a batch that
//! PostgreSQL refuses for its content, is narrowed down to the event that is to blame, which goes
//! to the dead letters with its reason. It waits for everything else: PostgreSQL or Redis away is
//! an error for the caller to try again after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::commission::store::ApplyError;
use crate::conversion::MessageType;
use crate::conversion::parked_store;
use crate::db::copy::COPY_MIN;
use crate::db::{Db, DbTx};
use crate::lease::{self, Lease};
use crate::link::mint_store;
use crate::metrics as metric;
use crate::settlement::click::{self, Adding, Click, ClickMemory};
use crate::settlement::facts::ProgramFacts;
use crate::settlement::facts_store::Asking;
use crate::settlement::offset_store::{self, Counts, Position};
use crate::settlement::order_store::Locks;
use crate::settlement::tally::Tally;
use crate::settlement::{Message, ahead, decide, facts_store, grant, record, store};
use crate::signing::{Key, KeyRing};
use crate::stream::dead_letter::DeadLetter;
use crate::stream::{
    ConversionRecord, Entry, EventLog, Offset, PackedBatch, Shard, StreamError, StreamEvent,
    count_events, unpack,
};
use crate::telemetry;

/// How often a batch is tried again when two settlers met on one order.
const CLASHES_MAX: u32 = 5;

/// How long the log's own word on where it stands is good, while all goes well.
const STATE_GOOD_FOR: Duration = Duration::from_secs(2);

/// Where a settler of one shard stands. It begins again from the database after any failure: what is
/// kept here is good only as long as nobody else settles the shard.
#[derive(Debug, Default)]
pub struct Cursor(Option<Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    position: Position,
    asked_at: Instant,
    /// Entries of a page, by how many events those before them held.
    n_read: usize,
    /// Batches in a row whose new conversions were all new.
    n_new_in_a_row: u32,
}

/// After so many batches in a row that held nothing known, the next is taken for new without a look.
/// Wrongly done it costs a part of a batch, and a shop that repeats itself does so in every batch.
const TAKEN_FOR_NEW_AFTER: u32 = 8;

/// How many clicks take as long to settle as one message, about.
pub const CLICKS_A_MESSAGE: usize = 20;

/// Entries of a page before anything is known of them: each may hold 512 events.
const READ_FIRST: usize = 16;

/// Entries of a page, at most; a batch takes as many pages as it has room for. On a quiet service an
/// entry holds an event or two, and a batch thousands of entries.
const READ_MAX: usize = 1000;

/// Settles shards of a log.
#[derive(Clone, Debug)]
pub struct Settler {
    /// Where to.
    pub db: Db,
    /// The time of settlement.
    pub clock: Clock,
    /// Keys that verify click ids.
    pub click_keys: KeyRing,
    /// Hashes shops' names of customers.
    pub customer_key: Key,
    /// The first part of the stream's keys; names the position.
    pub prefix: String,
    /// Messages in one transaction, at most, unless a single entry holds more; so many clicks weigh
    /// as much as one: [`CLICKS_A_MESSAGE`]. A batch must not grow with the backlog: it takes memory
    /// here, and locks in PostgreSQL.
    pub messages_max: usize,
    /// Messages of one program that may wait for their conversion.
    pub waiting_max: i64,
    /// Places for batches, over all shards of the process.
    pub places: Arc<Semaphore>,
    /// How many shards there are, settled by whomever.
    pub n_shards: u16,
    /// Whom clicks name, and who clicked.
    pub clicks: Arc<ClickMemory>,
}

/// Why settlement cannot go on now. Nothing of the batch was written.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The log cannot be read.
    #[error("the stream cannot be read")]
    Stream(#[from] StreamError),
    /// PostgreSQL cannot be reached, or failed.
    #[error("the batch cannot be written")]
    Database(#[from] sqlx::Error),
    /// Two settlers kept meeting on the same orders.
    #[error("the batch met another settler {CLASHES_MAX} times")]
    Clash,
    /// Another process settles the shard now.
    #[error("the lease of the shard is lost")]
    LeaseLost,
    /// Somebody moved the position by hand, to have the stream read again.
    #[error("the position of the shard was moved meanwhile")]
    Moved,
}

/// One event with its place, so that it can be blamed alone.
struct Item {
    entry: usize,
    position: u32,
    event: Event,
}

/// What a batch wrote: how many of its events were new, and what is to be counted once it holds.
struct Written {
    n_new: u64,
    news: News,
    tally: Tally,
}

/// Entries of a shard that are settled together.
#[derive(Clone, Copy)]
struct Stretch<'a> {
    shard: Shard,
    lease: &'a Lease,
    /// Where they were read after.
    from: Offset,
    entries: &'a [Entry],
    to: Position,
}

/// What became of a batch.
enum Tried {
    Written(Counts, News),
    LeaseLost,
    /// The position is another than the one that was read after.
    Moved,
}

/// What a batch held of new conversions: no message of any (clicks alone, say), neither messages nor
/// orders that were known, or some that were.
#[derive(Clone, Copy)]
enum News {
    None,
    New,
    Known,
}

impl Tried {
    fn into_counts(self) -> Result<(Counts, News), SettleError> {
        match self {
            Self::Written(counts, news) => Ok((counts, news)),
            Self::LeaseLost => Err(SettleError::LeaseLost),
            Self::Moved => Err(SettleError::Moved),
        }
    }
}

enum Event {
    Click(Box<Click>),
    Conversion(Box<Message>),
    Parked(Box<ConversionRecord>),
}

impl Settler {
    /// Settles everything of a shard that is there now; returns how many events were settled.
    ///
    /// # Errors
    /// As [`SettleError`]; after [`SettleError::LeaseLost`] there is nothing left to do here.
    pub async fn settle_shard(
        &self,
        log: &impl EventLog,
        shard: Shard,
        lease: &Lease,
        cursor: &mut Cursor,
    ) -> Result<u64, SettleError> {
        let mut n_settled = 0;
        loop {
            // Taken away, and put back only after all went well.
            let known = cursor.0.take();
            let settled = self.settle_once(log, shard, lease, known, &mut n_settled).await;
            let (known, is_all) = match settled {
                Err(SettleError::Moved) => continue,
                settled => settled?,
            };
            cursor.0 = Some(known);
            if is_all {
                return Ok(n_settled);
            }
        }
    }

    /// Settles one batch; tells whether it was all that is there.
    async fn settle_once(
        &self,
        log: &impl EventLog,
        shard: Shard,
        lease: &Lease,
        known: Option<Known>,
        n_settled: &mut u64,
    ) -> Result<(Known, bool), SettleError> {
        let known = match known {
            Some(known) if known.asked_at.elapsed() < STATE_GOOD_FOR => known,
            before => {
                let looked = self.look(log, shard).await?;
                let same = before.filter(|before| before.position == looked.position);
                let n_new_in_a_row = same.map_or(0, |same| same.n_new_in_a_row);
                Known { n_new_in_a_row, ..looked }
            }
        };
        let (entries, is_all) = self.read(log, shard, &known).await?;
        let Some(last) = entries.last() else { return Ok((known, true)) };
        let n_pages = entries.len().div_ceil(READ_MAX);
        let n_read = if is_all { known.n_read } else { entries.len().div_ceil(n_pages) };
        let place = self.places.acquire().await.expect("nobody closes the places");
        let started = Instant::now();
        let to = Position { offset: last.offset, ..known.position };
        let stretch = Stretch { shard, lease, from: known.position.offset, entries: &entries, to };
        let takes_for_new = known.n_new_in_a_row >= TAKEN_FOR_NEW_AFTER;
        let (counts, news) = self.settle_entries(&stretch, takes_for_new).await?;
        let n_new_in_a_row = match news {
            News::None => known.n_new_in_a_row,
            News::New => known.n_new_in_a_row.saturating_add(1),
            News::Known => 0,
        };
        drop(place);
        metrics::histogram!(metric::SETTLE_BATCH_DURATION).record(started.elapsed());
        metrics::histogram!(metric::SETTLE_BATCH_EVENTS).record(counts.n_settled as f64);
        *n_settled += counts.n_settled;
        Ok((Known { position: to, n_read, n_new_in_a_row, ..known }, is_all))
    }

    /// Reads page after page until a batch is full; returns what fits it, and whether that is all
    /// that is there.
    async fn read(
        &self,
        log: &impl EventLog,
        shard: Shard,
        known: &Known,
    ) -> Result<(Vec<Entry>, bool), SettleError> {
        let (mut read, mut n_page) = (Vec::new(), known.n_read);
        let mut after = known.position.offset;
        loop {
            let page = log.read(shard, after, n_page).await?;
            let is_last = page.len() < n_page;
            after = page.last().map_or(after, |entry| entry.offset);
            read.extend(page);
            let n_fit = first_entries(&read, self.messages_max).len();
            let is_cut = n_fit < read.len();
            if is_last || is_cut {
                read.truncate(n_fit);
                return Ok((read, !is_cut));
            }
            n_page = (n_page * 2).min(READ_MAX);
        }
    }

    /// Asks the log for its state and the database for the position, which may not fit each other.
    async fn look(&self, log: &impl EventLog, shard: Shard) -> Result<Known, SettleError> {
        let asked_at = Instant::now();
        let state = log.state(shard).await?;
        let read_from = {
            let mut db = self.db.acquire().await?;
            offset_store::read_position(&mut db, &self.prefix, shard, state.generation).await?
        };
        // A log that was set back gives no entries after the old position, and no error either.
        let offset = if state.continues(state.generation, read_from) {
            read_from
        } else {
            tracing::error!("the stream of shard {shard} was set back; it is read from its start");
            let from = Position { generation: state.generation, offset: read_from };
            let mut db = self.db.acquire().await?;
            offset_store::rewind(&mut db, &self.prefix, shard, from).await?;
            Offset::START
        };
        let position = Position { generation: state.generation, offset };
        Ok(Known { position, asked_at, n_read: READ_FIRST, n_new_in_a_row: 0 })
    }

    /// Settles entries and moves the position behind them.
    async fn settle_entries(
        &self,
        stretch: &Stretch<'_>,
        mut takes_for_new: bool,
    ) -> Result<(Counts, News), SettleError> {
        let Stretch { shard, entries, .. } = *stretch;
        let mut clashes = 0;
        loop {
            // A try uses up what it writes; another one, which is rare, decodes anew.
            let (items, mut dead) = self.decode(shard, entries);
            match self.try_batch(stretch, items, &dead, takes_for_new).await {
                Ok(tried) => return tried.into_counts(),
                Err(error) if is_clash(&error) && takes_for_new => takes_for_new = false,
                Err(error) if is_clash(&error) && clashes < CLASHES_MAX => clashes += 1,
                Err(error) if is_clash(&error) => return Err(SettleError::Clash),
                Err(error) if is_content(&error) => {
                    dead.extend(self.find_poison(stretch, &error).await?);
                    let poisoned: Vec<(usize, u32)> =
                        dead.iter().map(|d| (place(entries, d), d.position)).collect();
                    let rest: Vec<Item> = self
                        .decode(shard, entries)
                        .0
                        .into_iter()
                        .filter(|i| !poisoned.contains(&(i.entry, i.position)))
                        .collect();
                    let tried = self.try_batch(stretch, rest, &dead, false).await;
                    return tried.map_err(plain)?.into_counts();
                }
                Err(error) => return Err(plain(error).into()),
            }
        }
    }

    fn decode(&self, shard: Shard, entries: &[Entry]) -> (Vec<Item>, Vec<DeadLetter>) {
        let mut items = Vec::new();
        let mut dead = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            for (position, record) in (0..).zip(unpack(&entry.bytes)) {
                let event = match record {
                    Ok(StreamEvent::Click(click)) => {
                        Event::Click(Box::new(Click::from_record(*click)))
                    }
                    Ok(StreamEvent::Parked(record)) => Event::Parked(record),
                    Ok(StreamEvent::Conversion(record)) => match record::message(&record) {
                        Ok(message) => Event::Conversion(Box::new(message)),
                        Err(error) => {
                            let mut batch = PackedBatch::new();
                            batch.push_conversion(&record);
                            dead.push(DeadLetter {
                                shard,
                                offset: entry.offset,
                                position,
                                kind: None,
                                bytes: batch.into_bytes(),
                                reason: error.to_string(),
                            });
                            continue;
                        }
                    },
                    Err(bad) => {
                        dead.push(DeadLetter::undecodable(shard, entry.offset, position, bad));
                        continue;
                    }
                };
                items.push(Item { entry: n, position, event });
            }
        }
        (items, dead)
    }

    /// Writes a batch in one transaction, or nothing if it is not ours to write.
    async fn try_batch(
        &self,
        stretch: &Stretch<'_>,
        items: Vec<Item>,
        dead: &[DeadLetter],
        takes_for_new: bool,
    ) -> Result<Tried, ApplyError> {
        let Stretch { shard, lease, from, entries, to } = *stretch;
        let now = self.clock.now();
        let mut db = self.db.begin().await?;
        if !lease::store::is_held(&mut db, lease).await? {
            db.rollback().await?;
            return Ok(Tried::LeaseLost);
        }
        let at =
            offset_store::lock_position(&mut db, &self.prefix, shard, to.generation, now).await?;
        if at != from {
            db.rollback().await?;
            return Ok(Tried::Moved);
        }
        let n_items = items.len() as u64;
        let Written { n_new, news, tally } = self.write(&mut db, items, takes_for_new).await?;
        offset_store::insert_dead_letters(&mut db, &self.prefix, dead, now).await?;
        let counts = Counts {
            n_settled: n_items,
            n_duplicates: n_items - n_new,
            n_dead: dead.len() as u64,
            n_entries: entries.len() as u64,
        };
        offset_store::move_position(&mut db, &self.prefix, shard, to, counts, now).await?;
        db.commit().await?;
        tally.count();
        if !dead.is_empty() {
            tracing::error!("{} events went to the dead letters", dead.len());
        }
        Ok(Tried::Written(counts, news))
    }

    /// Writes clicks, then conversions.
    async fn write(
        &self,
        db: &mut DbTx,
        items: Vec<Item>,
        takes_for_new: bool,
    ) -> Result<Written, ApplyError> {
        let now = self.clock.now();
        let mut clicks = Vec::new();
        let mut messages = Vec::new();
        let mut parked = Vec::new();
        for item in items {
            match item.event {
                Event::Parked(record) => parked.push(record),
                Event::Click(click) => clicks.push(click),
                Event::Conversion(message) => messages.push(*message),
            }
        }
        let parked: Vec<&ConversionRecord> = parked.iter().map(|record| &**record).collect();
        let clicks: Vec<&Click> = clicks.iter().map(|click| &**click).collect();
        let n_parked = parked_store::park(db, &parked).await?;
        let n_clicks =
            click::store::insert_clicks(db, &self.clicks, &clicks, Adding::Later).await?;
        mint_store::insert_minted(db, &click::minted_links(&clicks), now).await?;
        let n_new = n_clicks + n_parked;
        if messages.is_empty() {
            return Ok(Written { n_new, news: News::None, tally: Tally::default() });
        }
        let of_messages = self.write_messages(db, messages, takes_for_new).await?;
        Ok(Written { n_new: n_new + of_messages.n_new, ..of_messages })
    }

    async fn write_messages(
        &self,
        db: &mut DbTx,
        messages: Vec<Message>,
        takes_for_new: bool,
    ) -> Result<Written, ApplyError> {
        let now = self.clock.now();
        let keys = (&self.click_keys, &self.customer_key);
        let is_created = |m: &&Message| m.report.message_type == MessageType::Created;
        let n_created = messages.iter().filter(is_created).count();
        let is_alone = self.n_shards == 1 && messages.len() >= COPY_MIN;
        let locks = if is_alone { Locks::OfPrograms } else { Locks::OfOrders };
        // A look at a few costs little, and few are not copied.
        let takes_for_new = takes_for_new && n_created >= COPY_MIN;
        let asking = Asking { locks, takes_for_new };
        let mut facts = facts_store::load_facts(db, asking, &messages, keys, now).await?;
        facts_store::load_rooms(db, &mut facts, &messages, self.waiting_max).await?;
        let receipts = messages.iter().map(|m| m.receipt_id).collect();
        let n_known = messages.iter().filter(|m| facts.receipts.contains(&m.receipt_id)).count();
        let news = match n_created {
            0 => News::None,
            _ if facts.know_any(messages.iter().filter(is_created)) => News::Known,
            _ => News::New,
        };
        let n_new = (messages.len() - n_known) as u64;
        if facts.programs.values().any(ProgramFacts::has_counters) {
            // Decided once to learn which sums it takes, and then by what they say.
            let trial = decide::decide_all(&mut facts.clone(), messages.clone());
            facts_store::load_sums(db, &mut facts, &trial).await?;
        }
        let mut tally = Tally::of(receipts);
        let writing = store::Writing::begin(&facts, takes_for_new);
        let mut deciding = ahead::decide(facts, messages);
        writing.write(db, &mut deciding, &mut tally, n_created, now).await?;
        grant::meet_again(db, keys, &deciding.end().await, now).await?;
        Ok(Written { n_new, news, tally })
    }

    /// Settles messages outside of any stream: the demo program comes this way. They are new, as a rule.
    pub async fn settle_messages(&self, messages: Vec<Message>) -> Result<(), ApplyError> {
        match self.try_messages(messages.clone(), true).await {
            Err(error) if is_clash(&error) => self.try_messages(messages, false).await,
            tried => tried,
        }
    }

    async fn try_messages(
        &self,
        messages: Vec<Message>,
        takes_for_new: bool,
    ) -> Result<(), ApplyError> {
        let mut db = self.db.begin().await?;
        let written = self.write_messages(&mut db, messages, takes_for_new).await?;
        db.commit().await?;
        written.tally.count();
        Ok(())
    }

    /// Settles clicks outside of any stream: the demo program comes this way.
    pub async fn settle_clicks(&self, clicks: &[Click]) -> Result<u64, sqlx::Error> {
        let mut db = self.db.begin().await?;
        let clicks: Vec<&Click> = clicks.iter().collect();
        let n = click::store::insert_clicks(&mut db, &self.clicks, &clicks, Adding::Now).await?;
        db.commit().await?;
        Ok(n)
    }

    /// Tries each event alone, in a transaction that is rolled back, and returns those that
    /// PostgreSQL refuses for their content.
    async fn find_poison(
        &self,
        stretch: &Stretch<'_>,
        batch_error: &ApplyError,
    ) -> Result<Vec<DeadLetter>, SettleError> {
        tracing::error!("a batch was refused, looking for the event to blame: {batch_error}");
        let Stretch { shard, entries, .. } = *stretch;
        let mut blamed = Vec::new();
        for item in self.decode(shard, entries).0 {
            let (entry, position) = (&entries[item.entry], item.position);
            let mut db = self.db.begin().await?;
            let tried = self.write(&mut db, vec![item], false).await;
            db.rollback().await?;
            match tried {
                Ok(_) => {}
                Err(error) if is_content(&error) => {
                    let reason = telemetry::with_causes(&error);
                    blamed.push(dead_letter(shard, entry, position, reason));
                }
                Err(error) => return Err(plain(error).into()),
            }
        }
        if blamed.is_empty() {
            // No event alone is to blame: the batch is, which is an error of ours to be seen.
            return Err(SettleError::Clash);
        }
        Ok(blamed)
    }
}

/// Returns the first entries, as many as weigh no more than so many messages, and at least one.
fn first_entries(entries: &[Entry], messages_max: usize) -> &[Entry] {
    let mut weight = 0;
    let n_fit = entries
        .iter()
        .take_while(|entry| {
            let counts = count_events(&entry.bytes);
            weight += counts.n_clicks + counts.n_others * CLICKS_A_MESSAGE;
            weight <= messages_max * CLICKS_A_MESSAGE
        })
        .count();
    &entries[..n_fit.max(1).min(entries.len())]
}

fn place(entries: &[Entry], letter: &DeadLetter) -> usize {
    entries.iter().position(|e| e.offset == letter.offset).unwrap_or(usize::MAX)
}

fn dead_letter(shard: Shard, entry: &Entry, position: u32, reason: String) -> DeadLetter {
    let mut batch = PackedBatch::new();
    let wanted = usize::try_from(position).unwrap_or(usize::MAX);
    match unpack(&entry.bytes).nth(wanted) {
        Some(Ok(StreamEvent::Click(click))) => batch.push_click(&click),
        Some(Ok(StreamEvent::Conversion(record))) => batch.push_conversion(&record),
        Some(Ok(StreamEvent::Parked(record))) => batch.push_parked(&record),
        Some(Err(_)) | None => {}
    }
    DeadLetter {
        shard,
        offset: entry.offset,
        position,
        kind: None,
        bytes: batch.into_bytes(),
        reason,
    }
}

/// Tells whether another settler wrote the same order or commission at the same moment: with
/// fresh facts the batch will be decided otherwise.
fn is_clash(error: &ApplyError) -> bool {
    match error {
        ApplyError::Stale => true,
        ApplyError::Database(e) => e.as_database_error().is_some_and(|e| {
            // Serialization failure, deadlock, unique violation.
            e.code().is_some_and(|code| ["40001", "40P01", "23505"].contains(&code.as_ref()))
        }),
    }
}

/// Tells whether PostgreSQL refused what an event holds (class 22: data, 23: constraints), or a
/// row held what cannot be read.
fn is_content(error: &ApplyError) -> bool {
    match error {
        ApplyError::Stale => false,
        ApplyError::Database(sqlx::Error::Decode(_) | sqlx::Error::Encode(_)) => true,
        ApplyError::Database(e) => e.as_database_error().is_some_and(|e| {
            e.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
        }),
    }
}

fn plain(error: ApplyError) -> sqlx::Error {
    match error {
        ApplyError::Database(e) => e,
        ApplyError::Stale => sqlx::Error::Protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::ClickRecord;

    #[test]
    fn a_batch_holds_so_many_messages_or_clicks_or_one_entry() {
        let entry = |n: u64, n_messages: usize, n_clicks: usize| {
            let mut batch = PackedBatch::new();
            (0..n_messages).for_each(|_| batch.push_conversion(&sample()));
            (0..n_clicks).for_each(|_| batch.push_click(&ClickRecord::default()));
            Entry { offset: Offset { ms: n, seq: 0 }, bytes: batch.into_bytes() }
        };
        let one = CLICKS_A_MESSAGE;
        let entries = [entry(1, 2, 0), entry(2, 3, 0), entry(3, 0, one), entry(4, 2, 2 * one)];
        for (messages_max, expected) in
            [(1, 1), (2, 1), (4, 1), (5, 2), (6, 3), (9, 3), (10, 4), (100, 4)]
        {
            let fit = first_entries(&entries, messages_max);
            assert_eq!(fit.len(), expected, "{messages_max}");
        }
        assert_eq!(first_entries(&[], 5), &[]);
    }

    fn sample() -> ConversionRecord<()> {
        let at = Timestamp::UNIX_EPOCH;
        ConversionRecord {
            receipt: Default::default(),
            program_id: Default::default(),
            source_id: Default::default(),
            channel: String::new(),
            message_id: String::new(),
            content_hash: [0; 32],
            received_at: at,
            sent_at: at,
            trust: String::new(),
            report: (),
        }
    }
}

//! Runs a replay: reads one moment of the database page by page, reckons beside it, tells how far
//! it is. Nothing is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::outcome::Outcome;
use super::past::{Page, Part, Past};
use super::replay::{Draft, Ground, Replay, Span};
use super::store::{self, Stretch, Whose};
use super::wish::{self, Asker, Raise};
use super::{click_store, clicks};
use crate::clock::Timestamp;
use crate::commission::clicks::{Day, PartnerDay};
use crate::commission::plan::{Owner, Volume};
use crate::commission::pricing::{self, SumKey, SumState};
use crate::conversion::wire::ReportError;
use crate::db::{Db, DbTx};
use crate::ids::{PartnerId, ProgramId};

/// Conversions of a page: a few megabytes, read in some ten milliseconds.
const PAGE_MAX: i64 = 4_000;
/// Pages that wait to be reckoned while the next is read.
const PAGES_WAITING: usize = 2;
/// Sums kept at one time, at most; some hundred bytes each.
const SUMS_MAX: usize = 2_000_000;
/// Replays at one time: each takes a connection and a core.
const RUNS_MAX: usize = 2;
/// How long a further one waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a replay may take, all in all.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);

static RUNS: Semaphore = Semaphore::const_new(RUNS_MAX);

/// What is to be replayed.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The program.
    pub program_id: ProgramId,
    /// Of what is told.
    pub span: Span,
    /// The plan that is tried; none for the plan as it is.
    pub draft: Option<Draft>,
    /// The time of asking.
    pub now: Timestamp,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Conversions read, those that are read twice counted twice.
    pub n_done: u64,
    /// Of so many.
    pub n_all: u64,
}

/// What a replay came to, and what of the ledger is not yet final.
#[derive(Clone, Debug)]
pub struct Told {
    /// What it came to.
    pub outcome: Outcome,
    /// What its partners are called.
    pub names: HashMap<PartnerId, String>,
    /// Conversions read.
    pub n_read: u64,
    /// Partners whose periods the service has yet to reckon again.
    pub n_marked: i64,
}

/// Why there is no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Too many run.
    #[error("too many replays are running at this moment")]
    Busy,
    /// It takes too long.
    #[error("the replay took more than {} s; ask for a shorter time", RUN_TIMEOUT.as_secs())]
    TooLong,
    /// Its sums need too much memory.
    #[error("the plan counts more than {SUMS_MAX} sums at once; ask for a shorter time")]
    TooManySums,
    /// Nobody waits for it any more.
    #[error("nobody waits for the replay any more")]
    NobodyWaits,
    /// What is stored cannot be read.
    #[error("a stored conversion cannot be read")]
    Stored(#[from] ReportError),
    /// The reckoning ended by itself.
    #[error("the replay ended early")]
    Ended,
    /// PostgreSQL refused or could not be reached.
    #[error("the history could not be read")]
    Database(#[from] sqlx::Error),
}

/// Says whose a conversion is; none where it is as it was settled.
pub type Attribute = Box<dyn Fn(&Past) -> Option<Vec<Part>> + Send>;

/// Waits for a turn; a service that is busy with others says so.
pub async fn wait_for_turn() -> Result<SemaphorePermit<'static>, ReplayError> {
    match tokio::time::timeout(TURN_TIMEOUT, RUNS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(ReplayError::Busy),
    }
}

/// Replays history; `tell` is told how far it is and answers whether anybody still listens.
///
/// With `attribute` each conversion of which it says something goes to whom that says. The caller's future must not be dropped
/// midway; handlers run it detached.
pub async fn run(
    db: &Db,
    ask: &Ask,
    attribute: Option<Attribute>,
    tell: impl FnMut(Progress) -> bool,
) -> Result<Told, ReplayError> {
    let _turn = wait_for_turn().await?;
    let mut db = db.begin().await?;
    store::begin_reading(&mut db).await?;
    let told = replay(&mut db, ask, attribute, tell).await;
    db.rollback().await?;
    told
}

/// Loads what a replay must know of a program beside its history.
pub async fn load_ground(
    db: &mut DbTx,
    program_id: ProgramId,
    draft: Option<&Draft>,
) -> Result<Ground, sqlx::Error> {
    let program = pricing::store::load_program(db, program_id).await?;
    let mut ground = Ground {
        program_id,
        zone: program.zone,
        versions: program.versions,
        fixed_until: program.fixed_until,
        facts: pricing::PricingFacts::default(),
        earning: store::load_earning(db, program_id).await?.into_iter().collect(),
    };
    let needs = HashMap::from([(program_id, ground.needs(draft))]);
    ground.facts = pricing::store::load_facts(db, &needs, &[]).await?;
    Ok(ground)
}

/// Conversions that are reckoned again to answer what a tier raises, at most: of the partner, or of
/// all partners where they share a budget.
const RAISED_MAX: u64 = 20_000;

/// Reckons by how much a partner's earlier commissions rise when whole periods come to `whole`, and
/// what its sums come to by that.
pub async fn find_raise(
    db: &mut DbTx,
    ground: &Ground,
    asker: &Asker<'_>,
    whole: &BTreeMap<SumKey, Volume>,
) -> Result<(Raise, HashMap<SumKey, SumState>), ReplayError> {
    let mut counters = ground.versions.iter().flat_map(|version| version.terms.counters());
    let is_shared = counters.any(|counter| counter.owner == Owner::Program);
    let Asker { program_id, partner_id, at, terms } = *asker;
    let to = at + chrono::TimeDelta::microseconds(1);
    let span = Span { from: ground.raises_from(terms, at), to };
    let read = Span { from: ground.reach(None, span, at).from, to };
    let whose = if is_shared { Whose::Attributed } else { Whose::Of(partner_id) };
    let stretch = Stretch { program_id, whose, span: read };
    if store::count(db, &stretch).await? > RAISED_MAX {
        return Ok((Raise::Unknown, HashMap::new()));
    }
    let one = (!is_shared).then_some(partner_id);
    let days = click_store::load_booked(db, program_id, one, read).await?;
    let (mut ground, mut pasts, mut place) = (ground.clone(), Vec::new(), None);
    loop {
        let (page, end) = store::load_page(db, &stretch, place.as_ref(), PAGE_MAX).await?;
        let n_rows = page.conversions.len();
        if ground.needs(None).customers {
            ground.facts.customers.extend(load_customers(db, program_id, &page).await?);
        }
        pasts.extend(page.read()?);
        if i64::try_from(n_rows).unwrap_or(i64::MAX) < PAGE_MAX {
            break;
        }
        place = end;
    }
    let (by, sums) = wish::raise(ground, (partner_id, span), (days, pasts), whole);
    Ok((Raise::By(by), sums))
}

/// A page on its way to the reckoning.
struct Step {
    page: Page,
    customers: HashMap<(ProgramId, [u8; 32]), Timestamp>,
    is_count: bool,
}

/// What is sent to the reckoning.
enum Sent {
    /// Conversions.
    Page(Box<Step>),
    /// The clicks of a day that is over before the conversions to come.
    Clicks(Vec<PartnerDay>),
}

async fn replay(
    db: &mut DbTx,
    ask: &Ask,
    attribute: Option<Attribute>,
    mut tell: impl FnMut(Progress) -> bool,
) -> Result<Told, ReplayError> {
    let until = Instant::now() + RUN_TIMEOUT;
    let draft = ask.draft.as_ref();
    let ground = load_ground(db, ask.program_id, draft).await?;
    let knows_customers = ground.needs(draft).customers;
    let whose = if attribute.is_some() { Whose::All } else { Whose::Attributed };
    let span = ground.reach(draft, ask.span, ask.now);
    let stretch = Stretch { program_id: ask.program_id, whose, span };
    let n_read = store::count(db, &stretch).await?;
    let n_marked = store::count_marked(db, ask.program_id).await?;
    let mut days =
        draft.map_or_else(Vec::new, |draft| clicks::days(draft, ground.zone, ask.span.to));
    let mut replay = Replay::new(ground, ask.draft.clone(), ask.span);
    replay.stand(click_store::load_booked(db, ask.program_id, None, span).await?);
    let counts_first = replay.counts_first();
    let n_all = if counts_first { n_read * 2 } else { n_read };
    let (to, pages) = mpsc::channel(PAGES_WAITING);
    let reckoning = tokio::task::spawn_blocking(move || reckon(replay, attribute, pages));
    let mut n_done = 0;
    let rounds: &[bool] = if counts_first { &[true, false] } else { &[false] };
    'rounds: for is_count in rounds {
        let mut place = None;
        loop {
            if Instant::now() > until {
                return Err(ReplayError::TooLong);
            }
            if !tell(Progress { n_done, n_all: n_all.max(n_done) }) {
                return Err(ReplayError::NobodyWaits);
            }
            let (page, end) = store::load_page(db, &stretch, place.as_ref(), PAGE_MAX).await?;
            let n_rows = page.conversions.len();
            let customers = match knows_customers {
                true => load_customers(db, ask.program_id, &page).await?,
                false => HashMap::new(),
            };
            let is_last = i64::try_from(n_rows).unwrap_or(i64::MAX) < PAGE_MAX;
            let until = end.as_ref().filter(|_| !is_last).map(|end| end.occurred_at);
            let over = if *is_count { Vec::new() } else { over_by(&mut days, until) };
            for day in over {
                let clicks = click_store::load_day(db, ask.program_id, day).await?;
                if to.send(Sent::Clicks(clicks)).await.is_err() {
                    break 'rounds;
                }
            }
            let step = Step { page, customers, is_count: *is_count };
            n_done += n_rows as u64;
            // A reckoning that failed takes nothing more, and says why.
            if to.send(Sent::Page(Box::new(step))).await.is_err() {
                break 'rounds;
            }
            if is_last {
                break;
            }
            place = end;
        }
    }
    drop(to);
    let outcome = reckoning.await.map_err(|_| ReplayError::Ended)??;
    tell(Progress { n_done, n_all: n_done });
    let partners: BTreeSet<PartnerId> = outcome.partners.keys().map(|(id, _)| *id).collect();
    let partners: Vec<PartnerId> = partners.into_iter().collect();
    let names = store::load_names(db, &partners).await?;
    Ok(Told { outcome, names, n_read, n_marked })
}

/// Takes the days that are over by then; all of them where nothing comes after.
fn over_by(days: &mut Vec<Day>, until: Option<Timestamp>) -> Vec<Day> {
    let n = until.map_or(days.len(), |until| days.partition_point(|day| day.to <= until));
    days.drain(..n).collect()
}

/// Loads when the customers of a page first bought.
async fn load_customers(
    db: &mut DbTx,
    program_id: ProgramId,
    page: &Page,
) -> Result<HashMap<(ProgramId, [u8; 32]), Timestamp>, sqlx::Error> {
    let hashes = page.conversions.iter().filter_map(|line| line.customer_hash.as_deref());
    let hashes: BTreeSet<[u8; 32]> = hashes.filter_map(|hash| hash.try_into().ok()).collect();
    let customers: Vec<_> = hashes.into_iter().map(|hash| (program_id, hash)).collect();
    pricing::customer_store::load_customers(db, &customers.iter().collect::<Vec<_>>()).await
}

/// Takes pages as they come, on a thread of its own.
fn reckon(
    mut replay: Replay,
    attribute: Option<Attribute>,
    mut pages: mpsc::Receiver<Sent>,
) -> Result<Outcome, ReplayError> {
    while let Some(sent) = pages.blocking_recv() {
        let Step { page, customers, is_count } = match sent {
            Sent::Page(step) => *step,
            Sent::Clicks(days) => {
                replay.meet_clicks(days);
                continue;
            }
        };
        replay.meet(customers);
        for past in page.read()? {
            let parts = attribute.as_ref().and_then(|attribute| attribute(&past));
            if is_count {
                replay.count(&past, parts.as_deref());
            } else {
                replay.take(&past, parts.as_deref());
            }
        }
        if replay.n_sums() > SUMS_MAX {
            return Err(ReplayError::TooManySums);
        }
    }
    Ok(replay.finish())
}

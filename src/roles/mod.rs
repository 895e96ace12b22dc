//! Starts and stops what a process does: the listeners, settlement, the timers.
//!
//! Everything behind the scenes runs on a runtime of its own, so that settling a batch never
//! stands in the way of a redirect. If one of these tasks ends, the process ends: half a service
//! that looks alive is worse than none.

pub mod lag;
mod learning;
pub mod refusals;
mod settling;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt;
use actix_web::web::Data;
use anyhow::{Context as _, bail};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::audit::hourly;
use crate::audit::store::kept;
use crate::click::visitor::Salt;
use crate::clock::Timestamp;
use crate::commission::{clicks, timer};
use crate::config::Role;
use crate::incident::daily;
use crate::intake::{self, imports};
use crate::lease::keeper::LeaseKeeper;
use crate::metrics as metric;
use crate::partner::network::nightly;
use crate::retention::keeper;
use crate::server::{self, admin_http};
use crate::settlement::waiting::store::Crowd;
use crate::settlement::{click, held, offset_store, waiting};
use crate::stream::redis::Safety;
use crate::stream::spool::Spool;
use crate::stream::{EventLog as _, Offset, Shard};
use crate::{account, claim, config, ledger, outbound, telemetry};

/// How long settlement rests when the stream is empty.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
/// How often the salts are agreed on: a process that starts without Redis catches up.
const SALT_PAUSE: Duration = Duration::from_secs(30);
/// How long it rests when a store is away.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often the sums of large batches of clicks are added to those of the hours.
const SUMS_PAUSE: Duration = Duration::from_secs(1);
/// How often files are looked for whose lines are to be sent.
const IMPORTS_PAUSE: Duration = Duration::from_millis(500);
/// How often leases are renewed: a few times within their life.
const LEASES_PAUSE: Duration = Duration::from_secs(1);
/// How often a process on a cluster looks which of its messages are settled.
const HELD_PAUSE: Duration = Duration::from_secs(1);
/// How often due commissions are approved.
const TIMERS_PAUSE: Duration = Duration::from_secs(1);
/// How often the figures of `/metrics` that need a question are asked for.
const GAUGES_PAUSE: Duration = Duration::from_secs(5);
/// How often the stream is trimmed and old rows are forgotten.
const UPKEEP_PAUSE: Duration = Duration::from_secs(60);
/// How often notices are looked for.
const DELIVER_PAUSE: Duration = Duration::from_secs(1);
/// How often a daily mail may have become due.
const DIGEST_PAUSE: Duration = Duration::from_secs(60);
/// Days for which deliveries can be looked up and repeated.
const DELIVERY_DAYS: i64 = 30;
/// Days for which notices are kept; longer than deliveries, because feeds may read them.
const NOTICE_DAYS: i64 = 400;
/// Days for which it can be seen which calls were refused: whoever looks once in a quarter sees them.
const REFUSED_DAYS: i64 = 90;
/// How long the tasks behind the scenes get to end.
const TASKS_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Threads behind the scenes: one settles while the other serves Redis.
const BACKGROUND_THREADS: usize = 2;

/// A process that runs.
pub struct Running {
    /// The shared handles.
    pub app: Data<App>,
    /// Where the public listener is.
    pub public_address: std::net::SocketAddr,
    /// Where the admin listener is.
    pub admin_address: std::net::SocketAddr,
    state: Data<admin_http::State>,
    servers: [ServerHandle; 2],
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    background: Option<Runtime>,
}

/// Refuses to start on a Redis that can lose events; one that is down is no reason not to start.
pub async fn check_redis(app: &App) -> anyhow::Result<()> {
    match app.log.log().check().await {
        Ok(Safety::Safe) => Ok(()),
        Ok(Safety::Unsafe(why)) if app.config.unsafe_redis == config::UnsafeRedis::AcceptLoss => {
            tracing::warn!("Redis can lose acknowledged events, and that was accepted: {why}");
            Ok(())
        }
        Ok(Safety::Unsafe(why)) => bail!(
            "Redis can lose acknowledged events: {why}. Start it with --appendonly yes \
             --appendfsync always --maxmemory-policy noeviction, or accept the loss by \
             TRIBUTARY_ALLOW_UNSAFE_REDIS=accept-loss"
        ),
        Ok(Safety::Unreplicated(why)) => {
            tracing::warn!(
                "Redis takes no events until as many replicas follow as TRIBUTARY_REDIS_REPLICAS \
                 says; they go to other masters or to the spool: {why}"
            );
            Ok(())
        }
        Err(error) => {
            tracing::warn!("Redis is not there, events go to the spool: {error}");
            Ok(())
        }
    }
}

/// Starts the roles of this process.
pub async fn start(app: App) -> anyhow::Result<Running> {
    check_redis(&app).await?;
    let app = Data::new(app);
    if let Err(error) = app.keeper.load_from_disk() {
        let causes = telemetry::with_causes(&error);
        tracing::warn!("the copy of the terms on disk is not used: {causes}");
    }
    if let Err(error) = app.keeper.refresh().await {
        let causes = telemetry::with_causes(&error);
        tracing::warn!("the terms, or their copy on disk, stay as they were for now: {causes}");
    }
    let state = Data::new(admin_http::State {
        metrics: metric::install(),
        is_stopping: AtomicBool::new(false),
    });
    let public = server::bind_public(&app)
        .with_context(|| format!("the address {} cannot be used", app.config.bind))?;
    let admin = server::bind_admin(&app, &state)
        .with_context(|| format!("the address {} cannot be used", app.config.admin_bind))?;
    let (stop, stopping) = watch::channel(false);
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()?;
    let tasks = spawn_tasks(&background, &app, &state, &stopping);
    let servers = [public.server.handle(), admin.server.handle()];
    rt::spawn(public.server);
    rt::spawn(admin.server);
    Ok(Running {
        public_address: public.address,
        admin_address: admin.address,
        app,
        state,
        servers,
        tasks,
        stop,
        background: Some(background),
    })
}

fn spawn_tasks(
    background: &Runtime,
    app: &Data<App>,
    state: &Data<admin_http::State>,
    stopping: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    let has = |role| app.config.roles.has(role);
    let mut tasks = vec![
        background.spawn(keep_snapshot(app.clone(), stopping.clone())),
        background.spawn(keep_gauges(app.clone(), state.clone(), stopping.clone())),
    ];
    if has(Role::Redirect) || has(Role::Api) {
        tasks.push(background.spawn(keep_salts(app.clone(), stopping.clone())));
    }
    let (log, mut until) = (app.log.clone(), stopping.clone());
    tasks.push(background.spawn(async move {
        tokio::select! {
            () = log.run_drainer() => {}
            _ = until.wait_for(|stop| *stop) => {}
        }
    }));
    if app.log.held().is_some() {
        tasks.push(background.spawn(look_after_held(app.clone(), stopping.clone())));
    }
    if has(Role::Settle) {
        let shards = keep_leases(app.clone(), |app| &app.shard_leases, stopping.clone());
        tasks.push(background.spawn(shards));
        tasks.push(background.spawn(settling::settle(app.clone(), stopping.clone())));
        tasks.push(background.spawn(settling::add_sums(app.clone(), stopping.clone())));
    }
    if has(Role::Timers) {
        let timers = keep_leases(app.clone(), |app| &app.timer_leases, stopping.clone());
        tasks.push(background.spawn(timers));
        tasks.push(background.spawn(run_timers(app.clone(), stopping.clone())));
        tasks.push(background.spawn(upkeep(app.clone(), stopping.clone())));
        tasks.push(background.spawn(keep_cases(app.clone(), stopping.clone())));
        tasks.push(background.spawn(audit_hourly(app.clone(), stopping.clone())));
    }
    if has(Role::Api) {
        tasks.push(background.spawn(send_imports(app.clone(), stopping.clone())));
        tasks.push(background.spawn(learning::keep(app.clone(), stopping.clone())));
    }
    if has(Role::Ingest) {
        tasks.push(background.spawn(refusals::keep(app.clone(), stopping.clone())));
    }
    if has(Role::Deliver) {
        tasks.push(background.spawn(deliver(app.clone(), stopping.clone())));
        tasks.push(background.spawn(send_digests(app.clone(), stopping.clone())));
    }
    tasks
}

impl Running {
    /// Waits until a task behind the scenes ends, which none does while all is well.
    pub async fn wait_for_end(&mut self) {
        let tasks = self.tasks.iter_mut();
        drop(futures_util::future::select_all(tasks).await);
    }

    /// Stops in order: no longer ready, no new requests, those under way end, then the rest.
    pub async fn stop(mut self) {
        self.state.is_stopping.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.app.config.shutdown_delay).await;
        self.servers[0].stop(true).await;
        self.stop.send_replace(true);
        let ending = futures_util::future::join_all(std::mem::take(&mut self.tasks));
        if tokio::time::timeout(TASKS_STOP_TIMEOUT, ending).await.is_err() {
            tracing::warn!(
                "a task did not end in time; what it had not settled stays in the stream"
            );
        }
        self.servers[1].stop(false).await;
    }
}

impl Drop for Running {
    /// Ends what is behind the scenes without waiting: a runtime may not be waited for here.
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

/// Waits for a pause or the stop; true means stop.
async fn pause(stopping: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    matches!(tokio::time::timeout(pause, stopping.wait_for(|stop| *stop)).await, Ok(Ok(_) | Err(_)))
}

/// Logs a failure when it begins and its end; not each try in between.
#[derive(Default)]
struct Trouble(bool);

impl Trouble {
    fn note<T>(&mut self, what: &str, result: Result<T, impl std::error::Error>) -> Option<T> {
        match result {
            Ok(value) => {
                if std::mem::take(&mut self.0) {
                    tracing::info!("{what} works again");
                }
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.0, true) {
                    let text = telemetry::with_causes(&error);
                    tracing::error!("{what} failed and is tried again: {text}");
                }
                None
            }
        }
    }
}

async fn keep_snapshot(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    while !pause(&mut stopping, app.config.snapshot_refresh).await {
        trouble.note("renewing the terms", app.keeper.refresh().await);
    }
}

/// Agrees with the other processes on the salts of today and tomorrow.
async fn keep_salts(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    loop {
        let today = app.clock.now().date_naive();
        for day in [Some(today), today.succ_opt()].into_iter().flatten() {
            let ours = app.salts.of(day);
            // Whether Redis is down others tell; meanwhile this process recognizes its own.
            if let Ok(agreed) = app.log.log().agree_on_salt(day, *ours.bytes()).await {
                app.salts.keep(day, Salt::new(agreed));
            }
        }
        if pause(&mut stopping, SALT_PAUSE).await {
            return;
        }
    }
}

/// Sends again what a cluster has lost of conversions.
async fn look_after_held(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    while !pause(&mut stopping, HELD_PAUSE).await {
        let looked = held::look_after(&app.log, &app.background_db, app.clock.now()).await;
        if let Some(n_sent @ 1..) = trouble.note("looking after held messages", looked) {
            tracing::warn!("{n_sent} messages were not settled in time and were sent again");
        }
    }
}

/// Keeps the leases of a pool, and gives them up at the end.
async fn keep_leases(
    app: Data<App>,
    which: fn(&App) -> &LeaseKeeper,
    mut stopping: watch::Receiver<bool>,
) {
    let (leases, mut trouble) = (which(&app), Trouble::default());
    loop {
        trouble.note("renewing leases", leases.renew().await);
        if pause(&mut stopping, LEASES_PAUSE).await {
            break;
        }
    }
    if let Err(error) = leases.leave().await {
        tracing::warn!("leases are left to run out: {error}");
    }
}

/// Sends the lines of files that were brought, until none is left.
async fn send_imports(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    loop {
        let sent = trouble.note("sending a file", imports::send_some(&app).await);
        let is_idle = sent.is_none_or(|n| n == 0);
        let rest = if is_idle { IMPORTS_PAUSE } else { Duration::ZERO };
        if pause(&mut stopping, rest).await {
            return;
        }
    }
}

async fn run_timers(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let (mut trouble, mut revaluing, mut closing, mut giving_up) =
        (Trouble::default(), Trouble::default(), Trouble::default(), Trouble::default());
    let bounds = app.waiting_room();
    let mut accruing = Trouble::default();
    while !pause(&mut stopping, TIMERS_PAUSE).await {
        if !app.timer_leases.holds_any() {
            continue;
        }
        let approved = timer::approve_due(&app.background_db, app.clock.now()).await;
        trouble.note("approving due commissions", approved);
        let revalued = timer::revalue_marked(&app.background_db, app.clock.now()).await;
        revaluing.note("reckoning periods again", revalued);
        let accrued = clicks::accrual::accrue_due(&app.background_db, app.clock.now()).await;
        accruing.note("paying for clicks", accrued);
        let keys = (&app.config.click_keys, &app.customer_key);
        let closed = claim::due::close_due(&app.background_db, keys, app.clock.now()).await;
        closing.note("closing due claims", closed);
        let given_up = waiting::give_up_due(&app.background_db, bounds, app.clock.now()).await;
        giving_up.note("giving up what waited too long", given_up);
    }
}

/// Sends notices to endpoints.
async fn deliver(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    let deliverer = loop {
        // A machine without root certificates can call nobody, but does all the rest.
        match trouble.note("preparing to send notices", app.deliverer()) {
            Some(deliverer) => break deliverer,
            None if pause(&mut stopping, DIGEST_PAUSE).await => return,
            None => {}
        }
    };
    while !pause(&mut stopping, DELIVER_PAUSE).await {
        let sent = deliverer.deliver_due(|| *stopping.borrow()).await;
        trouble.note("sending notices", sent);
    }
}

/// Writes and sends the daily mails, and forgets what was sent long ago.
async fn send_digests(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let (mut writing, mut sending, mut forgetting) =
        (Trouble::default(), Trouble::default(), Trouble::default());
    let mailer = app.mailer().unwrap_or_else(|error| {
        tracing::error!("the daily mail cannot be sent; check TRIBUTARY_SMTP_URL: {error:#}");
        None
    });
    while !pause(&mut stopping, DIGEST_PAUSE).await {
        if let Some(mailer) = &mailer {
            writing.note("writing the daily mail", mailer.write_due().await);
            sending.note("sending the daily mail", mailer.send_due(|| *stopping.borrow()).await);
        }
        forgetting.note("forgetting old deliveries", forget_sent(&app, app.clock.now()).await);
    }
}

async fn forget_sent(app: &App, now: Timestamp) -> Result<(), sqlx::Error> {
    let mut db = app.background_db.acquire().await?;
    let days_ago = |n| now - chrono::Duration::days(n);
    outbound::store::forget(&mut db, days_ago(DELIVERY_DAYS), days_ago(NOTICE_DAYS)).await
}

/// Acts on the last whole day of each program, soon after it is over. A task of its own: the
/// detector and strangers' landing pages take their time, and approvals must not wait for them.
async fn keep_cases(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let guard = app.guard();
    let mut trouble = Trouble::default();
    while !pause(&mut stopping, UPKEEP_PAUSE).await {
        if !app.timer_leases.holds_any() {
            continue;
        }
        let done = daily::run_due(&app.background_db, &guard, app.clock.now()).await;
        trouble.note("looking after declines", done);
    }
}

/// Runs the audit of each hour. A task of its own: it may take minutes.
async fn audit_hourly(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let mut trouble = Trouble::default();
    while !pause(&mut stopping, UPKEEP_PAUSE).await {
        if !app.timer_leases.holds_any() {
            continue;
        }
        let beside = app.beside_audit();
        tokio::select! {
            done = hourly::run_due(&app.background_db, &beside, &app.clock) => {
                trouble.note("the audit", done);
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Trims what is settled and old enough, and forgets what nobody needs any more.
async fn upkeep(app: Data<App>, mut stopping: watch::Receiver<bool>) {
    let (mut trouble, mut dropping) = (Trouble::default(), Trouble::default());
    while !pause(&mut stopping, UPKEEP_PAUSE).await {
        if !app.timer_leases.holds_any() {
            continue;
        }
        trouble.note("trimming the stream", trim(&app).await);
        trouble.note("forgetting old rows", forget(&app, app.clock.now()).await);
        let keep = app.config.click_retention;
        let dropped = keeper::drop_due(&app.background_db, keep, app.clock.now()).await;
        dropping.note("dropping old clicks", dropped);
        let nightly = nightly::run_due(&app.background_db, app.clock.now()).await;
        trouble.note("ranking partners and closing contests", nightly);
    }
}

#[derive(Debug, thiserror::Error)]
enum TrimError {
    #[error(transparent)]
    Stream(#[from] crate::stream::StreamError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

async fn trim(app: &App) -> Result<(), TrimError> {
    let log = app.log.log();
    let retain_ms = u64::try_from(app.config.stream_retain.as_millis()).unwrap_or(u64::MAX);
    let mut failure = None;
    for shard in (0..app.config.stream_shards).map(Shard) {
        let state = match log.state(shard).await {
            Ok(state) => state,
            // Of a cluster the other masters go on.
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        let mut db = app.background_db.acquire().await?;
        let prefix = &app.config.stream_prefix;
        let settled = offset_store::read_position(&mut db, prefix, shard, state.generation).await?;
        let old = Offset { ms: state.last.ms.saturating_sub(retain_ms), seq: 0 };
        log.trim_before(shard, settled.min(old)).await?;
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

async fn forget(app: &App, now: Timestamp) -> Result<(), sqlx::Error> {
    let mut db = app.background_db.acquire().await?;
    let two_days_ago = (now - chrono::Duration::days(2)).date_naive();
    click::visitor_store::forget_visitors(&mut db, two_days_ago).await?;
    for days_ago in 0..2 {
        let day = (now - chrono::Duration::days(days_ago)).date_naive();
        click::visitor_store::join_runs(&mut db, day).await?;
    }
    let a_third_of_a_year_ago = (now - chrono::Duration::days(120)).date_naive();
    click::store::forget_landings(&mut db, a_third_of_a_year_ago).await?;
    let three_days_ago = now - chrono::Duration::hours(72);
    account::idempotency_store::forget_answers(&mut db, three_days_ago).await?;
    intake::refused::store::forget(&mut db, now - chrono::Duration::days(REFUSED_DAYS)).await?;
    Ok(())
}

async fn keep_gauges(
    app: Data<App>,
    state: Data<admin_http::State>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut told = BTreeSet::new();
    loop {
        set_gauges(&app).await;
        lag::tell(&app, &mut told).await;
        state.metrics.run_upkeep();
        if pause(&mut stopping, GAUGES_PAUSE).await {
            return;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
async fn set_gauges(app: &App) {
    let stream = app.log.state();
    metrics::gauge!(metric::SPOOL_BYTES).set(stream.spool_bytes as f64);
    metrics::gauge!(metric::SPOOL_EVENTS).set(stream.spool_events as f64);
    let n_held = app.log.held().map_or(0, Spool::n_events);
    metrics::gauge!(metric::HELD_MESSAGES).set(n_held as f64);
    metrics::gauge!(metric::SHARDS_DOWN).set(f64::from(stream.shards_down));
    metrics::gauge!(metric::SHARDS_HELD).set(app.shard_leases.epochs().len() as f64);
    let runs_timers = app.timer_leases.holds_any();
    metrics::gauge!(metric::TIMERS_HELD).set(if runs_timers { 1.0 } else { 0.0 });
    metrics::gauge!(metric::REDIS_UP).set(if stream.is_log_up { 1.0 } else { 0.0 });
    if let Some(taken_at) = app.snapshot.load().taken_at {
        let age = app.clock.now() - taken_at;
        metrics::gauge!(metric::SNAPSHOT_AGE).set(age.num_seconds() as f64);
    }
    let asked = ask_postgres(app).await;
    metrics::gauge!(metric::POSTGRES_UP).set(if asked.is_ok() { 1.0 } else { 0.0 });
    if let Ok((n_dead, n_faults, crowd)) = asked {
        metrics::gauge!(metric::DEAD_LETTERS).set(n_dead as f64);
        metrics::gauge!(metric::LEDGER_IMBALANCE).set(n_faults as f64);
        metrics::gauge!(metric::WAITING_ROOM_MESSAGES).set(crowd.n_waiting as f64);
        let oldest = crowd.oldest_since.map_or(0, |since| (app.clock.now() - since).num_seconds());
        metrics::gauge!(metric::WAITING_ROOM_OLDEST).set(oldest as f64);
        // Without PostgreSQL the last answer stands; that it is away is told above.
        drop(set_audit_gauges(app).await);
    }
}

/// Tells what the last audit found, whoever ran it.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
async fn set_audit_gauges(app: &App) -> Result<(), sqlx::Error> {
    let mut db = app.background_db.acquire().await?;
    let Some(run) = kept::last_run(&mut db).await? else { return Ok(()) };
    metrics::gauge!(metric::AUDIT_LAST_RUN).set(run.ended_at.timestamp() as f64);
    for (name, found) in run.findings {
        metrics::gauge!(metric::AUDIT_VIOLATIONS, "invariant" => name).set(found.n_broken as f64);
    }
    Ok(())
}

async fn ask_postgres(app: &App) -> Result<(i64, i64, Crowd), sqlx::Error> {
    let mut db = app.background_db.acquire().await?;
    let n_dead = offset_store::count_dead_letters(&mut db).await?;
    let n_faults = ledger::store::count_unbalanced(&mut db).await?;
    let crowd = waiting::store::measure(&mut db).await?;
    Ok((n_dead, n_faults, crowd))
}

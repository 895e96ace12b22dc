//! Clicks go into PostgreSQL by copy or by merge: what stands there afterwards is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::future::join;
use sqlx::{Connection as _, Executor as _};
use tributary::click::classify::{Class, Device};
use tributary::click::click_id::ClickId;
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::lease::keeper::LeaseKeeper;
use tributary::settlement::click::ClickMemory;
use tributary::settlement::click::visitors::Visitors;
use tributary::settlement::click::{Adding, Click, store, sum_store, visitor_store};
use tributary::settlement::settler::{Cursor, Settler};
use tributary::stream::{ClickRecord, EventLog as _, PackedBatch, Shard};

use crate::harness::{Process, TestApp};

/// A batch above the size from which clicks are copied.
const N_CLICKS: u32 = 400;

/// Rows without the keys that differ between two services.
const ROWS: &str = "select concat_ws('|', c.day, c.at, p.number, c.link_number, c.class, c.reason,
                        c.is_unique, c.device, c.flags, c.country, c.referrer_host, c.sub1, c.sub5,
                        c.erid, c.landing)
                    from clicks c join partners p using (partner_id)
                    order by c.at, c.click_id";
const SUMS: &str = "select concat_ws('|', h.hour, p.number, h.link_number, h.class, h.country,
                        h.n_clicks, h.n_unique)
                    from click_hours h join partners p using (partner_id) order by 1";
const LANDINGS: &str = "select concat_ws('|', l.day, l.landing, l.n_unique)
                        from click_landings l order by 1";

/// Whom the service has seen.
const SEEN: &str = "select (('x' || encode(substr(names, 8 * n + 1, 8), 'hex'))::bit(64)::bigint)::text
                    from visitor_runs, generate_series(0, octet_length(names) / 8 - 1) n order by 1";
/// The same, by what the migration of older rows makes of them.
const NAMED: &str = "select distinct (('x' || encode(substr(sha256(
                         int8send(g.number) || int8send(p.number) || int8send(c.link_number)
                         || int8send((c.day - date '2000-01-01')::bigint)), 1, 8), 'hex'))::bit(64)::bigint
                         # c.sub2::bigint)::text
                     from clicks c join programs g using (program_id) join partners p using (partner_id)
                     where c.class = 0 and c.sub2 is not null order by 1";

struct Side {
    app: TestApp,
    program: ProgramNo,
    partner: PartnerNo,
}

impl Side {
    async fn start() -> Self {
        Self::of(TestApp::start().await).await
    }

    /// With a service that settles nothing itself.
    async fn start_without_settler() -> Self {
        Self::of(TestApp::start_with(&[("TRIBUTARY_ROLES", "redirect,ingest,api")]).await).await
    }

    async fn of(app: TestApp) -> Self {
        app.scene().await;
        let mut owner = app.owner().await;
        let (program, partner): (i64, i64) =
            sqlx::query_as("select g.number::bigint, p.number::bigint from programs g, partners p")
                .fetch_one(&mut owner)
                .await
                .unwrap();
        let number = |n: i64| u32::try_from(n).unwrap();
        Self { program: ProgramNo(number(program)), partner: PartnerNo(number(partner)), app }
    }

    /// Clicks of some visitors over three hours around midnight, people and robots, with texts that
    /// an encoder could trip over.
    fn clicks(&self) -> Vec<Click> {
        self.records().into_iter().map(Click::from_record).collect()
    }

    fn records(&self) -> Vec<ClickRecord> {
        let begun = "2026-11-20T22:30:00Z".parse::<tributary::clock::Timestamp>().unwrap();
        (0..N_CLICKS)
            .map(|n| {
                let at = begun + TimeDelta::milliseconds(i64::from(n) * 27_001);
                let [a, b, c, d] = n.to_be_bytes();
                let link = LinkNo(1 + n % 3);
                let id = ClickId::new(at, self.program, self.partner, link, [9, a, b, c, d]);
                ClickRecord {
                    payload: id.payload(),
                    class: if n % 7 == 0 { Class::Bot.code() } else { Class::Human.code() },
                    reason: u8::from(n % 7 == 0) * 2,
                    device: Device::Mobile.code(),
                    is_gpc: n % 5 == 0,
                    is_qr: n % 11 == 0,
                    visitor: (n % 5 != 0).then(|| u64::from(n % 37).to_be_bytes()),
                    country: (n % 3 != 0).then_some(*b"DE"),
                    referrer_host: (n % 2 == 0).then(|| "xn--80aairftm.xn--p1ai".to_owned()),
                    subs: [
                        Some("один\t\\N".to_owned()),
                        (n % 5 != 0).then(|| (n % 37).to_string()),
                        None,
                        None,
                        Some(String::new()),
                    ],
                    erid: (n % 13 == 0).then(|| "2VtzqxAbCdE".to_owned()),
                    landing: (n % 4 == 0).then(|| "shop.example/sale".to_owned()),
                    ..ClickRecord::default()
                }
            })
            .collect()
    }

    /// What the service names the visit of a click, by the rule of the migration.
    async fn seen_of(&self, click: &Click) -> i64 {
        sqlx::query_scalar(
            "select ('x' || encode(substr(sha256(int8send($1) || int8send($2) || int8send($3)
                    || int8send(($4 - date '2000-01-01')::bigint)), 1, 8), 'hex'))::bit(64)::bigint # $5",
        )
        .bind(i64::from(click.program.0))
        .bind(i64::from(click.partner.0))
        .bind(i64::from(click.link.0))
        .bind(click.day)
        .bind(i64::from_be_bytes(click.visitor.unwrap()))
        .fetch_one(&mut self.app.owner().await)
        .await
        .unwrap()
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut self.app.owner().await).await.unwrap()
    }
}

#[actix_web::test]
async fn copy_and_merge_leave_the_same_rows_and_sums() {
    let (copied, merged) = (Side::start().await, Side::start().await);
    let clicks = copied.clicks();
    let twice: Vec<Click> = clicks.iter().chain(&clicks[..50]).cloned().collect();
    let n = copied.app.app().settler().settle_clicks(&twice).await.unwrap();
    assert_eq!(n, u64::from(N_CLICKS), "a click that stands twice in a batch is one");
    let settler = merged.app.app().settler();
    for part in merged.clicks().chunks(100) {
        settler.settle_clicks(part).await.unwrap();
    }
    for sql in [ROWS, SUMS, LANDINGS] {
        let (copied, merged) = (copied.texts(sql).await, merged.texts(sql).await);
        assert!(!copied.is_empty());
        assert_eq!(copied, merged, "{sql}");
    }

    assert_eq!(copied.texts(SEEN).await, copied.texts(NAMED).await);

    // Read once more with new ones among them: the copy is undone, the merge adds the new ones.
    let mut later = copied.clicks();
    for (n, click) in later.iter_mut().enumerate().skip(300) {
        click.at += TimeDelta::hours(30);
        click.day = click.at.date_naive();
        click.click_id = ClickId::new(
            click.at,
            click.program,
            click.partner,
            click.link,
            [8, 0, 0, u8::try_from(n / 256).unwrap(), u8::try_from(n % 256).unwrap()],
        )
        .to_uuid();
    }
    let settler = copied.app.app().settler();
    assert_eq!(settler.settle_clicks(&later).await.unwrap(), 100);
    assert_eq!(settler.settle_clicks(&later).await.unwrap(), 0);
    let rows = copied.texts("select click_id::text from clicks").await;
    assert_eq!(rows.len(), rows.iter().collect::<BTreeSet<_>>().len());
    copied.app.wait_for_count(500, "select sum(n_clicks)::bigint from click_hours").await;
}

/// Who waits for the visitors of another settler.
const WAITING: &str = "select count(*) from pg_locks l
    join pg_stat_activity a using (pid)
    where a.datname = current_database() and l.locktype = 'advisory' and not l.granted";
const UNIQUE: &str = "select count(*) from clicks where is_unique and sub2 is not null";

#[actix_web::test]
async fn a_visitor_whom_two_settlers_see_at_once_is_one() {
    let side = Side::start().await;
    let clicks = side.clicks();
    // Another settler has seen one of them, and has not committed yet.
    let mut owner = side.app.owner().await;
    let mut other = owner.begin().await.unwrap();
    let days = clicks.iter().map(|click| click.day).collect();
    visitor_store::lock(&mut other, &days).await.unwrap();
    let one_of_them = side.seen_of(&clicks[1]).await.to_be_bytes().to_vec();
    let runs = BTreeMap::from([(clicks[1].day, one_of_them)]);
    visitor_store::insert_runs(&mut other, runs).await.unwrap();
    let settler = side.app.app().settler();
    let settling = actix_web::rt::spawn(async move { settler.settle_clicks(&clicks).await });
    side.app.wait_for_count(1, WAITING).await;
    other.commit().await.unwrap();
    assert_eq!(settling.await.unwrap().unwrap(), u64::from(N_CLICKS));
    // Its click was judged unique and written; that is taken back, also in the sums.
    let seen = side.texts(SEEN).await;
    assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(side.app.count(UNIQUE).await + 1, i64::try_from(seen.len()).unwrap());
    let unique = side.app.count("select count(*) from clicks where is_unique").await;
    side.app.wait_for_count(unique, "select sum(n_unique)::bigint from click_hours").await;
}

#[actix_web::test]
async fn each_settler_knows_whom_the_others_have_seen() {
    let side = Side::start().await;
    let clicks = side.clicks();
    // Two processes, of which each keeps its own visitors, take turns; a third begins late. Two of them
    // have memory for five.
    let folder = tempfile::tempdir().unwrap();
    let mut settlers: [_; 3] = std::array::from_fn(|_| side.app.app().settler());
    for settler in &mut settlers[1..] {
        settler.clicks = Arc::new(ClickMemory::new(Visitors::new(folder.path().into()).holding(5)));
    }
    for (n, part) in clicks[..300].chunks(30).enumerate() {
        settlers[n % 2].settle_clicks(part).await.unwrap();
    }
    settlers[2].settle_clicks(&clicks[300..]).await.unwrap();
    let seen = side.texts(SEEN).await;
    assert_eq!(seen, side.texts(NAMED).await, "each once");
    assert_eq!(side.app.count(UNIQUE).await, i64::try_from(seen.len()).unwrap());
}

#[actix_web::test]
async fn small_runs_become_one_that_nobody_who_has_read_them_reads_again() {
    let side = Side::start().await;
    let clicks = side.clicks();
    let settler = side.app.app().settler();
    let (first, rest) = clicks.split_at(200);
    settler.settle_clicks(first).await.unwrap();
    let runs = "select count(*) from visitor_runs";
    let before = side.app.count(runs).await;
    assert!(before < 100);
    let mut owner = side.app.owner().await;
    let day = first[0].day;
    visitor_store::join_runs(&mut owner, day).await.unwrap();
    assert_eq!(side.app.count(runs).await, before, "a few are left as they are");
    // Visitors of whom no click is here: what matters is that they are many runs.
    for n in 0_i64..150 {
        let runs = BTreeMap::from([(day, n.to_be_bytes().to_vec())]);
        visitor_store::insert_runs(&mut owner, runs).await.unwrap();
    }
    let of_day =
        "select count(*) from visitor_runs where day = (select min(day) from visitor_runs)";
    visitor_store::join_runs(&mut owner, day).await.unwrap();
    assert!(side.app.count(of_day).await >= 150, "those who settle may not have read them yet");
    let reader = Arc::new(Visitors::new(std::env::temp_dir()));
    let days = BTreeSet::from([day]);
    assert!(visitor_store::learn(&mut owner, &reader, &days).await.unwrap() >= 150);
    owner.execute("alter table visitor_runs alter column run_no restart with 5000").await.unwrap();
    let runs = BTreeMap::from([(day, 150_i64.to_be_bytes().to_vec())]);
    visitor_store::insert_runs(&mut owner, runs).await.unwrap();
    let names = side.texts(SEEN).await;
    visitor_store::join_runs(&mut owner, day).await.unwrap();
    assert_eq!(side.texts(SEEN).await, names);
    assert_eq!(side.app.count(of_day).await, 2, "one of all that went before, and the last");
    assert_eq!(visitor_store::learn(&mut owner, &reader, &days).await.unwrap(), 1, "the last");
    // Who had read some of them, and who begins now, both know all.
    settler.settle_clicks(rest).await.unwrap();
    assert_eq!(side.app.app().settler().settle_clicks(&clicks).await.unwrap(), 0);
    assert_eq!(
        side.app.count(UNIQUE).await + 151,
        i64::try_from(side.texts(SEEN).await.len()).unwrap()
    );
}

/// What counts the clicks of the hours: as far as their sums were added, and exactly.
const ADDED: &str = "select coalesce(sum(n_clicks), 0)::bigint from click_hours";
const EXACT: &str = "select coalesce(sum(n_clicks), 0)::bigint from click_sums";
const WAITING_SUMS: &str = "select count(*) from click_sums_waiting";

/// Settles clicks as those of the stream, in a transaction that the test ends.
async fn settle_later<'db>(
    owner: &'db mut sqlx::PgConnection,
    settler: &Settler,
    clicks: &[Click],
) -> sqlx::Transaction<'db, sqlx::Postgres> {
    let mut db = owner.begin().await.unwrap();
    let clicks: Vec<&Click> = clicks.iter().collect();
    store::insert_clicks(&mut db, &settler.clicks, &clicks, Adding::Later).await.unwrap();
    db
}

#[actix_web::test]
async fn sums_that_wait_are_added_once_whoever_adds_them() {
    let (direct, later) = (Side::start().await, Side::start_without_settler().await);
    direct.app.app().settler().settle_clicks(&direct.clicks()).await.unwrap();
    let clicks = later.clicks();
    let (mut one, mut other) = (later.app.owner().await, later.app.owner().await);
    let settler = later.app.app().settler();
    settle_later(&mut one, &settler, &clicks[..200]).await.commit().await.unwrap();
    // Those of a batch that is undone, and of one that was settled before, are none.
    settle_later(&mut one, &settler, &clicks[200..]).await.rollback().await.unwrap();
    settle_later(&mut one, &settler, &clicks).await.commit().await.unwrap();
    settle_later(&mut one, &settler, &clicks).await.commit().await.unwrap();
    let counts = async || {
        (
            later.app.count(ADDED).await,
            later.app.count(EXACT).await,
            later.app.count(WAITING_SUMS).await,
        )
    };
    assert_eq!(counts().await, (0, 400, 2));
    let added = join(sum_store::add_waiting(&mut one), sum_store::add_waiting(&mut other)).await;
    assert!(matches!(added, (Ok(true), Ok(true))), "{added:?}");
    assert_eq!(counts().await, (400, 400, 0));
    for sql in [ROWS, SUMS, LANDINGS] {
        assert_eq!(direct.texts(sql).await, later.texts(sql).await, "{sql}");
    }
}

#[actix_web::test]
async fn sums_of_a_settler_that_is_gone_are_added_by_another_and_few_wait_for_nobody() {
    let side = Side::start_without_settler().await;
    let (log, settler) = (&**side.app.app().log.log(), side.app.app().settler());
    let db = side.app.app().background_db.clone();
    let leases = LeaseKeeper::new(db, "stream:x".into(), 1, "gone");
    leases.renew().await.unwrap();
    let lease = leases.lease(0, leases.epochs()[&0]);
    let mut cursor = Cursor::default();
    let records = side.records();
    for (part, expected) in [(&records[..100], (100, 100, 0)), (&records[100..], (100, 400, 1))] {
        let mut batch = PackedBatch::new();
        part.iter().for_each(|record| batch.push_click(record));
        log.append(Shard(0), &batch).await.unwrap();
        settler.settle_shard(log, Shard(0), &lease, &mut cursor).await.unwrap();
        let (added, exact) = (side.app.count(ADDED).await, side.app.count(EXACT).await);
        assert_eq!((added, exact, side.app.count(WAITING_SUMS).await), expected);
    }
    let _process = Process::beside(&side.app, "settle", &[]);
    side.app.wait_for_count(400, ADDED).await;
    assert_eq!(side.app.count(EXACT).await, 400);
}

#[actix_web::test]
async fn the_audit_counts_sums_that_wait() {
    let side = Side::start_without_settler().await;
    let mut owner = side.app.owner().await;
    let settler = side.app.app().settler();
    settle_later(&mut owner, &settler, &side.clicks()).await.commit().await.unwrap();
    // What is proven at the end of each story would miss these clicks in the hours alone.
    assert_eq!(side.app.count(ADDED).await, 0);
}

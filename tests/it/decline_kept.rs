//! What the daily run learned is what a report would learn for itself, whatever changes in between.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::address::Guard;
use tributary::incident::daily::{self, learn_day_once};
use tributary::program::store::find_program;

use crate::harness::TestApp;

/// Thirty partners with 8 to 16 clicks a day from 500 days ago to 30 days ahead. Number 1 stops 20
/// days ago, number 2 doubles 30 days ago, number 3 stops in 3 days.
const SEED: [&str; 3] = [
    "insert into partners (partner_id, name, slug, kind, created_at, updated_at)
     select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Partner ' || n,
            'seeded-' || n, 'webmaster', now(), now()
     from generate_series(1, 30) n",
    "insert into enrollments (program_id, partner_id, created_at, updated_at)
     select g.program_id, p.partner_id, now(), now()
     from partners p, programs g where p.slug like 'seeded-%'",
    "insert into click_hours (program_id, hour, partner_id, link_number, class, country,
                              n_clicks, n_unique)
     select g.program_id, timestamptz '2026-11-22 06:00+00' - d * interval '1 day',
            p.partner_id, 1, 0, 'DE', 1,
            (case when n = 2 and d <= 30 then 2 else 1 end) * (8 + (n * 7 + (d + 900) * 13) % 9)
     from generate_series(1, 30) n
     join partners p on p.slug = 'seeded-' || n
     cross join programs g
     cross join generate_series(-30, 500) d
     where not (n = 1 and d <= 20 or n = 3 and d <= -3)",
];

/// A hundred and twenty partners more.
const MANY: [&str; 3] = [
    "insert into partners (partner_id, name, slug, kind, created_at, updated_at)
     select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Partner ' || n,
            'many-' || n, 'webmaster', now(), now()
     from generate_series(31, 150) n",
    "insert into enrollments (program_id, partner_id, created_at, updated_at)
     select g.program_id, p.partner_id, now(), now()
     from partners p, programs g where p.slug like 'many-%'",
    "insert into click_hours (program_id, hour, partner_id, link_number, class, country,
                              n_clicks, n_unique)
     select h.program_id, h.hour, p.partner_id, 1, 0, 'DE', 1, h.n_unique
     from click_hours h
     join partners p on p.slug like 'many-%'
     where h.partner_id = '00000000-0000-7000-8000-000000000004'",
];

struct Program {
    app: TestApp,
    program_id: String,
}

impl Program {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let program_id = app.scene().await.program_id;
        let program = Self { app, program_id };
        for statement in SEED {
            program.change(statement).await;
        }
        program
    }

    async fn change(&self, sql: &'static str) {
        sqlx::query(sql).execute(&mut self.app.owner().await).await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.app.owner().await).await.unwrap()
    }

    async fn run(&self) -> u64 {
        let app = self.app.app();
        daily::run_due(&app.background_db, &Guard::default(), self.app.clock.now()).await.unwrap()
    }

    /// Returns both reports, and whether the daily run had learned what they tell.
    async fn reports(&self) -> (Vec<Value>, bool) {
        let mut reports = Vec::new();
        let mut is_kept = None;
        for name in ["activity-decline", "activity-rising"] {
            let path = format!("/v1/reports/{name}?program_id={}", self.program_id);
            let mut report = self.app.get(&self.app.manager_key, &path).await.expect(200);
            if let Some(source) = report["summary"].as_object_mut().unwrap().remove("source") {
                is_kept = Some(source == "the daily run");
            }
            reports.push(report);
        }
        (reports, is_kept.unwrap())
    }

    async fn check_kept(&self) -> Vec<Value> {
        let (kept, is_kept) = self.reports().await;
        assert!(is_kept);
        // With nothing kept they are learned from the first day on.
        self.change("delete from decline_learned").await;
        let (fresh, is_kept) = self.reports().await;
        assert!(!is_kept);
        assert_eq!(kept, fresh);
        kept
    }

    /// The report notices the change, and the next run takes it in, an hour after the last.
    async fn check_noticed(&self, change: &str) -> Vec<Value> {
        let (fresh, is_kept) = self.reports().await;
        assert!(!is_kept, "{change}");
        assert_eq!(self.run().await, 0);
        assert!(!self.reports().await.1, "{change}: not again within the hour");
        self.app.clock.advance(TimeDelta::minutes(61));
        assert_eq!(self.run().await, 0, "{change}: no day is acted on twice");
        assert_eq!(self.reports().await, (fresh.clone(), true), "{change}");
        fresh
    }
}

fn names(report: &Value) -> Vec<&str> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|row| row["partner_name"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn a_kept_report_says_what_a_fresh_one_says() {
    let program = Program::start().await;
    assert_eq!(program.run().await, 1);
    let reports = program.check_kept().await;
    assert_eq!((names(&reports[0]), names(&reports[1])), (vec!["Partner 1"], vec!["Partner 2"]));

    // What was thrown away is learned again; then ten days pass, on which the service was off.
    assert_eq!(program.run().await, 0);
    assert!(program.reports().await.1);
    program.app.clock.advance(TimeDelta::days(10));
    assert_eq!(program.run().await, 10);
    let heads = "select count(*) from decline_learned where head is not null";
    assert!(program.count(heads).await > 0, "the states of a week's end");
    assert!(program.count("select count(*) from decline_states").await > 0);
    // The next day goes on from there.
    program.app.clock.advance(TimeDelta::days(1));
    assert_eq!(program.run().await, 1);
    let reports = program.check_kept().await;
    assert_eq!(names(&reports[0]), ["Partner 1", "Partner 3"]);
}

#[actix_web::test]
async fn a_change_of_earlier_days_is_noticed() {
    let program = Program::start().await;
    assert_eq!(program.run().await, 1);
    let before = program.reports().await.0;
    // Clicks of today say nothing about yesterday.
    program
        .change(
            "update click_hours set n_unique = n_unique + 1
             where hour >= '2026-11-22' and hour < '2026-11-23'",
        )
        .await;
    assert_eq!(program.reports().await, (before, true));
    // Partner 1 did not stop: its clicks settled late.
    program
        .change(
            "insert into click_hours (program_id, hour, partner_id, link_number, class, country,
                                      n_clicks, n_unique)
             select program_id, hour, '00000000-0000-7000-8000-000000000001', 1, 0, 'DE', 1, 11
             from click_hours
             where partner_id = '00000000-0000-7000-8000-000000000004'
               and hour >= '2026-11-02' and hour < '2026-11-22'",
        )
        .await;
    let late = program.check_noticed("late clicks").await;
    assert_eq!(names(&late[0]), Vec::<&str>::new());
    program
        .change(
            "delete from click_hours
             where partner_id = '00000000-0000-7000-8000-000000000005'
               and hour >= '2026-10-20' and hour < '2026-11-22'",
        )
        .await;
    let gone = program.check_noticed("clicks taken away").await;
    assert_eq!(names(&gone[0]), ["Partner 5"]);
    let away = json!({"program_id": program.program_id, "from": "2026-10-20", "to": "2026-12-01",
        "reason": "holiday"});
    let id = gone[0]["rows"][0]["partner_id"].as_str().unwrap();
    let path = format!("/v1/partners/{id}/absences");
    program.app.post(&program.app.manager_key, &path, away).await.expect(201);
    let absent = program.check_noticed("an absence").await;
    assert_eq!(names(&absent[0]), Vec::<&str>::new());
    program.change("update programs set time_zone = 'Asia/Tokyo'").await;
    program.check_noticed("another time zone").await;
}

#[actix_web::test]
async fn a_large_program_that_nobody_learned_is_learned_once_while_readers_go_on() {
    let program = Program::start().await;
    for statement in MANY {
        program.change(statement).await;
    }
    let app = &program.app;
    let path = |name: &str, rest: &str| {
        format!("/v1/reports/{name}?program_id={}{rest}", program.program_id)
    };
    let get = async |path: String| app.get(&app.manager_key, &path).await;
    let decline = path("activity-decline", "");
    let first = get(decline.clone()).await;
    assert_eq!((first.header("retry-after"), first.header("cache-control")), ("3", "no-store"));
    let first = first.expect(202);
    assert_eq!((&first["state"], &first["day"]), (&json!("learning"), &json!("2026-11-21")));
    assert_eq!(
        (&first["report"], &first["learned_until"]),
        (&json!("activity-decline"), &Value::Null)
    );
    let learned = "select count(*) from decline_learned where learned is not null";
    app.wait_for_count(1, learned).await;
    let told = get(decline.clone()).await.expect(200);
    assert_eq!(told["summary"]["source"], "the daily run", "it was learned beforehand: {told}");
    assert_eq!(names(&told), ["Partner 1"]);
    assert_eq!(get(decline.clone()).await.expect(200), told);
    // Days of another time zone are learned for their reader alone.
    let elsewhere = get(path("activity-decline", "&tz=Asia/Tokyo")).await.expect(200);
    assert_eq!(elsewhere["summary"]["source"], "learned for this report");
    assert_eq!(names(&elsewhere), ["Partner 1"]);

    // The next day: what is known can be read, and every way to ask for the day makes it known.
    app.clock.advance(TimeDelta::days(1));
    for (name, rest) in [
        ("activity-rising", ""),
        ("activity-decline", "&format=html"),
        ("activity-decline", "&format=csv"),
    ] {
        let answer = get(path(name, rest)).await;
        if answer.status == 202 {
            assert_eq!(answer.json()["learned_until"], "2026-11-21");
        }
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
    }
    let yesterday = get(path("activity-decline", "&to=2026-11-22")).await.expect(200);
    assert_eq!(yesterday["rows"], told["rows"]);
    app.wait_for_count(2, learned).await;
    let (kept, is_kept) = program.reports().await;
    assert!(is_kept);
    assert_eq!(names(&kept[0]), ["Partner 1"]);
    program.change("delete from decline_learned").await;
    let asked = format!("/v1/reports/activity-decline/summary?program_id={}", program.program_id);
    get(asked.clone()).await.expect(202);
    app.wait_for_count(1, learned).await;
    assert_eq!(get(asked).await.expect(200)["summary"]["listed"], 1);

    // Who asked while it was being learned does not have it learned again.
    let begun = "select begun_at::text from decline_learned where learned is not null";
    let before = app.figures(begun).await;
    app.clock.advance(TimeDelta::minutes(1));
    let mut db = app.owner().await;
    let id = program.program_id.parse().unwrap();
    let terms = find_program(&mut db, id).await.unwrap().unwrap();
    let (day, now) = ("2026-11-22".parse().unwrap(), app.clock.now());
    learn_day_once(&app.app().background_db, &terms, day, now).await.unwrap();
    assert_eq!(app.figures(begun).await, before);
    program.change("update decline_learned set has_changed = true").await;
    learn_day_once(&app.app().background_db, &terms, day, now).await.unwrap();
    assert_ne!(app.figures(begun).await, before);
}

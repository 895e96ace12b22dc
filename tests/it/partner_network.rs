//! A partner applies, is approved, promotes, is away, is talked to, competes.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tributary::ids::{LinkNo, PartnerNo, ProgramNo};
use tributary::link::token::LinkToken;
use tributary::partner::network::nightly;

use crate::harness::app::{Scene, click_id_of};
use crate::harness::{Sale, TestApp};

async fn apply(app: &TestApp, program_id: &str, body: &Value) -> u16 {
    let path = format!("/v1/programs/{program_id}/applications");
    let headers = [("content-type", "application/json")];
    app.send("POST", &path, &headers, body.to_string()).await.status
}

fn application(name: &str, email: &str) -> Value {
    json!({"name": name, "kind": "webmaster", "email": email, "country": "DE",
        "site": "https://blog.example/", "promised_reach": 20_000, "message": "Hello.\nIt's us."})
}

#[actix_web::test]
async fn an_application_is_approved_and_only_then_its_link_works() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let program = format!("/v1/programs/{}", scene.program_id);

    // No key; the second application of an address gets the same answer and makes nothing.
    let body = application("Tea blog", "tea@blog.example");
    for body in [&body, &application("Tea again", "TEA@blog.example")] {
        assert_eq!(apply(&app, &scene.program_id, body).await, 202);
    }
    for (pointer, wrong) in [("kind", json!("friend")), ("site", json!("javascript:alert(1)"))] {
        let mut body = body.clone();
        body[pointer] = wrong;
        assert_eq!(apply(&app, &scene.program_id, &body).await, 422, "{pointer}");
    }
    let list = format!("{program}/applications");
    let open = app.get(&app.manager_key, &format!("{list}?status=applied")).await.expect(200);
    assert_eq!(open["data"].as_array().unwrap().len(), 1, "{open}");
    let partner_id = open["data"][0]["partner_id"].as_str().unwrap().to_owned();

    // No link is made for an applicant; one that is signed anyway leads to the fallback.
    let new = json!({"program_id": scene.program_id, "partner_id": partner_id});
    let refused = app.post(&app.manager_key, "/v1/links", new.clone()).await;
    refused.expect_problem(422, "invalid-field");
    let number = async |path: String| {
        let shown = app.get(&app.admin_key, &path).await.expect(200);
        u32::try_from(shown["number"].as_u64().unwrap()).unwrap()
    };
    let token = LinkToken {
        program: ProgramNo(number(program.clone()).await),
        partner: PartnerNo(number(format!("/v1/partners/{partner_id}")).await),
        link: LinkNo(1),
        expires_on: None,
    };
    let token = token.sign(&app.app().link_keys.issued).unwrap();
    let link = app.base.join(&format!("/r/{token}")).unwrap().to_string();
    app.app().keeper.refresh().await.unwrap();
    let before = app.click(&link).await;
    assert!(click_id_of(&before).is_none(), "{before:?}");

    let path = format!("/v1/applications/{partner_id}/approve");
    let decision = json!({"program_id": scene.program_id, "reason": "good fit"});
    let refused = app.post(&app.finance_key, &path, decision.clone()).await;
    refused.expect_problem(403, "insufficient-scope");
    app.post(&app.manager_key, &path, decision.clone()).await.expect(204);
    app.app().keeper.refresh().await.unwrap();
    app.click_id(&link).await;
    app.post(&app.manager_key, "/v1/links", new).await.expect(201);
    let again = app.post(&app.manager_key, &path, decision).await;
    again.expect_problem(409, "invalid-transition");

    // The program's rule approves at once: webmasters of Austria.
    let rule = json!({"auto_approve_kinds": ["webmaster"], "auto_approve_countries": ["AT"]});
    let policy = format!("{program}/network-policy");
    app.call(&app.admin_key, "PUT", &policy, rule).await.expect(200);
    let mut body = application("Alm", "alm@blog.example");
    body["country"] = json!("AT");
    assert_eq!(apply(&app, &scene.program_id, &body).await, 202);
    assert_eq!(apply(&app, &scene.program_id, &application("D", "d@blog.example")).await, 202);
    let all = app.get(&app.manager_key, &list).await.expect(200);
    let states: Vec<_> = all["data"].as_array().unwrap().iter().map(|a| &a["status"]).collect();
    assert_eq!(states, ["active", "active", "applied"], "{all}");
}

async fn make_partner(app: &TestApp, scene: &Scene, name: &str) -> String {
    let body = json!({"name": name, "kind": "webmaster", "program_id": scene.program_id});
    let partner = app.post(&app.admin_key, "/v1/partners", body).await.expect(201);
    partner["id"].as_str().unwrap().to_owned()
}

/// Ten to twelve visitors a day, so many days ago.
async fn write_visits(app: &TestApp, name: &str, days_ago: std::ops::RangeInclusive<i32>) {
    sqlx::query(
        "insert into click_hours (program_id, hour, partner_id, link_number, class, n_clicks, n_unique)
         select e.program_id, timestamptz '2026-11-22T06:00Z' - n * interval '1 day', e.partner_id,
                1, 0, 10 + n % 3, 10 + n % 3
         from enrollments e
         join partners p on p.partner_id = e.partner_id
         cross join generate_series($2::int, $3::int) n
         where p.name = $1",
    )
    .bind(name)
    .bind(*days_ago.start())
    .bind(*days_ago.end())
    .execute(&mut app.owner().await)
    .await
    .unwrap();
}

#[actix_web::test]
async fn the_decline_report_respects_a_declared_absence() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let names = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "Quiet"];
    let mut quiet = String::new();
    for name in names {
        quiet = make_partner(&app, &scene, name).await;
        write_visits(&app, name, if name == "Quiet" { 21..=200 } else { 1..=200 }).await;
    }
    let report = format!("/v1/reports/activity-decline?program_id={}", scene.program_id);
    let listed = async || {
        let report = app.get(&app.manager_key, &report).await.expect(200);
        let rows = report["rows"].as_array().unwrap().clone();
        rows.iter().map(|r| r["partner_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [quiet.clone()]);

    // Two absences that touch become one.
    let path = format!("/v1/partners/{quiet}/absences");
    let absence = |from: &str, to: &str| json!({"program_id": scene.program_id, "from": from, "to": to, "reason": "season"});
    app.post(&app.manager_key, &path, absence("2026-11-01", "2026-11-10")).await.expect(201);
    let merged = app.post(&app.manager_key, &path, absence("2026-11-11", "2026-11-30")).await;
    let merged = merged.expect(201);
    assert_eq!((&merged["from"], &merged["to"]), (&json!("2026-11-01"), &json!("2026-11-30")));
    let query = format!("{path}?program_id={}", scene.program_id);
    let all = app.get(&app.manager_key, &query).await.expect(200);
    assert_eq!(all["data"], json!([merged]));
    assert_eq!(listed().await, Vec::<String>::new());

    let one = format!("{path}/{}", merged["id"].as_str().unwrap());
    app.call(&app.manager_key, "DELETE", &one, Value::Null).await.expect(204);
    app.call(&app.manager_key, "DELETE", &one, Value::Null).await.expect_problem(404, "not-found");
    assert_eq!(listed().await, [quiet]);
    let backwards = app.post(&app.manager_key, &path, absence("2026-11-10", "2026-11-01")).await;
    backwards.expect_problem(422, "invalid-field");
}

#[actix_web::test]
async fn ranks_follow_results_and_contacts_follow_ranks() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    for name in ["P1", "P2", "P3"] {
        make_partner(&app, &scene, name).await;
        write_visits(&app, name, 1..=200).await;
    }
    let asleep = make_partner(&app, &scene, "Asleep").await;
    write_visits(&app, "Asleep", 70..=200).await;
    app.clock.advance(TimeDelta::days(40));
    write_visits(&app, "P1", -39..=0).await;

    let path = format!("/v1/programs/{}/ranks", scene.program_id);
    let dry = app.post(&app.manager_key, &path, json!({"dry_run": true})).await.expect(200);
    assert_eq!(dry["n_partners"], 5);
    let changes = dry["changes"].as_array().unwrap();
    assert!(changes.iter().any(|c| c["partner_id"] == *asleep && c["to"] == "D"), "{dry}");
    assert!(changes.iter().all(|c| c["why"].as_array().unwrap().len() == 5), "{dry}");
    let done = app.post(&app.manager_key, &path, json!({})).await.expect(200);
    assert_eq!(done["changes"], dry["changes"], "a dry run changes nothing and lies about nothing");
    let again = app.post(&app.manager_key, &path, json!({})).await.expect(200);
    assert_eq!(again["changes"], json!([]));
    assert_eq!(nightly::run_due(&app.app().background_db, app.clock.now()).await.unwrap(), 0);

    // A talk sets the next date by the rank: ninety days for C.
    let talk = json!({"program_id": scene.program_id, "channel": "call", "note": "All is well.",
        "with_whom": "Anna"});
    let path = format!("/v1/partners/{}/interactions", scene.partner_id);
    let rank = json!({"rank": "A"});
    let enrollment = format!("/v1/partners/{}/enrollments/{}", scene.partner_id, scene.program_id);
    app.call(&app.manager_key, "PATCH", &enrollment, rank).await.expect(200);
    app.click(&scene.link).await;
    app.wait_for_count(1, "select count(*) from click_hours where hour > '2027-01-01T00:00Z'")
        .await;
    app.post(&app.manager_key, &path, talk.clone()).await.expect(201);
    let mut ahead = talk.clone();
    ahead["at"] = json!((app.clock.now() + TimeDelta::hours(1)).to_rfc3339());
    app.post(&app.manager_key, &path, ahead).await.expect_problem(422, "invalid-field");
    app.clock.advance(TimeDelta::days(16));
    let due = format!("/v1/partners/contacts-due?program_id={}", scene.program_id);
    let contacts = app.get(&app.manager_key, &due).await.expect(200);
    let first = &contacts["data"][0];
    assert_eq!(first["partner_id"], scene.partner_id.as_str(), "{contacts}");
    assert_eq!((&first["due"], &first["overdue_days"]), (&json!("2027-01-15"), &json!(2)));
    let digest = contacts["digest_only"].as_array().unwrap();
    assert!(digest.iter().any(|c| c["partner_id"] == *asleep), "{contacts}");

    // A pinned rank stays, whatever the results say.
    let pin = json!({"program_id": scene.program_id, "is_rank_pinned": true});
    let network = format!("/v1/partners/{}/network", scene.partner_id);
    app.call(&app.manager_key, "PATCH", &network, pin).await.expect(200);
    assert_eq!(nightly::run_due(&app.app().background_db, app.clock.now()).await.unwrap(), 1);
    let partner = format!("/v1/partners/{}", scene.partner_id);
    let shown = app.get(&app.manager_key, &partner).await.expect(200);
    assert_eq!(shown["enrollments"][0]["rank"], "A");
    assert_eq!(shown["networks"][0]["is_rank_pinned"], true);
}

#[actix_web::test]
async fn a_recruiter_has_no_recruiter() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let (b, c) = (make_partner(&app, &scene, "B").await, make_partner(&app, &scene, "C").await);
    let set = async |child: &str, parent: &str| {
        let body = json!({"program_id": scene.program_id, "parent_partner_id": parent});
        app.call(&app.manager_key, "PATCH", &format!("/v1/partners/{child}/network"), body).await
    };
    let a = scene.partner_id.clone();
    assert_eq!(set(&b, &a).await.expect(200)["parent_partner_id"], a.as_str());
    for (child, parent) in [(&a, &a), (&a, &b), (&c, &b), (&a, &c)] {
        set(child, parent).await.expect_problem(422, "invalid-field");
    }
    set(&c, &a).await.expect(200);
    let shown = app.get(&app.manager_key, &format!("/v1/partners/{a}")).await.expect(200);
    assert_eq!(shown["networks"][0]["n_recruits"], 2);
    // The database holds the rule, whatever the code does.
    let error = sqlx::query(
        "update enrollments e set parent_partner_id = c.partner_id
         from partners a, partners c
         where a.partner_id = e.partner_id and a.name = 'Blog 42' and c.name = 'C'",
    )
    .execute(&mut app.owner().await)
    .await
    .unwrap_err();
    assert_eq!(tributary::db::broken_constraint(&error), Some("enrollments_two_levels"));
}

#[actix_web::test]
async fn a_contest_is_won_by_settled_sales_and_its_board_stays() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let rival = make_partner(&app, &scene, "Rival").await;
    let link = json!({"program_id": scene.program_id, "partner_id": rival});
    let link = app.post(&app.manager_key, "/v1/links", link).await.expect(201);
    app.app().keeper.refresh().await.unwrap();
    let contest = json!({"program_id": scene.program_id, "name": "November", "prize": "A kettle",
        "metric": "biggest_order", "from": "2026-11-01", "to": "2026-11-30"});
    let contest = app.post(&app.manager_key, "/v1/contests", contest).await.expect(201);
    let goal = json!({"program_id": scene.program_id, "metric": "commission", "target": "50.00",
        "from": "2026-11-01", "to": "2026-11-30"});
    let goals = format!("/v1/partners/{rival}/goals");
    app.post(&app.manager_key, &goals, goal).await.expect(201);

    let urls = [scene.link.as_str(), link["url"].as_str().unwrap()];
    for (order_id, amount, url) in [("A", "80.00", 0), ("B", "40.00", 1), ("C", "120.00", 1)] {
        let click_id = Some(app.click_id(urls[url]).await);
        let receipt = app.sale(&scene, &Sale { order_id, amount, click_id }).await;
        assert_eq!(receipt["status"], "settled");
    }
    let board = format!("/v1/contests/{}/leaderboard", contest["id"].as_str().unwrap());
    let places = async || {
        let answer = app.get(&app.manager_key, &board).await.expect(200);
        let data = answer["data"].as_array().unwrap().clone();
        let places: Vec<String> = data
            .iter()
            .map(|p| format!("{} {} {}", p["place"], p["partner_id"], p["figure"]).replace('"', ""))
            .collect();
        (answer["is_final"].as_bool().unwrap(), places)
    };
    let first = vec![format!("1 {rival} 120.00"), format!("2 {} 80.00", scene.partner_id)];
    assert_eq!(places().await, (false, first));
    let query = format!("{goals}?program_id={}", scene.program_id);
    let goal = app.get(&app.manager_key, &query).await.expect(200)["data"][0].clone();
    assert_eq!((&goal["reached"], &goal["percent"]), (&json!("32.00"), &json!(64)));
    assert!(goal["effect_on_pay"].as_str().unwrap().contains("never"), "{goal}");

    let refund = async |order: &str, id: &str| {
        let data = json!({"event": "sale", "order_id": order, "refund_id": id, "currency": "EUR"});
        let answer = app.webhook(&scene, id, "conversion.refunded", data).await.expect(202);
        app.receipt(answer["receipt"].as_str().unwrap()).await
    };
    refund("C", "R1").await;
    let second = vec![format!("1 {} 80.00", scene.partner_id), format!("2 {rival} 40.00")];
    assert_eq!(places().await, (false, second.clone()), "while it runs, a refund counts");

    app.clock.set("2026-12-02T00:00:01Z".parse().unwrap());
    nightly::run_due(&app.app().background_db, app.clock.now()).await.unwrap();
    refund("A", "R2").await;
    assert_eq!(places().await, (true, second), "once frozen, it does not");
}

#[actix_web::test]
async fn belief_is_written_down_and_customers_are_kept() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let rival = make_partner(&app, &scene, "=Rival").await;
    let program_id = scene.program_id.as_str();
    let groups = json!([{"group": "market", "score": 5, "evidence": "knows every cafe"},
        {"group": "finance", "score": 1, "evidence": "new company", "date": "2026-10-01"}]);
    let card = json!({"program_id": program_id, "groups": groups});
    let path = format!("/v1/partners/{rival}/scorecard");
    let card = app.call(&app.manager_key, "PUT", &path, card).await.expect(200);
    assert_eq!(card["declared"], 800, "{card}");
    let query = format!("/v1/partners/longlist?program_id={program_id}&sort=score");
    let list = app.get(&app.manager_key, &query).await.expect(200);
    assert_eq!(list["data"][0]["partner_id"], rival.as_str(), "{list}");
    assert_eq!((&list["data"][0]["score"], &list["data"][1]["score"]), (&json!(800), &json!(500)));
    let csv = app.get(&app.manager_key, &format!("{query}&format=csv&dialect=excel")).await;
    assert!(csv.text().contains("'=Rival"), "{}", csv.text());

    let keep = async |partner: &str| {
        let body = json!({"program_id": program_id, "customer_ref": "customer 7"});
        let path = format!("/v1/partners/{partner}/protected-customers");
        app.post(&app.manager_key, &path, body).await
    };
    keep(&rival).await.expect_problem(409, "invalid-transition");
    let policy = json!({"customer_protection_days": 90});
    let path = format!("/v1/programs/{program_id}/network-policy");
    app.call(&app.admin_key, "PUT", &path, policy).await.expect(200);
    keep(&rival).await.expect(201);
    keep(&scene.partner_id).await.expect_problem(409, "invalid-transition");
    let check = async || {
        let path = format!("/v1/programs/{program_id}/protected-customers/check");
        let body = json!({"customer_ref": "customer 7"});
        app.post(&app.manager_key, &path, body).await.expect(200)
    };
    assert_eq!(check().await["protection"]["partner_id"], rival.as_str());
    app.clock.advance(TimeDelta::days(90));
    assert_eq!(check().await["is_protected"], false);
    keep(&scene.partner_id).await.expect(201);
    assert_eq!(check().await["protection"]["partner_id"], scene.partner_id.as_str());
}

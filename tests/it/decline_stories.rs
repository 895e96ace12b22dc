//! What looks like a decline and is none, and a decline that is the page's and not the partners'.

use chrono::{Days, TimeDelta};
use serde_json::{Value, json};

use crate::decline_cases::{HISTORY_DAYS, Network};

/// Places of partners with a life of their own.
const BURST: usize = 2;
const NEWCOMER: usize = 3;
const STOPPED: usize = 4;
const SLEEPER: usize = 5;

#[actix_web::test]
async fn bursts_newcomers_and_declared_seasons_are_told_from_those_who_stop() {
    let net = Network::start().await;
    let today = net.today();
    let ago = |days: u64| today - Days::new(days);
    net.live(ago(HISTORY_DAYS)..today, |place, day| match place {
        // Robots that no rule knows, three days long; then as ever.
        BURST if (ago(9)..ago(6)).contains(&day) => 1_500,
        // Came three weeks ago and is silent since Tuesday: nobody can tell yet.
        NEWCOMER if day < ago(25) || day >= ago(5) => 0,
        // Came two months ago, and stopped.
        STOPPED if day < ago(70) || day >= ago(12) => 0,
        // A ski school: its season is over, and it said so.
        SLEEPER if day >= ago(20) => 0,
        _ => 100,
    })
    .await;
    let season = json!({"program_id": net.program_id, "from": ago(20), "to": today + Days::new(100),
        "reason": "season"});
    let path = format!("/v1/partners/{}/absences", net.partners[SLEEPER].0);
    net.app.post(&net.app.manager_key, &path, season).await.expect(201);

    // The operator's portal told of logins, twice for one day: the partner went before its clicks.
    let stopped = net.partners[STOPPED].0.clone();
    for (days, n) in [(60, 2), (44, 1), (30, 1), (30, 3), (25, 1)] {
        let path = format!("/v1/partners/{stopped}/logins/{}", ago(days));
        let told = json!({"program_id": net.program_id, "n_logins": n});
        let set = net.app.call(&net.app.manager_key, "PUT", &path, told).await.expect(200);
        assert_eq!(set["n_logins"], n);
    }
    let path = format!("/v1/partners/{stopped}/logins/{}", today + Days::new(1));
    let told = json!({"program_id": net.program_id, "n_logins": 0});
    let refused = net.app.call(&net.app.manager_key, "PUT", &path, told).await;
    let problem = refused.expect_problem(422, "invalid-field");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/day", "/n_logins"], "{problem}");

    assert_eq!(net.run().await, 1);
    let cases = net.list("/v1/cases").await;
    let whose: Vec<&Value> = cases.iter().map(|case| &case["partner_id"]).collect();
    assert_eq!(whose, [&json!(stopped)], "{cases:?}");
    assert_eq!(net.list("/v1/incidents").await, Vec::<Value>::new());
    let path = format!(
        "/v1/reports/activity-decline?program_id={}&from={}&to={today}",
        net.program_id,
        ago(28)
    );
    let report = net.get(&path).await;
    let evidence = report["rows"][0]["evidence"].to_string();
    assert!(evidence.contains("last login 24 days ago"), "{report}");
    assert!(!evidence.contains("so far"), "what never was is no evidence: {evidence}");
}

#[actix_web::test]
async fn partners_whose_page_breaks_are_one_incident_with_its_hour() {
    let net = Network::start().await;
    let today = net.today();
    let (begin, broken) = (today - Days::new(HISTORY_DAYS), today - Days::new(3));
    let fell_at = broken.and_hms_opt(14, 0, 0).unwrap().and_utc();
    let settler = net.app.app().settler();
    for day in begin.iter_days().take_while(|day| *day < today) {
        let mut clicks = Vec::new();
        for (place, (_, partner)) in net.partners.iter().enumerate() {
            // Every third sends its visitors to the sale, by day, a little differently each day.
            let page = (place % 3 == 0).then_some("shop.example/sale");
            let n_clicks = 19
                + u32::try_from(
                    (place as u64 * 7 + u64::from(day.to_epoch_days().unsigned_abs()) * 5) % 5,
                )
                .unwrap();
            for n in 0..n_clicks {
                let minute = i64::from(6 * 60 + n * 40);
                let at = day.and_hms_opt(0, 0, 0).unwrap().and_utc() + TimeDelta::minutes(minute);
                if page.is_none() || at < fell_at {
                    clicks.push(net.click(*partner, at, n, page));
                }
            }
        }
        settler.settle_clicks(&clicks).await.unwrap();
    }
    assert_eq!(net.run().await, 1);
    let incidents = net.list("/v1/incidents").await;
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = &incidents[0];
    assert_eq!(
        (&incident["kind"], &incident["page"], &incident["country"], &incident["n_partners"]),
        (&json!("destination"), &json!("shop.example/sale"), &Value::Null, &json!(8)),
        "{incident}"
    );
    let text = incident["text"].as_str().unwrap();
    assert!(text.contains("lead to shop.example/sale since"), "{text}");
    let began: tributary::clock::Timestamp =
        incident["began_at"].as_str().expect("the hour is known").parse().unwrap();
    assert_eq!(began, fell_at, "{text}");
    assert_eq!(net.list("/v1/cases").await, Vec::<Value>::new());
}

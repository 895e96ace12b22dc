//! Exactly once: whatever is repeated, reordered, poisoned or torn, the figures are the same.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tributary::stream::{PackedBatch, unpack};

use crate::harness::{Sale, Scene, TestApp};

/// What every order came to: who reads this as a shop or as a partner reads the same.
const NET: &str = "select c.dedup_ref || ': ' || c.amount_minor || ' ' || c.refunded_minor || ' '
        || coalesce((select sum(m.amount_minor) from commissions m
                     where m.conversion_id = c.conversion_id
                       and m.state not in ('rejected', 'reversed')), 0)::text
    from conversions c
    order by c.dedup_ref";
/// What the ledger says of every account; the ids in its path differ from run to run.
const BALANCES: &str = "select split_part(a.path, ':', 1) || ' ' || a.currency || ' '
        || reverse(split_part(reverse(a.path), ':', 1)) || ' ' || b.balance_minor
    from ledger_balances b
    join ledger_accounts a on a.account_id = b.account_id
    where a.path like 'liability%'
    order by 1";
const MESSAGES: &str = "select count(*) from webhook_messages";

fn order<'a>(order_id: &'a str, click_id: &str) -> Sale<'a> {
    Sale { order_id, amount: "100.00", click_id: Some(click_id.to_owned()) }
}

fn refund(order_id: &str, refund_id: &str, amount: &str) -> Value {
    json!({"event": "sale", "order_id": order_id, "refund_id": refund_id,
        "refund_amount": amount, "currency": "EUR"})
}

fn approve(order_id: &str) -> Value {
    json!({"event": "sale", "order_id": order_id})
}

#[actix_web::test]
async fn a_hundred_equal_messages_at_once_are_one_commission() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let data = order("A", &click_id).data();
    let created = "conversion.created";
    // Half of them under one id, as a sender repeats; half under their own, as two senders would.
    let ids: Vec<String> = (0..100).map(|n| format!("m{}", n % 51)).collect();
    let sending = ids.iter().map(|id| app.webhook(&scene, id, created, data.clone()));
    let answers = join_all(sending).await;
    for answer in &answers {
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
    }
    app.settle(&scene).await;
    assert_eq!(app.count("select count(*) from conversions").await, 1);
    assert_eq!(app.figures(NET).await, ["A: 10000 0 2000"]);
    assert_eq!(app.figures(BALANCES).await, ["liability EUR pending -2000"]);
    // Each receipt given out has its answer.
    for answer in answers.iter().filter(|a| a.status == 202) {
        let told = app.receipt(answer.json()["receipt"].as_str().unwrap()).await;
        assert!(["settled", "duplicate"].contains(&told["status"].as_str().unwrap()), "{told}");
    }
}

/// Sends the messages of one order, each when the one before is settled.
async fn send_in_order(app: &TestApp, scene: &Scene, click_id: &str, id: &str, turns: [usize; 4]) {
    let messages = [
        ("conversion.created", order(id, click_id).data()),
        ("conversion.refunded", refund(id, "R30", "30.00")),
        ("conversion.refunded", refund(id, "R20", "20.00")),
        ("conversion.approved", approve(id)),
    ];
    for turn in turns {
        let (kind, data) = &messages[turn];
        let id = format!("{id}-{turn}");
        app.webhook(scene, &id, kind, data.clone()).await.expect(202);
    }
}

fn permutations() -> Vec<[usize; 4]> {
    let mut all = Vec::new();
    for n in 0..256 {
        let turns = [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6 & 3];
        if (0..4).all(|turn| turns.contains(&turn)) {
            all.push(turns);
        }
    }
    all
}

#[actix_web::test]
async fn any_order_of_arrival_comes_to_the_same() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let all = permutations();
    assert_eq!(all.len(), 24);
    for (n, turns) in all.into_iter().enumerate() {
        send_in_order(&app, &scene, &click_id, &format!("A{n:02}"), turns).await;
        // Some arrive in one batch, some each in their own.
        if n % 2 == 0 {
            app.settle(&scene).await;
        }
    }
    app.settle(&scene).await;
    for (n, line) in app.figures(NET).await.iter().enumerate() {
        assert_eq!(*line, format!("A{n:02}: 10000 5000 1000"));
    }
    let balances = app.figures(BALANCES).await;
    assert_eq!(balances, ["liability EUR payable -24000", "liability EUR pending 0"]);
    let states = "select distinct state from commissions where kind = 'earned'";
    assert_eq!(app.figures(states).await, ["approved"]);
    // What waited has its true verdict now, and nothing waits but the marks that this test set.
    let waiting = "select count(*) from waiting_messages where dedup_ref like 'A%'";
    assert_eq!(app.count(waiting).await, 0);
    let told =
        "select count(*) from webhook_messages where webhook_id like 'A%' and status = 'settled'";
    assert_eq!(app.count(told).await, 96);
}

#[actix_web::test]
async fn what_comes_before_its_conversion_waits_for_it() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let mut update = order("B", &click_id).data();
    update["amount"] = json!("250.00");
    for (id, kind, data) in [
        ("r", "conversion.refunded", refund("A", "R1", "30.00")),
        ("a", "conversion.approved", approve("A")),
        ("u", "conversion.updated", update),
    ] {
        let answer = app.webhook(&scene, id, kind, data).await;
        let told = app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
        assert_eq!(told["status"], "waiting", "{told}");
    }
    assert_eq!(app.count("select count(*) from conversions").await, 0);
    for id in ["A", "B"] {
        app.sale(&scene, &order(id, &click_id)).await;
    }
    assert_eq!(app.figures(NET).await, ["A: 10000 3000 1400", "B: 25000 0 5000"]);
    assert_eq!(
        app.figures(BALANCES).await,
        ["liability EUR payable -1400", "liability EUR pending -5000"]
    );
    assert_eq!(app.count("select count(*) from waiting_messages").await, 0);
}

#[actix_web::test]
async fn of_two_updates_the_later_made_holds_whichever_came_first() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let update = |id: &str, amount: &str| {
        let mut data = order(id, &click_id).data();
        data["amount"] = json!(amount);
        data
    };
    app.sale(&scene, &order("A", &click_id)).await;
    app.sale(&scene, &order("B", &click_id)).await;
    // Made in one second, so the id decides: 2 is later than 1.
    for (order_id, turns) in [("A", ["1", "2"]), ("B", ["2", "1"])] {
        for turn in turns {
            let data = update(order_id, &format!("{turn}00.00"));
            let id = format!("{order_id}{turn}");
            let answer = app.webhook(&scene, &id, "conversion.updated", data).await;
            app.receipt(answer.expect(202)["receipt"].as_str().unwrap()).await;
        }
    }
    assert_eq!(app.figures(NET).await, ["A: 20000 0 4000", "B: 20000 0 4000"]);
}

#[actix_web::test]
async fn one_order_of_two_sources_is_paid_once_unless_their_orders_are_their_own() {
    let app = TestApp::start().await;
    let mut scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let mut sources = Vec::new();
    for namespace in ["", "", "outlet"] {
        let body = json!({"program_id": scene.program_id, "name": "shop",
            "order_namespace": namespace});
        sources.push(app.post(&app.admin_key, "/v1/sources", body).await.expect(201));
    }
    for (n, source) in sources.iter().enumerate() {
        scene.source_id = source["id"].as_str().unwrap().to_owned();
        scene.secret = tributary::conversion::signature::WebhookSecret::parse(
            source["secret"].as_str().unwrap(),
        )
        .unwrap();
        let data = order("A", &click_id).data();
        let answer = app.webhook(&scene, "m1", "conversion.created", data).await;
        assert!([200, 202].contains(&answer.status), "source {n}: {}", answer.text());
        app.settle(&scene).await;
    }
    assert_eq!(app.count("select count(*) from conversions where order_namespace = ''").await, 1);
    assert_eq!(app.figures(NET).await, ["A: 10000 0 2000", "A: 10000 0 2000"]);
}

#[actix_web::test]
async fn poison_in_the_stream_costs_itself_alone() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.sale(&scene, &order("before", &click_id)).await;
    let record = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&[1, kind], &length[..], body].concat()
    };
    let conversion = |report: Value| {
        let body = json!({"v": 1, "conversion": {
            "receipt": uuid::Uuid::now_v7(), "program_id": uuid::Uuid::now_v7(),
            "source_id": uuid::Uuid::now_v7(), "channel": "webhook", "message_id": "m",
            "content_hash": "00".repeat(32), "received_at": "2026-11-22T10:00:00Z",
            "sent_at": "2026-11-22T10:00:00Z", "trust": "signed", "report": report}});
        record(2, body.to_string().as_bytes())
    };
    let report = |metadata: Value| {
        json!({"v": 1, "type": "conversion.created", "event": "sale", "order_id": "A-1",
            "click_id": null, "currency": "EUR", "amount_minor": 14990, "tax_minor": null,
            "shipping_minor": null, "discount_minor": null, "coupon_code": null,
            "customer_hash": null, "occurred_at": "2026-11-22T10:15:04Z", "refund_id": null,
            "refund_minor": null, "reason": null, "is_test": false, "metadata": metadata})
    };
    let mut unheard = report(json!({}));
    unheard["type"] = json!("conversion.imagined");
    let mut newer = report(json!({}));
    newer["v"] = json!(99);
    let mut priceless = report(json!({}));
    priceless["currency"] = Value::Null;
    let poison: Vec<Vec<u8>> = vec![
        b"garbage".to_vec(),
        Vec::new(),
        vec![99, 1, 2, 3],
        record(77, b"what"),
        record(1, b"no click"),
        record(2, b"not json"),
        record(2, br#"{"v":9,"conversion":{}}"#),
        record(2, br#"{"v":1,"conversion":{"receipt":"x"}}"#),
        record(2, b"[1,2,3]"),
        vec![1, 2, 255, 255, 255, 255],
        conversion(json!({})),
        conversion(unheard),
        conversion(newer),
        conversion(priceless),
    ];
    for bytes in &poison {
        app.append_bytes(bytes).await;
    }
    // A field of another name is poison too, and a good record beside a bad one is settled.
    let [events, _] = app.stream_keys();
    let mut command = redis::cmd("XADD");
    command.arg(events).arg("*").arg("other").arg("field");
    let _: String = command.query_async(&mut app.redis().await).await.unwrap();
    app.sale(&scene, &order("after", &click_id)).await;

    let n = i64::try_from(poison.len()).unwrap() + 1;
    app.expect_dead_letters(n);
    assert_eq!(app.count("select count(*) from dead_letters").await, n);
    assert_eq!(app.count("select count(*) from dead_letters where error = ''").await, 0);
    assert_eq!(app.figures(NET).await, ["after: 10000 0 2000", "before: 10000 0 2000"]);
}

/// An entry as `XRANGE` answers: its id, and its fields with their bytes.
type StreamEntry = (String, Vec<(String, Vec<u8>)>);

#[actix_web::test]
async fn a_good_event_beside_a_bad_one_is_settled() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.sale(&scene, &order("A", &click_id)).await;
    // The same record again, of another order and message, between two bad ones.
    let [events, _] = app.stream_keys();
    let entries: Vec<StreamEntry> = redis::cmd("XRANGE")
        .arg(events)
        .arg("-")
        .arg("+")
        .query_async(&mut app.redis().await)
        .await
        .unwrap();
    let known = entries
        .iter()
        .flat_map(|(_, fields)| unpack(&fields[0].1).collect::<Vec<_>>())
        .find_map(|event| match event {
            Ok(tributary::stream::StreamEvent::Conversion(record)) => Some(record),
            Ok(
                tributary::stream::StreamEvent::Click(_)
                | tributary::stream::StreamEvent::Parked(_),
            )
            | Err(_) => None,
        })
        .unwrap();
    let mut good = known.clone();
    good.receipt = uuid::Uuid::now_v7();
    good.message_id = "good".to_owned();
    good.report["order_id"] = json!("B");
    let mut distrusted = known.clone();
    distrusted.trust = "imagined".to_owned();
    // PostgreSQL refuses this one for its content: only its own transaction tells.
    let mut refused = good.clone();
    refused.receipt = uuid::Uuid::now_v7();
    refused.message_id = "refused".to_owned();
    refused.report["order_id"] = json!("C");
    refused.report["metadata"] = json!({"a": "\u{0}"});
    let mut batch = PackedBatch::new();
    for record in [&distrusted, &good, &refused] {
        batch.push_conversion(record);
    }
    app.append_bytes(batch.as_bytes()).await;
    app.settle(&scene).await;
    app.expect_dead_letters(2);
    assert_eq!(app.count("select count(*) from dead_letters").await, 2);
    assert_eq!(app.figures(NET).await, ["A: 10000 0 2000", "B: 10000 0 2000"]);
}

/// Some of everything: sales, a refund, a duplicate, something that waits.
async fn some_business(app: &TestApp, scene: &Scene) {
    let click_id = app.click_id(&scene.link).await;
    for id in ["A", "B", "C"] {
        app.sale(scene, &order(id, &click_id)).await;
    }
    let refund_a = refund("A", "R1", "30.00");
    app.webhook(scene, "r1", "conversion.refunded", refund_a.clone()).await.expect(202);
    app.webhook(scene, "r1b", "conversion.refunded", refund_a).await.expect(202);
    app.webhook(scene, "ap", "conversion.approved", approve("B")).await.expect(202);
    app.webhook(scene, "w", "conversion.approved", approve("later")).await.expect(202);
    app.settle(scene).await;
}

#[actix_web::test]
async fn reading_the_whole_stream_again_changes_no_figure() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    some_business(&app, &scene).await;
    let (rows, net, balances) =
        (app.rows().await, app.figures(NET).await, app.figures(BALANCES).await);
    let settled = app.count("select sum(n_settled)::bigint from stream_offsets").await;
    sqlx::query("update stream_offsets set ms = 0, seq = 0")
        .execute(&mut app.owner().await)
        .await
        .unwrap();
    app.wait_for_count(2, "select (sum(n_settled) / 10)::bigint from stream_offsets").await;
    assert_eq!(app.count("select sum(n_settled)::bigint from stream_offsets").await, 2 * settled);
    assert_eq!(app.rows().await, rows);
    assert_eq!(app.figures(NET).await, net);
    assert_eq!(app.figures(BALANCES).await, balances);
}

#[actix_web::test]
async fn a_stream_that_was_lost_is_noticed_and_gone_on_with() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    some_business(&app, &scene).await;
    let (net, balances) = (app.figures(NET).await, app.figures(BALANCES).await);
    let keys = app.stream_keys();
    let _: i64 = redis::cmd("DEL").arg(&keys).query_async(&mut app.redis().await).await.unwrap();
    // The new life of the stream has a position of its own, from its start.
    let data = order("A", "x").data();
    app.webhook_anew(&scene, "m-again", "conversion.created", data)
        .await
        .expect_problem(409, "conversion-conflict");
    app.settle(&scene).await;
    // It is looked for every few seconds; what was read meanwhile is read again.
    app.wait_for_count(2, "select count(*) from stream_offsets").await;
    assert_eq!(app.figures(NET).await, net);
    assert_eq!(app.figures(BALANCES).await, balances);

    // Set back without a new name: its new entries lie before the position that was kept.
    sqlx::query("update stream_offsets set ms = ms + 1000000000")
        .execute(&mut app.owner().await)
        .await
        .unwrap();
    let click_id = app.click_id(&scene.link).await;
    app.sale(&scene, &order("D", &click_id)).await;
    assert_eq!(app.figures(NET).await.last().unwrap(), "D: 10000 0 2000");
}

#[actix_web::test]
async fn torn_connections_to_redis_lose_and_double_nothing() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let (n_cuts, n_sales) = (50, 100);
    let cutting = async {
        for _ in 0..n_cuts {
            app.cut_redis();
            tokio::time::sleep(Duration::from_millis(5)).await;
            app.restore_all();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let selling = async {
        for n in 0..n_sales {
            let id = format!("S{n:03}");
            let sale = order(&id, &click_id);
            let answer = app.webhook(&scene, &id, "conversion.created", sale.data()).await;
            assert!([200, 202].contains(&answer.status), "{}", answer.text());
            app.click_id(&scene.link).await;
        }
    };
    tokio::join!(cutting, selling);
    app.wait_for_count(n_sales, "select count(*) from conversions").await;
    app.wait_for_count(n_sales + 1, "select count(*) from clicks").await;
    assert_eq!(app.count("select count(*) from commissions").await, n_sales);
    assert_eq!(app.count(MESSAGES).await, n_sales);
    let balance = format!("liability EUR pending -{}", 2000 * n_sales);
    assert_eq!(app.figures(BALANCES).await, [balance]);
    assert_eq!(app.app().log.state().spool_events, 0);
}

#[actix_web::test]
async fn what_was_spooled_is_settled_after_a_new_start() {
    let mut app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.cut_redis();
    for id in ["A", "B"] {
        let data = order(id, &click_id).data();
        app.webhook(&scene, id, "conversion.created", data).await.expect(202);
    }
    app.click_id(&scene.link).await;
    app.stop().await;
    assert_eq!(app.count("select count(*) from conversions").await, 0);
    app.restore_all();
    app.start_again().await;
    app.wait_for_count(2, "select count(*) from commissions").await;
    app.wait_for_count(2, "select count(*) from clicks").await;
    let again =
        app.webhook_again(&scene, "A", "conversion.created", order("A", &click_id).data()).await;
    assert_eq!(again.expect(200)["status"], "duplicate");
    assert_eq!(app.figures(NET).await, ["A: 10000 0 2000", "B: 10000 0 2000"]);
}

//! Conversions go into PostgreSQL by copy or by insert: what stands there afterwards is the same.

use futures_util::future::join;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::Connection as _;
use tributary::commission::hold::Trust;
use tributary::conversion::webhook::read_report;
use tributary::ids::ReceiptId;
use tributary::settlement::Message;
use tributary::settlement::record::record;
use tributary::settlement::settler::Settler;
use tributary::stream::PackedBatch;

use crate::harness::{Scene, TestApp};

/// A batch above the size from which rows are copied, and decided in pieces, and one below.
const MANY: usize = 900;
const FEW: usize = 80;

/// Orders of a batch above the size from which a program is locked as a whole.
const VERY_MANY: usize = 2_100;

/// Who waits for such a lock.
const WAITING: &str = "select count(*) from pg_locks l
    join pg_database d on d.oid = l.database and d.datname = current_database()
    where l.locktype = 'advisory' and not l.granted";

/// Rows without what differs between two orders of the same content.
const CONVERSIONS: &str =
    "select concat_ws('|', substr(c.dedup_ref, 5), c.order_namespace, c.event,
        c.channel, c.trust, c.click_id, c.partner_id, c.link_number, c.click_at, c.attribution,
        c.amount_minor, c.base_minor, c.currency, c.coupon_code, c.customer_hash, c.is_test,
        c.occurred_at, c.received_at, c.details - 'order_id', c.candidates, c.path,
        c.refunded_minor, c.order_id is null, c.partner_id is null)
    from conversions c
    where c.dedup_ref like $1 || '%' order by 1";
const COMMISSIONS: &str =
    "select concat_ws('|', substr(c.dedup_ref, 5), m.kind, m.state, m.partner_id,
        m.corrects_id, m.cause, m.amount_minor, m.currency, m.plan_version_id, m.calculation,
        m.occurred_at, m.hold_until, m.approval, m.created_at, m.approved_at, m.reason, m.payout_id,
        m.revision)
    from commissions m join conversions c using (program_id, conversion_id)
    where c.dedup_ref like $1 || '%' order by 1";

const BOOK: &str =
    "select concat_ws('|', substr(c.dedup_ref, 5), h.revision, h.from_state, h.to_state,
        h.at, h.actor, h.rule, h.reason, t.code, t.currency, t.reverses_id, t.effective_at,
        t.recorded_at, split_part(t.reference, ':', 1), e.line, e.account_id, e.amount_minor,
        e.currency, e.code, e.effective_at, e.recorded_at, e.sequence - t.sequence)
    from commission_steps h
    join commissions m using (program_id, commission_id)
    join conversions c using (program_id, conversion_id)
    join ledger_transactions t using (program_id, ledger_transaction_id)
    join ledger_entries e using (program_id, ledger_transaction_id)
    where c.dedup_ref like $1 || '%' order by 1";
const VERDICTS: &str =
    "select concat_ws('|', split_part(substr(m.webhook_id, 5), '#', 1), m.source_id, m.status, m.reason,
        length(m.content_hash), m.received_at, m.settled_at, m.receipt_id = c.receipt_id,
        m.conversion_id = c.conversion_id)
    from webhook_messages m left join conversions c using (program_id, conversion_id)
    where m.webhook_id like $1 || '%' order by 1";

/// What a shop reports about order `n`, with texts that an encoder could trip over.
fn order(prefix: &str, n: usize, click_id: &str) -> Value {
    let event = if n.is_multiple_of(6) { "lead" } else { "sale" };
    let mut data = json!({"event": event, "order_id": format!("{prefix}-{n}"),
        "amount": format!("{}.{:02}", 10 + n, n % 100), "currency": "EUR",
        "test": n.is_multiple_of(17), "metadata": {"note": "один\t\\N \"x\"", "n": n}});
    if !n.is_multiple_of(5) {
        data["click_id"] = json!(click_id);
    }
    if n.is_multiple_of(3) {
        data["customer_ref"] = json!(format!("customer {}", n % 9));
    }
    if n.is_multiple_of(4) {
        data["coupon_code"] = json!("НЕТ-ТАКОГО");
        data["tax"] = json!("1.50");
    }
    data
}

fn messages(app: &TestApp, scene: &Scene, prefix: &str, click_id: &str) -> Vec<Message> {
    (0..MANY).map(|n| message(app, scene, prefix, click_id, n)).collect()
}

fn message(app: &TestApp, scene: &Scene, prefix: &str, click_id: &str, n: usize) -> Message {
    let id = format!("{prefix}-{n}");
    say(app, scene, "conversion.created", id, order(prefix, n, click_id))
}

/// A message that takes a part of order `n` back.
fn refund(app: &TestApp, scene: &Scene, prefix: &str, n: usize) -> Message {
    let event = order(prefix, n, "")["event"].clone();
    let data = json!({"event": event, "order_id": format!("{prefix}-{n}"),
        "refund_id": "back", "refund_amount": "5.00", "currency": "EUR"});
    say(app, scene, "conversion.refunded", format!("{prefix}-{n}-back"), data)
}

fn say(app: &TestApp, scene: &Scene, what: &str, id: String, data: Value) -> Message {
    let now = app.clock.now();
    let body = json!({"type": what, "timestamp": now, "data": data});
    let report =
        read_report(serde_json::from_value(body.clone()).unwrap(), &app.app().customer_key, now);
    Message {
        receipt_id: ReceiptId::new(),
        program_id: scene.program_id.parse().unwrap(),
        source_id: scene.source_id.parse().unwrap(),
        channel: "webhook".to_owned(),
        message_id: id,
        body_hash: Sha256::digest(body.to_string()).into(),
        received_at: now,
        sent_at: now,
        trust: Trust::Signed,
        report: report.unwrap(),
    }
}

/// The same order as another message of the same source.
fn again(message: &Message) -> Message {
    let message_id = format!("{}-again", message.message_id);
    Message { receipt_id: ReceiptId::new(), message_id, ..message.clone() }
}

async fn rows(app: &TestApp, sql: &'static str, prefix: &str) -> Vec<String> {
    sqlx::query_scalar(sql).bind(prefix).fetch_all(&mut app.owner().await).await.unwrap()
}

#[actix_web::test]
async fn copy_and_insert_leave_the_same_rows() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let settler = app.app().settler();
    settler.settle_messages(messages(&app, &scene, "copy", &click_id)).await.unwrap();
    for few in messages(&app, &scene, "each", &click_id).chunks(FEW) {
        settler.settle_messages(few.to_vec()).await.unwrap();
    }
    let copied = rows(&app, CONVERSIONS, "copy").await;
    assert_eq!(copied.len(), MANY);
    assert_eq!(copied, rows(&app, CONVERSIONS, "each").await);
    let copied = rows(&app, COMMISSIONS, "copy").await;
    assert!(copied.len() > FEW, "{} commissions", copied.len());
    assert_eq!(copied, rows(&app, COMMISSIONS, "each").await);
    let copied = rows(&app, BOOK, "copy").await;
    assert!(copied.len() > 2 * FEW, "{} entries", copied.len());
    assert_eq!(copied, rows(&app, BOOK, "each").await);
    let copied = rows(&app, VERDICTS, "copy").await;
    assert_eq!(copied.len(), MANY);
    assert_eq!(copied, rows(&app, VERDICTS, "each").await);
}

/// A message of another order under the same id.
fn other_under_its_id(app: &TestApp, scene: &Scene, message: &Message, n: usize) -> Message {
    let prefix = format!("{}-other", message.message_id.split('-').next().unwrap());
    let other = order(&prefix, n, "none");
    say(app, scene, "conversion.created", message.message_id.clone(), other)
}

#[actix_web::test]
async fn what_was_taken_for_new_and_is_not_is_found_out() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let settler = app.app().settler();
    // What was settled before comes again: read twice, sent twice, and under ids that are taken.
    let story = |prefix: &str| {
        let all = messages(&app, &scene, prefix, &click_id);
        let known = all[..FEW].to_vec();
        let mut then = all[FEW..].to_vec();
        then.splice(20..20, known[..20].iter().cloned());
        then.splice(400..400, known[20..40].iter().map(again));
        let others = (40..FEW).map(|n| other_under_its_id(&app, &scene, &known[n], n));
        then.extend(others);
        (known, then)
    };
    let (known, then) = story("once");
    settler.settle_messages(known).await.unwrap();
    settler.settle_messages(then).await.unwrap();
    let (known, then) = story("each");
    for few in [known, then].concat().chunks(FEW) {
        settler.settle_messages(few.to_vec()).await.unwrap();
    }
    for sql in [CONVERSIONS, COMMISSIONS, BOOK, VERDICTS] {
        assert_eq!(rows(&app, sql, "once").await, rows(&app, sql, "each").await);
    }
    assert_eq!(app.count("select count(*) from conversions").await, 2 * MANY as i64);
    let told = async |status: &str| {
        let sql = "select count(*) from webhook_messages where status = $1";
        let counting = sqlx::query_scalar::<_, i64>(sql).bind(status);
        counting.fetch_one(&mut app.owner().await).await.unwrap()
    };
    assert_eq!((told("settled").await, told("duplicate").await), (2 * MANY as i64, 40));
    assert_eq!(told("conflict").await, 2 * (FEW as i64 - 40));
}

#[actix_web::test]
async fn a_shop_that_repeats_itself_after_a_while_is_paid_once() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let append = async |messages: &[Message]| {
        let mut batch = PackedBatch::new();
        messages.iter().for_each(|message| batch.push_conversion(&record(message)));
        app.append_bytes(&batch.into_bytes()).await;
    };
    let all = messages(&app, &scene, "long", &click_id);
    let conversions = "select count(*) from conversions";
    // So many batches of new orders that the next is taken for new.
    for n in 0..10 {
        append(&all[n..=n]).await;
        app.wait_for_count(n as i64 + 1, conversions).await;
    }
    let mut then: Vec<Message> = all[10..500].to_vec();
    then.extend(all[..10].iter().map(again));
    append(&then).await;
    app.wait_for_count(500, conversions).await;
    append(&then).await;
    append(&all[500..]).await;
    app.wait_for_count(MANY as i64, conversions).await;
    let duplicates = "select count(*) from webhook_messages where status = 'duplicate'";
    assert_eq!(app.count(duplicates).await, 10);
    assert_eq!(app.count("select count(*) from webhook_messages").await, MANY as i64 + 10);
}

/// Sales that a click earned a commission with.
const EARLY: usize = 1;
const LATE: usize = MANY - 2;

#[actix_web::test]
async fn what_one_piece_of_a_batch_wrote_another_changes() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let settler = app.app().settler();
    // One refund comes before its order and waits for it, the other long after.
    let story = |prefix: &str| {
        let mut all = messages(&app, &scene, prefix, &click_id);
        all.insert(0, refund(&app, &scene, prefix, LATE));
        all.push(refund(&app, &scene, prefix, EARLY));
        all
    };
    settler.settle_messages(story("once")).await.unwrap();
    for few in story("each").chunks(FEW) {
        settler.settle_messages(few.to_vec()).await.unwrap();
    }
    for sql in [CONVERSIONS, COMMISSIONS, BOOK, VERDICTS] {
        assert_eq!(rows(&app, sql, "once").await, rows(&app, sql, "each").await);
    }
    let refunded = "select count(*) from conversions where refunded_minor = 500";
    assert_eq!(app.count(refunded).await, 4);
    assert_eq!(app.count("select count(*) from commissions where revision = 2").await, 4);
    assert_eq!(app.count("select count(*) from waiting_messages").await, 0);
}

#[actix_web::test]
async fn a_batch_of_more_orders_than_locks_meets_another_one() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let settler = app.app().settler();
    let many: Vec<Message> =
        (0..VERY_MANY).map(|n| message(&app, &scene, "many", &click_id, n)).collect();
    let same: Vec<Message> = many.iter().step_by(50).map(again).collect();
    let n_same = same.len();
    let (all, some) = join(settler.settle_messages(many), settler.settle_messages(same)).await;
    all.unwrap();
    some.unwrap();
    assert_eq!(rows(&app, CONVERSIONS, "many").await.len(), VERY_MANY);
    let told =
        rows(&app, "select status from webhook_messages where webhook_id like $1 || '%'", "many");
    let told = told.await;
    assert_eq!(told.iter().filter(|status| *status == "duplicate").count(), n_same);
    assert_eq!(told.len(), VERY_MANY + n_same);
}

#[actix_web::test]
async fn a_batch_waits_for_one_that_has_locked_what_it_needs_of_the_program() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    let settler = app.app().settler();
    let beside = Settler { n_shards: 2, ..settler.clone() };
    // As a batch of very many orders locks it, and as one of few does.
    let whole = "select pg_advisory_xact_lock(hashtextextended($1, 0))";
    let shared = "select pg_advisory_xact_lock_shared(hashtextextended($1, 0))";
    for (lock, settler, prefix, n) in [
        (whole, &settler, "one", 1),
        (shared, &settler, "alone", MANY),
        (whole, &beside, "some", MANY),
        (shared, &beside, "all", VERY_MANY),
    ] {
        let mut db = app.owner().await;
        let mut other = db.begin().await.unwrap();
        sqlx::query(lock).bind(&scene.program_id).execute(&mut *other).await.unwrap();
        let batch = (0..n).map(|n| message(&app, &scene, prefix, &click_id, n)).collect();
        let meeting = async {
            app.wait_for_count(1, WAITING).await;
            other.rollback().await.unwrap();
        };
        let (settled, ()) = join(settler.settle_messages(batch), meeting).await;
        settled.unwrap();
        assert_eq!(rows(&app, CONVERSIONS, prefix).await.len(), n);
    }
    // Some hundred orders are no reason to wait for others where several shards are settled.
    let mut db = app.owner().await;
    let mut other = db.begin().await.unwrap();
    sqlx::query(shared).bind(&scene.program_id).execute(&mut *other).await.unwrap();
    beside.settle_messages(messages(&app, &scene, "both", &click_id)).await.unwrap();
    assert_eq!(rows(&app, CONVERSIONS, "both").await.len(), MANY);
    other.rollback().await.unwrap();
}

//! Each line that somebody takes out of the audit log, and each change past it, is named.

use sqlx::{Connection as _, Executor as _, PgConnection};
use tributary::audit::run::{self, Ask};
use tributary::audit::{Judged, REGISTRY, Reach};

use super::busy;
use crate::harness::TestApp;

/// Lines that the scene has, each with what the object of its line begins with.
const TAKEN_OUT: &[(&str, &str)] = &[
    ("plan.create", "pl_"),
    ("attribution_policy.publish", "ap_"),
    ("adjustment.create", "aj_"),
    ("payout_batch.create", "pb_"),
    ("payout_batch.approve", "pb_"),
    ("payout_batch.cancel", "pb_"),
    ("payout_batch.export", "pb_"),
    ("payout.mark_paid", "po_"),
    ("period.close", "2025-01"),
    ("coupon.create", "co_"),
    ("claim.make", "pt_"),
    ("payout_method.set", "pt_"),
    ("tax_profile.set", "pt_"),
    ("api_key.create", "ak_"),
];

/// What somebody does past the service, and what the object of the line begins with that is missing.
const DONE_PAST_IT: &[(&str, &str)] = &[
    ("update api_keys set revoked_at = now() where role = 'approver'", "ak_"),
    (
        "insert into api_keys select gen_random_uuid(), user_id, name, 'admin', null, sha256('x'),
             'trbk_x', created_at, null, null, null from api_keys where role = 'manager'",
        "ak_",
    ),
    // The bank sent it back, and nobody said so.
    ("update payouts set status = 'returned' where status = 'paid'", "po_"),
    ("update payouts set receipt_no = 'X' where status = 'paid'", "po_"),
    // A file that speaks of the payout, so that the line by hand is one too many.
    (
        "insert into payout_imports
         select program_id, payout_batch_id, sha256('x'), 'csv',
                jsonb_build_array(jsonb_build_object(
                    'line', 1, 'payout_id', replace(typed_id('po', payout_id), '_', '-'),
                    'verdict', 'paid', 'detail', 'x')),
                gen_random_uuid(), now()
         from payouts where status = 'paid'",
        "p",
    ),
    (
        "with gone as (delete from audit_log where action = 'claim.accept')
         update claims set decided_by = 'user:us_x', decided_at = coalesce(decided_at, now())",
        "cl_",
    ),
    (
        "insert into parked_messages
         select program_id, gen_random_uuid(), source_id, 'x', 'x', '{}', now(), 'discarded',
                'user:us_x', now(), 'x' from sources",
        "pk_",
    ),
    (
        "insert into case_contacts
         select program_id, gen_random_uuid(), gen_random_uuid(), now(), 'user:us_x', 'call', 'x'
         from programs",
        "ca_",
    ),
    (
        "insert into fx_rates
         select program_id, 'USD', 'EUR', now(), 900000000, 'x', gen_random_uuid(), now()
         from programs",
        "pg_",
    ),
    (
        "insert into payer_accounts
         select program_id, 'main', 'sepa', '', 'x', gen_random_uuid(), now() from programs",
        "pg_",
    ),
    (
        "insert into payout_minimums
         select program_id, null, 'EUR', '2025-01-01', 1, gen_random_uuid(), now() from programs",
        "pg_",
    ),
    (
        "insert into interactions
         select program_id, gen_random_uuid(), partner_id, now(), 'call', null, 'x', null, null,
                'user:us_x' from enrollments",
        "pt_",
    ),
    (
        "insert into scorecards
         select program_id, partner_id, 'audience', 3, 'x', '2025-01-01', 'user:us_x'
         from enrollments",
        "pt_",
    ),
    (
        "insert into applications
         select program_id, partner_id, 'a@b.example', null, null, 'x', now(), now(), 'user:us_x', 'x'
         from enrollments",
        "pt_",
    ),
    ("update dead_letters set replayed_at = now(), replayed_by = 'user:us_x'", "dl_"),
];

async fn judge(app: &TestApp, db: &mut PgConnection) -> Judged {
    let invariants = REGISTRY.iter().filter(|one| one.name == "audit_log").collect();
    let ask = Ask { invariants, program: None, first: 3, now: app.clock.now(), reach: Reach::All };
    run::run(db, &ask, &app.app().beside_audit(), &mut |_, _| ()).await.unwrap().remove(0)
}

#[actix_web::test]
async fn what_a_person_did_and_the_log_does_not_say_is_named() {
    let (app, _) = busy().await;
    let mut findings = Vec::new();
    let taken_out = TAKEN_OUT.iter().map(|(action, object)| {
        (format!("delete from audit_log where action = '{action}'"), *object)
    });
    let past_it = DONE_PAST_IT.iter().map(|(sql, object)| ((*sql).to_owned(), *object));
    for (sql, object) in taken_out.chain(past_it) {
        let mut db = app.owner().await;
        let mut tx = db.begin().await.unwrap();
        tx.execute("set local session_replication_role = replica").await.unwrap();
        let done = tx.execute(sqlx::AssertSqlSafe(sql.clone())).await;
        let n_rows = done.unwrap_or_else(|e| panic!("{sql}: {e}")).rows_affected();
        let judged = judge(&app, &mut tx).await;
        let named =
            judged.first.iter().map(|one| one.figures["object"].as_str().unwrap_or_default());
        let is_named = named.clone().all(|name| name.starts_with(object)) && judged.n_broken > 0;
        if n_rows == 0 || !is_named {
            findings.push(format!("{sql}: {n_rows} rows, {judged:?}"));
        }
        tx.rollback().await.unwrap();
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

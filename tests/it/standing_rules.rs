//! Rules that the database holds whatever the code does.

use crate::harness::{Sale, TestApp};

#[actix_web::test]
async fn what_rows_name_is_there_and_stays() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = Some(app.click_id(&scene.link).await);
    app.sale(&scene, &Sale { order_id: "A", amount: "100.00", click_id }).await;
    let before = app.rows().await;
    let mut owner = app.owner().await;
    for (sql, constraint) in [
        (
            "insert into conversions
             select (c).* from (select jsonb_populate_record(v, jsonb_build_object(
                 'program_id', gen_random_uuid())) c from conversions v) x",
            Some("conversions_program"),
        ),
        (
            "insert into commissions
             select (c).* from (select jsonb_populate_record(m, jsonb_build_object(
                 'commission_id', gen_random_uuid(), 'conversion_id', gen_random_uuid())) c
             from commissions m) x",
            Some("commissions_conversion"),
        ),
        (
            "insert into commissions
             select (c).* from (select jsonb_populate_record(m, jsonb_build_object(
                 'commission_id', gen_random_uuid(), 'partner_id', gen_random_uuid())) c
             from commissions m) x",
            Some("commissions_enrollment"),
        ),
        (
            "insert into commissions
             select (c).* from (select jsonb_populate_record(m, jsonb_build_object(
                 'commission_id', gen_random_uuid(), 'cause', 'x',
                 'plan_version_id', gen_random_uuid())) c
             from commissions m) x",
            Some("commissions_plan"),
        ),
        (
            "insert into commission_history (program_id, commission_id, revision, from_state,
                                             to_state, at, actor, rule)
             select program_id, gen_random_uuid(), 2, 'pending', 'on_hold', now(), 'x', 'x'
             from programs",
            Some("commission_history_commission"),
        ),
        (
            "insert into ledger_entries (program_id, ledger_transaction_id, line, account_id,
                                         amount_minor, currency)
             select t.program_id, t.ledger_transaction_id, 90 + n, gen_random_uuid(), 2 * n - 3,
                    t.currency
             from ledger_transactions t, generate_series(1, 2) n",
            None,
        ),
        ("delete from conversions", Some("commissions_conversion")),
        ("delete from commissions", Some("commissions_stay")),
        ("delete from plan_versions", Some("commissions_plan")),
        ("delete from enrollments", None),
        ("delete from programs", None),
        ("delete from ledger_accounts", None),
        ("update conversions set conversion_id = gen_random_uuid()", None),
        ("update commissions set partner_id = gen_random_uuid()", None),
        ("update commissions set opened_rule = 'x'", None),
        ("update commissions set created_at = now()", None),
        ("update ledger_accounts set currency = 'USD'", None),
    ] {
        let error = sqlx::query(sql).execute(&mut owner).await.expect_err(sql);
        let error = error.into_database_error().expect(sql);
        assert_eq!(error.code().as_deref(), Some("23503"), "{sql}: {error}");
        if constraint.is_some() {
            assert_eq!(error.constraint(), constraint, "{sql}: {error}");
        }
    }
    assert_eq!(app.rows().await, before);
}

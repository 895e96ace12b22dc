//! The redirect outlives its stores: no visitor notices, no click is lost.

use crate::harness::TestApp;

#[actix_web::test]
async fn every_click_is_redirected_and_settled_once_though_both_stores_were_down() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    app.click_id(&scene.link).await;
    app.cut_redis();
    app.cut_postgres();
    for _ in 0..5 {
        app.click_id(&scene.link).await;
    }
    app.restore_all();
    app.click_id(&scene.link).await;
    app.wait_for_count(7, "select count(*) from clicks").await;
    app.wait_for_count(7, "select coalesce(sum(n_clicks), 0)::bigint from click_hours").await;
}

#[actix_web::test]
async fn a_conversion_is_taken_in_while_both_stores_are_down_and_paid_once() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let click_id = app.click_id(&scene.link).await;
    app.cut_redis();
    app.cut_postgres();
    let sale = crate::harness::Sale { order_id: "A-1", amount: "10.00", click_id: Some(click_id) };
    // Nobody can say that it is known, so both tries are taken in.
    app.webhook(&scene, "m1", "conversion.created", sale.data()).await.expect(202);
    app.webhook(&scene, "m1", "conversion.created", sale.data()).await.expect(202);
    app.restore_all();
    app.wait_for_count(1, "select count(*) from commissions").await;
    app.wait_for_count(2, "select count(*) from webhook_messages").await;
}

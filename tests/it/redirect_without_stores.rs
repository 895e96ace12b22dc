//! The redirect outlives its stores: no visitor notices, no click is lost.

use chrono::TimeDelta;

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
async fn hours_without_stores_and_a_clock_that_jumps_cost_no_click() {
    let app = TestApp::start().await;
    let scene = app.scene().await;
    let mut n_clicks = 0;
    for is_redis_away in [false, true] {
        app.cut_postgres();
        if is_redis_away {
            app.cut_redis();
        }
        // Six hours pass, somebody sets the clock back by two days, and somebody else ahead again.
        for hours in [1, 1, 1, 1, 1, 1, -48, 72, -24] {
            app.clock.advance(TimeDelta::hours(hours));
            app.click_id(&scene.link).await;
            app.click_id(&scene.link).await;
            n_clicks += 2;
        }
        app.restore_all();
        app.click_id(&scene.link).await;
        n_clicks += 1;
        app.wait_for_count(n_clicks, "select count(*) from clicks").await;
        app.wait_for_count(n_clicks, "select coalesce(sum(n_clicks), 0)::bigint from click_hours")
            .await;
        let days = "select count(distinct day) from clicks";
        assert!(app.count(days).await >= 3, "each click keeps the time at which it came");
    }
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

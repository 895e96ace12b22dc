//! A year of business, told day by day: whatever happened, every month and currency reconciles.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Duration};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tributary::clock::Timestamp;
use tributary::commission::timer;

use crate::harness::{Scene, TestApp};

const SEED: u64 = 20_261_127;
const CURRENCIES: [&str; 2] = ["EUR", "USD"];

struct Business {
    app: TestApp,
    scene: Scene,
    clicks: Vec<String>,
    orders: Vec<(String, &'static str, u32)>,
    rng: StdRng,
    n: u32,
}

#[actix_web::test]
async fn a_year_of_random_business_reconciles_in_every_month_and_currency() {
    let app = TestApp::start().await;
    app.clock.set("2026-01-01T09:00:00Z".parse().unwrap());
    let scene = app
        .scene_with(json!({"v": 1, "hold_days": 14,
            "rules": [{"event": "sale", "kind": "percent", "percent_bps": 1250}]}))
        .await;
    // A click of the first day counts all year.
    let window = json!({"attribution_window_days": 400});
    let path = format!("/v1/programs/{}", scene.program_id);
    app.call(&app.admin_key, "PATCH", &path, window).await.expect(200);
    let clicks = vec![app.click_id(&scene.link).await];
    let rng = StdRng::seed_from_u64(SEED);
    let mut business = Business { app, scene, clicks, orders: Vec::new(), rng, n: 0 };
    business.hire(2).await;
    let mut closed = Vec::new();
    while business.now() < "2027-01-03T00:00:00Z".parse::<Timestamp>().unwrap() {
        business.day(&mut closed).await;
    }
    assert_eq!(closed.len(), 12);
    business.prove(&closed).await;
}

impl Business {
    fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Takes on partners, each with a link that somebody clicks.
    async fn hire(&mut self, n: usize) {
        let (app, admin) = (&self.app, &self.app.admin_key);
        for n in 0..n {
            let partner = json!({"name": format!("Dealer {n}"), "kind": "dealer", "country": "DE",
                "program_id": self.scene.program_id});
            let partner = app.post(admin, "/v1/partners", partner).await.expect(201);
            let link = json!({"program_id": self.scene.program_id, "partner_id": partner["id"],
                "label": "shop"});
            let link = app.post(admin, "/v1/links", link).await.expect(201);
            app.app().keeper.refresh().await.unwrap();
            self.clicks.push(app.click_id(link["url"].as_str().unwrap()).await);
        }
    }

    async fn day(&mut self, closed: &mut Vec<String>) {
        let now = self.now();
        timer::approve_due(&self.app.app().background_db, now).await.unwrap();
        if now.day() == 2 && now.month() + u32::from(now.year() == 2027) * 12 > 1 {
            let month = (now - Duration::days(5)).format("%Y-%m").to_string();
            let path = format!("/v1/periods/{month}/close");
            let body = json!({"program_id": self.scene.program_id});
            self.app.post(&self.app.finance_key, &path, body).await.expect(200);
            closed.push(month);
        }
        if now.day() == 6 {
            for currency in CURRENCIES {
                self.pay(&now.format("%Y-%m").to_string(), currency).await;
            }
        }
        if self.rng.random_bool(0.3) {
            self.sell().await;
        }
        if self.rng.random_bool(0.08) && !self.orders.is_empty() {
            self.refund().await;
        }
        self.app.clock.advance(Duration::days(1));
    }

    async fn tell(&mut self, kind: &str, data: Value) {
        self.n += 1;
        let answer = self.app.webhook(&self.scene, &format!("m{}", self.n), kind, data).await;
        let receipt = answer.expect(202)["receipt"].as_str().unwrap().to_owned();
        let told = self.app.receipt(&receipt).await;
        assert_eq!(told["status"], "settled", "{told}");
    }

    /// A sale of today or, told late, of up to a month ago.
    async fn sell(&mut self) {
        let order = format!("A-{}", self.n);
        let currency = *CURRENCIES.choose(&mut self.rng).unwrap();
        let cents: u32 = self.rng.random_range(100..50_000);
        let click = self.clicks.choose(&mut self.rng).unwrap().clone();
        let late = Duration::days([0, 0, 0, 4, 30][self.rng.random_range(0..5)]);
        // Not before the click, which was on the first day.
        let at = (self.now() - late).max("2026-01-01T09:00:01Z".parse().unwrap()).min(self.now());
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        self.tell(
            "conversion.created",
            json!({"event": "sale", "order_id": order, "amount": amount,
            "currency": currency, "click_id": click, "occurred_at": at.to_rfc3339()}),
        )
        .await;
        self.orders.push((order, currency, cents));
    }

    /// Half of an order, or what is left of it.
    async fn refund(&mut self) {
        let at = self.rng.random_range(0..self.orders.len());
        let (order, currency, cents) = self.orders.swap_remove(at);
        let half =
            self.rng.random_bool(0.5).then(|| format!("{}.{:02}", cents / 200, cents / 2 % 100));
        self.tell(
            "conversion.refunded",
            json!({"event": "sale", "order_id": order,
            "refund_id": format!("R-{}", self.n), "refund_amount": half, "currency": currency}),
        )
        .await;
    }

    /// Pays what is owed; some of it fails, some comes back.
    async fn pay(&mut self, period: &str, currency: &str) {
        let app = &self.app;
        let batch =
            json!({"program_id": self.scene.program_id, "period": period, "currency": currency});
        let made = app.post(&app.finance_key, "/v1/payout-batches", batch).await;
        if made.status == 422 {
            return; // Nothing to pay.
        }
        let made = made.expect(201);
        let path = format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
        app.post(&app.approver_key, &format!("{path}/approve"), json!({})).await.expect(200);
        let items = app.get(&app.finance_key, &format!("{path}/items")).await.expect(200);
        for item in items["data"].as_array().unwrap() {
            let payout = format!("/v1/payouts/{}", item["id"].as_str().unwrap());
            let paid = json!({"bank_reference": format!("SEPA-{period}")});
            let failed = json!({"reason": "account closed"});
            let fate = self.rng.random_range(0..10);
            if fate == 0 {
                app.post(&app.finance_key, &format!("{payout}/mark-failed"), failed)
                    .await
                    .expect(200);
                continue;
            }
            app.post(&app.finance_key, &format!("{payout}/mark-paid"), paid).await.expect(200);
            if fate == 1 {
                app.post(&app.finance_key, &format!("{payout}/mark-returned"), failed)
                    .await
                    .expect(200);
            }
        }
    }

    async fn prove(&self, closed: &[String]) {
        let mut balances: BTreeMap<String, (Value, Value)> = BTreeMap::new();
        let mut n_late = 0;
        for month in closed {
            for currency in CURRENCIES {
                self.prove_reconciliation(month, currency).await;
            }
            // What a month ends with the next one begins with, for each partner and currency.
            for statement in self.statements(month).await {
                let id = statement["id"].as_str().unwrap();
                let whole =
                    self.app.get(&self.app.finance_key, &format!("/v1/statements/{id}")).await;
                let whole = whole.expect(200);
                let late =
                    whole["entries"].as_array().unwrap().iter().filter(|e| e["late"] == true);
                n_late += late.count();
                let key = format!("{} {}", statement["partner_id"], statement["currency"]);
                let ends = (whole["pending_closing"].clone(), whole["closing"].clone());
                if let Some(begins) = balances.insert(key.clone(), ends) {
                    let found = (whole["pending_opening"].clone(), whole["opening"].clone());
                    assert_eq!(found, begins, "{month} {key}");
                } else {
                    assert_eq!(whole["opening"], "0.00", "{month} {key}");
                }
            }
        }
        assert!(n_late > 0, "the year had no late item");
        // Nothing but the story of January came after: the last statements are the ledger's balances.
        let partners: std::collections::BTreeSet<_> =
            balances.keys().map(|key| key.split(' ').next().unwrap().trim_matches('"')).collect();
        assert_eq!(partners.len(), self.clicks.len(), "{balances:?}");
        for partner in partners {
            let path = format!(
                "/v1/ledger/accounts?program_id={}&partner_id={partner}&as_of=2027-01-01T00:00:00Z",
                self.scene.program_id
            );
            let accounts = self.app.get(&self.app.finance_key, &path).await.expect(200);
            for account in accounts["data"].as_array().unwrap() {
                let key = format!("\"{partner}\" {}", account["currency"]);
                let (pending, payable) = &balances[&key];
                let is_payable = account["path"].as_str().unwrap().ends_with(":payable");
                assert_eq!(
                    account["balance"],
                    *if is_payable { payable } else { pending },
                    "{key}"
                );
            }
        }
    }

    async fn statements(&self, month: &str) -> Vec<Value> {
        let path =
            format!("/v1/statements?program_id={}&period={month}&limit=200", self.scene.program_id);
        let list = self.app.get(&self.app.finance_key, &path).await.expect(200);
        list["data"].as_array().unwrap().clone()
    }

    async fn prove_reconciliation(&self, month: &str, currency: &str) {
        let from: chrono::NaiveDate = format!("{month}-01").parse().unwrap();
        let to = from.checked_add_months(chrono::Months::new(1)).unwrap();
        let path = format!(
            "/v1/reports/reconciliation?program_id={}&from={from}&to={to}&currency={currency}",
            self.scene.program_id
        );
        let report = self.app.get(&self.app.finance_key, &path).await.expect(200);
        for row in report["rows"].as_array().unwrap() {
            assert_eq!(row["difference"], "0.00", "{month} {currency} {row}");
        }
        assert_eq!(report["summary"]["partners_with_difference"], 0);
        assert_eq!(report["summary"]["in_transit_residue"], "0.00");
    }
}

//! A year of business, told day by day: whatever happened, every month and currency reconciles.
//!
//! Three partners: one that a bank pays and that is taxed nowhere, one with VAT on top, one from
//! whom tax is withheld. Tiers reach back, caps cut, sales are told late, refunds come any time,
//! payouts fail, come back and are called off, debts are written off. [`super::proof`] looks at it.

use chrono::{Datelike as _, Duration};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tributary::clock::Timestamp;
use tributary::commission::timer;
use tributary::db::{Db, connect_lazily};

use crate::harness::{Scene, TestApp};

const SEED: u64 = 20_261_127;
pub(super) const CURRENCIES: [&str; 2] = ["EUR", "USD"];
/// Whose debt is written off.
const DEBTOR: usize = 1;

pub(super) struct Business {
    pub(super) app: TestApp,
    pub(super) scene: Scene,
    pub(super) partners: Vec<String>,
    clicks: Vec<String>,
    orders: Vec<(String, &'static str, u32)>,
    /// Past the wire that other stories cut: the timers ask thousands of questions.
    db: Db,
    rng: StdRng,
    n: u32,
}

/// Each rule counts by itself: in euros the whole month is raised, in dollars what lies above.
fn plan() -> Value {
    json!({"v": 1, "hold_days": 14, "rules": [
        {"event": "sale", "kind": "percent", "percent_bps": 1000, "currency": "EUR",
            "tiers": {"period": "month", "mode": "retroactive", "steps": [
                {"from_count": 2, "percent_bps": 1250}, {"from_count": 4, "percent_bps": 1500}]}},
        {"event": "sale", "kind": "percent", "percent_bps": 1250, "currency": "USD",
            "tiers": {"period": "month", "mode": "progressive", "steps": [
                {"from_amount": "300.00", "percent_bps": 2000}]}}],
        "caps": [{"period": "month", "per": "partner", "amount": "100.00", "currency": "EUR"}]})
}

#[actix_web::test]
async fn a_year_of_random_business_reconciles_in_every_month_and_currency() {
    let app = TestApp::start().await;
    app.clock.set("2026-01-01T09:00:00Z".parse().unwrap());
    let scene = app.scene_with(plan()).await;
    // A click of the first day counts all year.
    let window = json!({"attribution_window_days": 400});
    let path = format!("/v1/programs/{}", scene.program_id);
    app.call(&app.admin_key, "PATCH", &path, window).await.expect(200);
    let clicks = vec![app.click_id(&scene.link).await];
    let partners = vec![scene.partner_id.clone()];
    let rng = StdRng::seed_from_u64(SEED);
    let db = connect_lazily(&app.database.service_url, 1).unwrap();
    let orders = Vec::new();
    let mut business = Business { app, scene, partners, clicks, orders, db, rng, n: 0 };
    business.hire(2).await;
    business.set_methods().await;
    let mut closed = Vec::new();
    while business.now() < "2027-01-02T00:00:00Z".parse::<Timestamp>().unwrap() {
        business.day(&mut closed).await;
    }
    business.close(&mut closed).await;
    assert_eq!(closed.len(), 12);
    business.prove(&closed).await;
}

impl Business {
    fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    async fn put(&self, path: &str, body: Value) {
        self.app.call(&self.app.admin_key, "PUT", path, body).await.expect(200);
    }

    /// Takes on partners, each with a link that somebody clicks, and taxes of its own.
    async fn hire(&mut self, n: usize) {
        let taxes = [
            json!({"legal_type": "company", "tax_country": "DE", "vat_id": "DE123456789",
                "vat_treatment": "S", "vat_rate_bps": 1900,
                "self_billing_agreed_at": "2026-01-01T00:00:00Z"}),
            json!({"legal_type": "person", "tax_country": "US", "vat_treatment": "none",
                "withholding_bps": 1300}),
        ];
        for (n, taxes) in taxes.into_iter().enumerate().take(n) {
            let (app, admin) = (&self.app, &self.app.admin_key);
            let partner = json!({"name": format!("Dealer {n}"), "kind": "dealer", "country": "DE",
                "program_id": self.scene.program_id});
            let partner = app.post(admin, "/v1/partners", partner).await.expect(201);
            let id = partner["id"].as_str().unwrap().to_owned();
            self.put(&format!("/v1/partners/{id}/tax-profile"), taxes).await;
            let link = json!({"program_id": self.scene.program_id, "partner_id": id,
                "label": "shop"});
            let link = app.post(admin, "/v1/links", link).await.expect(201);
            app.app().keeper.refresh().await.unwrap();
            self.clicks.push(app.click_id(link["url"].as_str().unwrap()).await);
            self.partners.push(id);
        }
    }

    /// Sets all methods anew: a bank that sent money back is forgiven. The first is paid in euros
    /// alone, so its dollars are carried forward all year.
    async fn set_methods(&self) {
        for (n, partner) in self.partners.iter().enumerate() {
            let method = match n {
                0 => json!({"kind": "sepa", "holder": "Blog", "iban": "DE89370400440532013000"}),
                _ => json!({"kind": "paypal", "holder": "D", "email": format!("d{n}@b.example")}),
            };
            self.put(&format!("/v1/partners/{partner}/payout-method"), method).await;
        }
    }

    async fn day(&mut self, closed: &mut Vec<String>) {
        let now = self.now();
        timer::revalue_marked(&self.db, now).await.unwrap();
        timer::approve_due(&self.db, now).await.unwrap();
        if now.day() == 2 && now.month() > 1 {
            self.close(closed).await;
        }
        if now.day() == 6 {
            for currency in CURRENCIES {
                self.pay(&now.format("%Y-%m").to_string(), currency).await;
            }
        }
        match (now.month(), now.day()) {
            (3 | 9, 15) => self.adjust(DEBTOR, "clawback", "-900.00").await,
            (5 | 11, 15) => self.forgive(DEBTOR).await,
            (_, 20) => self.adjust(2, "bonus", "5.00").await,
            (_, 21) => self.set_methods().await,
            _ => {}
        }
        if self.rng.random_bool(0.6) {
            self.sell().await;
        }
        if self.rng.random_bool(0.12) && !self.orders.is_empty() {
            self.refund().await;
        }
        self.app.clock.advance(Duration::days(1));
    }

    async fn close(&self, closed: &mut Vec<String>) {
        let month = (self.now() - Duration::days(5)).format("%Y-%m").to_string();
        let path = format!("/v1/periods/{month}/close");
        let body = json!({"program_id": self.scene.program_id});
        self.app.post(&self.app.finance_key, &path, body).await.expect(200);
        closed.push(month);
    }

    async fn adjust(&self, partner: usize, kind: &str, amount: &str) {
        let body = json!({"program_id": self.scene.program_id, "currency": "EUR",
            "partner_id": self.partners[partner], "kind": kind, "amount": amount,
            "reason": "other", "note": "as agreed"});
        self.app.post(&self.app.admin_key, "/v1/adjustments", body).await.expect(201);
    }

    /// Writes off what a partner owes, to the cent.
    async fn forgive(&self, partner: usize) {
        let path = format!(
            "/v1/partners/{}/balance?program_id={}",
            self.partners[partner], self.scene.program_id
        );
        let told = self.app.get(&self.app.finance_key, &path).await.expect(200);
        let balances = told["balances"].as_array().unwrap();
        let euros = balances.iter().find(|b| b["currency"] == "EUR").unwrap();
        let owed = euros["payable"].as_str().unwrap().strip_prefix('-').expect("it owes nothing");
        self.adjust(partner, "write_off", owed).await;
    }

    async fn tell(&mut self, kind: &str, data: Value) {
        self.n += 1;
        // The answer waits for settlement: asking for the receipt again and again takes longer.
        let (id, tail) = (format!("m{}", self.n), "?wait=1&wait_ms=5000");
        let body = json!({"type": kind, "timestamp": self.now().to_rfc3339(), "data": data});
        let body = body.to_string();
        let told = self.app.webhook_to(&self.scene, tail, &id, body.as_bytes()).await.expect(200);
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

    /// Pays what is owed; some of it is called off, some fails, some comes back.
    async fn pay(&mut self, period: &str, currency: &str) {
        let app = &self.app;
        let batch =
            json!({"program_id": self.scene.program_id, "period": period, "currency": currency});
        let made = app.post(&app.finance_key, "/v1/payout-batches", batch.clone()).await;
        if made.status == 422 {
            return; // Nothing to pay.
        }
        let mut made = made.expect(201);
        let path =
            |made: &Value| format!("/v1/payout-batches/{}", made["batch"]["id"].as_str().unwrap());
        if self.rng.random_bool(0.2) {
            let cancel = format!("{}/cancel", path(&made));
            app.post(&app.finance_key, &cancel, json!({})).await.expect(200);
            made = app.post(&app.finance_key, "/v1/payout-batches", batch).await.expect(201);
        }
        let path = path(&made);
        app.post(&app.approver_key, &format!("{path}/approve"), json!({})).await.expect(200);
        let items = app.get(&app.finance_key, &format!("{path}/items")).await.expect(200);
        for item in items["data"].as_array().unwrap() {
            let payout = format!("/v1/payouts/{}", item["id"].as_str().unwrap());
            let paid = json!({"bank_reference": format!("SEPA-{period}")});
            let failed = json!({"reason": "account closed"});
            let fate = self.rng.random_range(0..6);
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
}

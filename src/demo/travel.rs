//! Lives through the story day by day: clicks, messages of the shop, and what time approves.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use chrono::{Duration, NaiveTime, SecondsFormat};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::click::classify::Class;
use crate::click::click_id::ClickId;
use crate::clock::{Clock, Timestamp};
use crate::commission::hold::Trust;
use crate::commission::timer::approve_due;
use crate::conversion::webhook::{WebhookMessage, read_report};
use crate::demo::cast::Cast;
use crate::demo::rows::Ground;
use crate::demo::shop::{self, BroughtBy, Price, Says, ShopEvent};
use crate::demo::traffic::{ClickName, ClickPlan, Crowd};
use crate::demo::{DemoOptions, Seeded};
use crate::ids::{ProgramNo, ReceiptId};
use crate::money::{Currency, Money};
use crate::progress::Progress;
use crate::settlement::Message;
use crate::settlement::click::Click;
use crate::settlement::settler::Settler;
use crate::stream::ClickRecord;

/// Clicks settled at once.
const CLICKS_MAX: usize = 8_000;
/// Commissions approved at once.
const APPROVALS_MAX: i64 = 1_000;

/// Sends the story through settlement.
pub(super) async fn travel(
    app: &App,
    options: &DemoOptions,
    cast: &Cast,
    ground: &Ground,
    progress: &Progress,
) -> anyhow::Result<Seeded> {
    let clock = Clock::manual(options.end);
    let settler = Settler { clock: clock.clone(), ..app.settler() };
    let program = ProgramNo(u32::try_from(ground.program.number)?);
    let mut traveler = Traveler {
        app,
        ground,
        program,
        settler,
        clicks: Vec::new(),
        shop: BTreeMap::new(),
        n_events: 0,
        seeded: Seeded::default(),
    };
    let crowd = Crowd::new(cast);
    let bar = progress.bar(u64::from(cast.days), "Demo days");
    for day in 0..cast.days {
        let midnight = cast.date(day).and_time(NaiveTime::MIN).and_utc() + Duration::days(1);
        let evening = (midnight - Duration::milliseconds(1)).min(options.end);
        clock.set(evening);
        let mut clicks = crowd.clicks(day);
        clicks.retain(|c| c.name.at <= evening);
        for event in shop::reports(cast, day, &clicks) {
            traveler.n_events += 1;
            traveler.shop.insert((event.at, traveler.n_events), event);
        }
        traveler.click(&clicks).await?;
        traveler.hear_shop(evening).await?;
        traveler.approve(evening).await?;
        // payouts: the monthly batch is made, approved and paid here, on the first of a month.
        bar.inc(1);
    }
    traveler.settle_clicks().await?;
    bar.finish();
    Ok(traveler.seeded)
}

struct Traveler<'a> {
    app: &'a App,
    ground: &'a Ground,
    program: ProgramNo,
    settler: Settler,
    /// Clicks not settled yet.
    clicks: Vec<Click>,
    /// What the shop will report, by its time and the order of invention.
    shop: BTreeMap<(Timestamp, u64), ShopEvent>,
    n_events: u64,
    seeded: Seeded,
}

impl Traveler<'_> {
    async fn click(&mut self, plans: &[ClickPlan]) -> anyhow::Result<()> {
        for plan in plans {
            self.clicks.push(Click::from_record(self.record(plan)));
        }
        if self.clicks.len() >= CLICKS_MAX { self.settle_clicks().await } else { Ok(()) }
    }

    async fn settle_clicks(&mut self) -> anyhow::Result<()> {
        let clicks = std::mem::take(&mut self.clicks);
        for batch in clicks.chunks(CLICKS_MAX) {
            self.seeded.n_clicks += self.settler.settle_clicks(batch).await?;
        }
        Ok(())
    }

    fn click_id(&self, name: &ClickName) -> ClickId {
        let (partner, links) = &self.ground.partners[name.partner];
        ClickId::new(name.at, self.program, *partner, links[name.link], name.random)
    }

    fn record(&self, plan: &ClickPlan) -> ClickRecord {
        let country = plan.country.as_bytes().first_chunk().copied();
        ClickRecord {
            payload: self.click_id(&plan.name).payload(),
            class: plan.class.code(),
            reason: plan.reason.code(),
            device: plan.device.code(),
            browser: plan.browser.code(),
            is_gpc: plan.class == Class::Human && plan.visitor.is_none(),
            visitor: plan.visitor,
            country,
            referrer_host: plan.referrer_host.clone(),
            ..ClickRecord::default()
        }
    }

    /// Settles what the shop sends until `evening`.
    async fn hear_shop(&mut self, evening: Timestamp) -> anyhow::Result<()> {
        let later = self.shop.split_off(&(evening, u64::MAX));
        let heard = std::mem::replace(&mut self.shop, later);
        let messages: Vec<Message> =
            heard.into_values().map(|e| self.message(&e)).collect::<anyhow::Result<_>>()?;
        if messages.is_empty() {
            return Ok(());
        }
        self.seeded.n_messages += messages.len() as u64;
        self.settler.settle_messages(messages).await.context("messages of the shop were refused")
    }

    /// Writes an event as the webhook that a shop would send, and reads it as intake would.
    fn message(&self, event: &ShopEvent) -> anyhow::Result<Message> {
        let body = self.webhook(event).to_string();
        let webhook: WebhookMessage = serde_json::from_str(&body)?;
        let report = read_report(webhook, &self.app.customer_key, event.at)
            .map_err(|problems| anyhow!("the demo's webhook is wrong: {problems:?}"))?;
        let kind = report.message_type.as_str().trim_start_matches("conversion.");
        Ok(Message {
            receipt_id: ReceiptId::new(),
            program_id: self.ground.program.program_id,
            source_id: self.ground.source_id,
            channel: "webhook".to_owned(),
            message_id: format!("msg_{}_{}_{kind}", event.order, event.event),
            body_hash: Sha256::digest(body.as_bytes()).into(),
            received_at: event.at,
            sent_at: event.at,
            trust: Trust::Signed,
            report,
        })
    }

    fn webhook(&self, event: &ShopEvent) -> serde_json::Value {
        let mut data = json!({"event": event.event, "order_id": event.order});
        let kind = match &event.says {
            Says::Created { brought_by, price, customer } => {
                data["customer_ref"] = json!(customer);
                data["click_id"] = match brought_by {
                    BroughtBy::Click(name) => {
                        let keys = &self.app.config.click_keys;
                        json!(self.click_id(name).sign(keys).as_str())
                    }
                    BroughtBy::Stranger(text) => json!(text),
                    BroughtBy::Nothing => serde_json::Value::Null,
                };
                if let Some(Price { amount, tax, shipping }) = *price {
                    data["currency"] = json!("EUR");
                    data["amount"] = json!(euros(amount));
                    data["tax"] = json!(euros(tax));
                    data["shipping"] = json!(euros(shipping));
                }
                "created"
            }
            Says::Approved => "approved",
            Says::Rejected(reason) => {
                data["reason"] = json!(reason);
                "rejected"
            }
            Says::Refunded(part) => {
                data["refund_id"] = json!(format!("R-{}", event.order));
                if let Some(part) = *part {
                    data["currency"] = json!("EUR");
                    data["refund_amount"] = json!(euros(part));
                }
                "refunded"
            }
        };
        let timestamp = event.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        json!({"type": format!("conversion.{kind}"), "timestamp": timestamp, "data": data})
    }

    async fn approve(&mut self, now: Timestamp) -> anyhow::Result<()> {
        loop {
            let n_approved = approve_due(&self.settler.db, now, APPROVALS_MAX).await?;
            self.seeded.n_approved += n_approved;
            if n_approved < APPROVALS_MAX.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

/// Writes cents as the shop does, in euros.
fn euros(cents: i64) -> String {
    let euro: Currency = "EUR".parse().expect("the euro is in ISO 4217");
    Money::new(cents, euro).to_decimal_string()
}

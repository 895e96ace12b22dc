//! Lives through the story day by day: clicks, messages of the shop, and what time approves.
//!
//! Clicks and messages travel side by side: a click id says itself whose it is, so a conversion
//! needs no row of its click.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use chrono::{Days, Duration, NaiveTime, SecondsFormat};
use futures_util::future;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::click::classify::Class;
use crate::click::click_id::ClickId;
use crate::clock::{Clock, Timestamp};
use crate::commission::hold::Trust;
use crate::commission::timer::approve_due;
use crate::conversion::webhook::{WebhookMessage, read_report};
use crate::demo::cast::Cast;
use crate::demo::payday::{Hands, pay_month};
use crate::demo::rows::Ground;
use crate::demo::shop::{self, BroughtBy, Price, Says, ShopEvent};
use crate::demo::traffic::{ClickName, ClickPlan, Crowd};
use crate::demo::{DemoOptions, Seeded};
use crate::ids::{ProgramNo, ReceiptId, UserId};
use crate::money::{Currency, Money};
use crate::progress::{Bar, Progress};
use crate::settlement::click::Click;
use crate::settlement::settler::Settler;
use crate::settlement::{Message, click};
use crate::stream::ClickRecord;

/// Clicks settled at once: a few days, so that a batch touches few partitions.
const CLICKS_MAX: usize = 8_000;

/// Sends the story through settlement.
pub(super) async fn travel(
    app: &App,
    options: &DemoOptions,
    cast: &Cast,
    ground: &Ground,
    progress: &Progress,
) -> anyhow::Result<Seeded> {
    let clock = Clock::manual(options.end);
    let traveler = Traveler {
        app,
        cast,
        crowd: Crowd::new(cast),
        ground,
        program: ProgramNo(u32::try_from(ground.program.number)?),
        settler: Settler { clock: clock.clone(), ..app.settler() },
        clock,
        end: options.end,
        hands: Hands { maker: options.created_by, approver: UserId::new() },
    };
    // Each day counts twice: they are lived side by side, not in step.
    let bar = progress.bar(2 * u64::from(cast.days), "Demo (days of clicks, days of sales)");
    let (n_clicks, (n_messages, n_approved, n_paid)) =
        future::try_join(traveler.live_clicks(&bar), traveler.live_shop(&bar)).await?;
    bar.finish();
    Ok(Seeded { n_clicks, n_messages, n_approved, n_paid })
}

struct Traveler<'a> {
    app: &'a App,
    cast: &'a Cast,
    crowd: Crowd<'a>,
    ground: &'a Ground,
    program: ProgramNo,
    settler: Settler,
    /// The settler's time: the evening of the day that the shop lives through.
    clock: Clock,
    end: Timestamp,
    hands: Hands,
}

impl Traveler<'_> {
    /// Returns the last millisecond of a day, or of the story.
    fn evening(&self, day: u32) -> Timestamp {
        let midnight = self.cast.date(day).and_time(NaiveTime::MIN).and_utc() + Duration::days(1);
        (midnight - Duration::milliseconds(1)).min(self.end)
    }

    /// Returns the clicks of a day; the last one is cut where the story ends.
    fn clicks(&self, day: u32) -> Vec<ClickPlan> {
        let mut clicks = self.crowd.clicks(day);
        clicks.retain(|c| c.name.at <= self.end);
        clicks
    }

    /// Settles the clicks of all days; returns how many were new.
    async fn live_clicks(&self, bar: &Bar) -> anyhow::Result<u64> {
        let mut batch: Vec<Click> = Vec::with_capacity(CLICKS_MAX);
        let mut n_clicks = 0;
        for day in 0..self.cast.days {
            for plan in self.clicks(day) {
                batch.push(Click::from_record(self.record(&plan)));
                if batch.len() == CLICKS_MAX {
                    n_clicks += self.settler.settle_clicks(&batch).await?;
                    batch.clear();
                }
            }
            bar.inc(1);
        }
        n_clicks += self.settler.settle_clicks(&batch).await?;
        // The timers would have forgotten the visitors of days gone by, each in its time.
        let yesterday = self.end.date_naive() - Days::new(1);
        let mut db = self.settler.db.acquire().await?;
        click::visitor_store::forget_visitors(&mut db, yesterday).await?;
        Ok(n_clicks)
    }

    /// Settles what the shop sends from day to day and approves what is due in the evening;
    /// returns how many messages, approvals and payouts there were.
    async fn live_shop(&self, bar: &Bar) -> anyhow::Result<(u64, u64, u64)> {
        // What the shop has not sent yet, by its time and the order of invention.
        let mut unsent: BTreeMap<(Timestamp, usize), ShopEvent> = BTreeMap::new();
        let mut n_invented = 0;
        let (mut n_messages, mut n_approved, mut n_paid) = (0, 0, 0);
        for day in 0..self.cast.days {
            let evening = self.evening(day);
            self.clock.set(evening);
            for event in shop::reports(self.cast, day, &self.clicks(day)) {
                n_invented += 1;
                unsent.insert((event.at, n_invented), event);
            }
            let later = unsent.split_off(&(evening, usize::MAX));
            let sent = std::mem::replace(&mut unsent, later);
            n_messages += sent.len() as u64;
            self.hear(sent.into_values()).await?;
            n_approved += approve_due(&self.settler.db, evening).await?;
            n_paid += pay_month(
                &self.settler.db,
                &self.ground.program,
                self.hands,
                self.cast.date(day),
                evening,
            )
            .await?;
            bar.inc(1);
        }
        Ok((n_messages, n_approved, n_paid))
    }

    async fn hear(&self, events: impl Iterator<Item = ShopEvent>) -> anyhow::Result<()> {
        let messages: Vec<Message> =
            events.map(|e| self.message(&e)).collect::<anyhow::Result<_>>()?;
        if messages.is_empty() {
            return Ok(());
        }
        self.settler.settle_messages(messages).await.context("the shop's messages were refused")
    }

    fn click_id(&self, name: &ClickName) -> ClickId {
        let (partner, links) = &self.ground.partners[name.partner];
        ClickId::new(name.at, self.program, *partner, links[name.link], name.random)
    }

    fn record(&self, plan: &ClickPlan) -> ClickRecord {
        let link = &self.cast.partners[plan.name.partner].links[plan.name.link];
        ClickRecord {
            payload: self.click_id(&plan.name).payload(),
            class: plan.class.code(),
            reason: plan.reason.code(),
            device: plan.device.code(),
            browser: plan.browser.code(),
            is_gpc: plan.class == Class::Human && plan.visitor.is_none(),
            visitor: plan.visitor,
            country: plan.country.as_bytes().first_chunk().copied(),
            referrer_host: plan.referrer_host.clone(),
            subs: [link.sub1.clone(), None, None, None, None],
            ..ClickRecord::default()
        }
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

    fn webhook(&self, event: &ShopEvent) -> Value {
        let (kind, mut data) = match &event.says {
            Says::Created { brought_by, price: None, customer } => {
                let click_id = self.brought(brought_by);
                ("created", json!({"click_id": click_id, "customer_ref": customer}))
            }
            Says::Created { brought_by, price: Some(price), customer } => {
                let Price { amount, tax, shipping } = *price;
                let data = json!({
                    "click_id": self.brought(brought_by), "customer_ref": customer,
                    "currency": "EUR", "amount": euros(amount), "tax": euros(tax),
                    "shipping": euros(shipping)});
                ("created", data)
            }
            Says::Approved => ("approved", json!({})),
            Says::Rejected(reason) => ("rejected", json!({"reason": reason})),
            Says::Refunded(None) => ("refunded", json!({"refund_id": refund_id(event)})),
            Says::Refunded(Some(part)) => {
                let data = json!({
                    "refund_id": refund_id(event), "currency": "EUR",
                    "refund_amount": euros(*part)});
                ("refunded", data)
            }
        };
        data["event"] = json!(event.event);
        data["order_id"] = json!(event.order);
        let timestamp = event.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        json!({"type": format!("conversion.{kind}"), "timestamp": timestamp, "data": data})
    }

    fn brought(&self, by: &BroughtBy) -> Option<String> {
        match by {
            BroughtBy::Click(name) => {
                Some(self.click_id(name).sign(&self.app.config.click_keys).to_string())
            }
            BroughtBy::Stranger(text) => Some(text.clone()),
            BroughtBy::Nothing => None,
        }
    }
}

/// An order is refunded at most once in this story.
fn refund_id(event: &ShopEvent) -> String {
    format!("R-{}", event.order)
}

/// Writes cents as the shop does, in euros.
fn euros(cents: i64) -> String {
    let euro: Currency = "EUR".parse().expect("the euro is in ISO 4217");
    Money::new(cents, euro).to_decimal_string()
}

//! What the shop reports: sales and leads of a day's clicks, and what becomes of them later.
#![expect(clippy::float_arithmetic, reason = "invents prices; what is owed is reckoned elsewhere")]

use chrono::Duration;
use rand::Rng as _;
use rand::distr::Distribution as _;
use rand::rngs::StdRng;
use rand_distr::LogNormal;

use crate::click::classify::Class;
use crate::clock::Timestamp;
use crate::demo::cast::Cast;
use crate::demo::traffic::{ClickName, ClickPlan, day_rng};

/// The longest that a customer of the story thinks it over: within the window of 30 days.
const LAG_MAX: Duration = Duration::days(20);
/// Shipping, in cents.
const SHIPPING: i64 = 490;

/// A message of the shop.
#[derive(Clone, Debug, PartialEq)]
pub struct ShopEvent {
    /// When the shop sends it.
    pub at: Timestamp,
    /// `sale` or `lead`.
    pub event: &'static str,
    /// The shop's name of the order.
    pub order: String,
    /// What it says.
    pub says: Says,
}

/// What a message of the shop says.
#[derive(Clone, Debug, PartialEq)]
pub enum Says {
    /// Somebody bought or asked for an offer.
    Created {
        /// What brought the customer.
        brought_by: BroughtBy,
        /// What was paid; nothing for a lead.
        price: Option<Price>,
        /// The shop's name of the customer.
        customer: String,
    },
    /// The order is good.
    Approved,
    /// The order is not.
    Rejected(&'static str),
    /// Money went back: cents, or all of it.
    Refunded(Option<i64>),
}

/// What brought a customer, as far as the shop knows.
#[derive(Clone, Debug, PartialEq)]
pub enum BroughtBy {
    /// One of our clicks.
    Click(ClickName),
    /// A name that we never gave.
    Stranger(String),
    /// Nothing that it knows of.
    Nothing,
}

/// What a customer paid, in cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// All of it.
    pub amount: i64,
    /// Tax within it.
    pub tax: i64,
    /// Shipping within it.
    pub shipping: i64,
}

/// Returns everything that the shop will ever report of the clicks of a day, in no order.
pub fn reports(cast: &Cast, day: u32, clicks: &[ClickPlan]) -> Vec<ShopEvent> {
    let mut rng = day_rng(cast.seed, day, 2);
    let mut shop = Shop { cast, day, n_orders: 0, events: Vec::new() };
    for click in clicks.iter().filter(|c| c.class == Class::Human) {
        let partner = &cast.partners[click.name.partner];
        if rng.random_bool(partner.conversion_rate) {
            shop.convert(&mut rng, click.name);
        }
    }
    // One customer took longer than the window allows.
    if let (true, Some(first)) = (day == cast.days / 5, clicks.first()) {
        let at = first.name.at + Duration::days(41);
        let order = shop.next_order();
        shop.sell(&mut rng, at, BroughtBy::Click(first.name), order, 60.0);
    }
    shop.events
}

struct Shop<'a> {
    cast: &'a Cast,
    day: u32,
    n_orders: u32,
    events: Vec<ShopEvent>,
}

impl Shop<'_> {
    fn next_order(&mut self) -> String {
        self.n_orders += 1;
        format!("DS-{:04}-{:04}", self.day + 1, self.n_orders)
    }

    /// Turns a click into a sale, or into a lead that may become one.
    fn convert(&mut self, rng: &mut StdRng, click: ClickName) {
        let partner = &self.cast.partners[click.partner];
        let (lead_share, basket) = (partner.lead_share, partner.basket);
        let order = self.next_order();
        let brought_by = match rng.random_range(0..1000) {
            0..12 => BroughtBy::Nothing,
            12..20 => BroughtBy::Stranger(format!("other-{:032x}", rng.random::<u128>())),
            _ => BroughtBy::Click(click),
        };
        let at = click.at + lag(rng, 50.0);
        if !rng.random_bool(lead_share) {
            self.sell(rng, at, brought_by, order, basket);
            return;
        }
        let customer = customer(rng);
        let says = Says::Created { brought_by: brought_by.clone(), price: None, customer };
        self.tell(rng, ShopEvent { at, event: "lead", order: order.clone(), says });
        if rng.random_bool(0.06) {
            let at = at + Duration::hours(rng.random_range(2..120));
            self.events.push(ShopEvent {
                at,
                event: "lead",
                order,
                says: Says::Rejected("duplicate"),
            });
        } else if rng.random_bool(0.3) {
            let later = at + Duration::hours(rng.random_range(20..200));
            self.sell(rng, later, brought_by, order, basket * 2.5);
        }
    }

    fn sell(
        &mut self,
        rng: &mut StdRng,
        at: Timestamp,
        brought_by: BroughtBy,
        order: String,
        basket: f64,
    ) {
        let price = price(rng, basket);
        let says = Says::Created { brought_by, price: Some(price), customer: customer(rng) };
        self.tell(rng, ShopEvent { at, event: "sale", order: order.clone(), says });
        let days = |n: i64| Duration::days(n);
        let (after, says) = match rng.random_range(0..1000) {
            0..35 => (days(rng.random_range(0..9)), Says::Rejected("order_canceled")),
            35..42 => (days(rng.random_range(0..4)), Says::Rejected("payment_failed")),
            42..45 => (days(rng.random_range(3..15)), Says::Rejected("fraud")),
            45..82 => (days(rng.random_range(2..75)), Says::Refunded(None)),
            82..105 => {
                let part = price.amount * rng.random_range(15..75) / 100;
                (days(rng.random_range(2..75)), Says::Refunded(Some(part)))
            }
            105..165 => (days(rng.random_range(5..20)), Says::Approved),
            _ => return,
        };
        let at = at + after + Duration::minutes(rng.random_range(30..600));
        self.events.push(ShopEvent { at, event: "sale", order, says });
    }

    /// Sends a message; now and then a time-out makes the shop send it twice.
    fn tell(&mut self, rng: &mut StdRng, event: ShopEvent) {
        if rng.random_bool(0.01) {
            self.events.push(event.clone());
        }
        self.events.push(event);
    }
}

/// Minutes for most, days for some.
fn lag(rng: &mut StdRng, median_minutes: f64) -> Duration {
    let law = LogNormal::new(median_minutes.ln(), 2.1).expect("the spread is above zero");
    let drawn: f64 = law.sample(rng);
    Duration::seconds((drawn * 60.0) as i64).clamp(Duration::minutes(2), LAG_MAX)
}

fn customer(rng: &mut StdRng) -> String {
    format!("customer-{}", rng.random_range(0..40_000))
}

/// Goods at a log-normal price, 19 % tax within, shipping below 100 euros.
fn price(rng: &mut StdRng, basket: f64) -> Price {
    let law = LogNormal::new(basket.ln(), 0.7).expect("the spread is above zero");
    let drawn: f64 = law.sample(rng);
    let goods = (drawn.clamp(4.0, 5_000.0) * 100.0) as i64;
    let shipping = if goods < 10_000 { SHIPPING } else { 0 };
    Price { amount: goods + shipping, tax: goods * 19 / 119, shipping }
}

//! The clicks of one day: how many, at which hour, by whom.
#![expect(clippy::float_arithmetic, reason = "an invented story: no amount that is owed is here")]

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::{Gamma, Poisson};

use crate::click::classify::{Browser, Class, Device, Reason};
use crate::clock::Timestamp;
use crate::demo::cast::{Cast, PartnerPlan};

/// People among all visits; the rest is bots, previews and requests without an agent.
const HUMAN_SHARE: f64 = 0.88;
/// People who come back to the same link on the same day.
const REPEAT_SHARE: f64 = 0.22;
/// People who send Global Privacy Control.
const GPC_SHARE: f64 = 0.04;
/// The hours (UTC) of the outage.
pub const OUTAGE_HOURS: std::ops::Range<u32> = 1..23;

/// Clicks by the visitor's hour: asleep at four, most at half past eight in the evening.
const BY_HOUR: [f64; 24] = [
    1.6, 0.9, 0.6, 0.4, 0.4, 0.7, 1.6, 2.9, 4.1, 5.0, 5.5, 5.6, 5.7, 5.6, 5.4, 5.3, 5.4, 5.7, 6.2,
    7.0, 7.4, 6.9, 5.2, 3.2,
];
const DEVICES: [(Device, Browser, u32); 11] = [
    (Device::Mobile, Browser::Chrome, 33),
    (Device::Desktop, Browser::Chrome, 22),
    (Device::Mobile, Browser::Safari, 16),
    (Device::Desktop, Browser::Firefox, 6),
    (Device::Desktop, Browser::Edge, 6),
    (Device::Mobile, Browser::Yandex, 4),
    (Device::Mobile, Browser::Samsung, 4),
    (Device::Mobile, Browser::Telegram, 3),
    (Device::Mobile, Browser::Instagram, 3),
    (Device::Tablet, Browser::Safari, 2),
    (Device::Desktop, Browser::Opera, 1),
];
const COUNTRIES: [&str; 6] = ["DE", "FR", "PL", "ES", "RU", "KZ"];

/// A click as it is invented.
#[derive(Clone, Debug, PartialEq)]
pub struct ClickPlan {
    /// What the shop can bring back of it.
    pub name: ClickName,
    /// What it was taken for.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// Device class.
    pub device: Device,
    /// Browser family.
    pub browser: Browser,
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// Host of the referring page.
    pub referrer_host: Option<String>,
    /// Recognizes a repeat; none for who asked not to be recognized.
    pub visitor: Option<[u8; 8]>,
}

/// What makes the click's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickName {
    /// When, in whole milliseconds.
    pub at: Timestamp,
    /// Place of the partner in the cast.
    pub partner: usize,
    /// Place of the link among the partner's.
    pub link: usize,
    /// Tells clicks of one millisecond apart.
    pub random: [u8; 5],
}

/// Draws the clicks of every partner.
pub struct Crowd<'a> {
    cast: &'a Cast,
    hours: WeightedIndex<f64>,
    devices: WeightedIndex<u32>,
}

impl<'a> Crowd<'a> {
    /// Returns the crowd of a cast.
    pub fn new(cast: &'a Cast) -> Self {
        Self {
            cast,
            hours: WeightedIndex::new(BY_HOUR).expect("the weights are above zero"),
            devices: WeightedIndex::new(DEVICES.map(|d| d.2)).expect("the weights are above zero"),
        }
    }

    /// Returns the clicks of a day in the order of their times; the same whenever it is asked.
    pub fn clicks(&self, day: u32) -> Vec<ClickPlan> {
        let mut rng = day_rng(self.cast.seed, day, 1);
        let mut clicks = Vec::new();
        for (partner, plan) in self.cast.partners.iter().enumerate() {
            let mean = self.cast.rate(partner, day) / HUMAN_SHARE;
            let n_clicks = negative_binomial(&mut rng, mean, plan.evenness);
            let mut seen: Vec<(usize, [u8; 8])> = Vec::new();
            for _ in 0..n_clicks {
                clicks.push(self.click(&mut rng, day, partner, plan, &mut seen));
            }
        }
        if day == self.cast.outage {
            use chrono::Timelike as _;
            clicks.retain(|c| !OUTAGE_HOURS.contains(&c.name.at.hour()));
        }
        clicks.sort_by_key(|c| c.name.at);
        clicks
    }

    fn click(
        &self,
        rng: &mut StdRng,
        day: u32,
        partner: usize,
        plan: &PartnerPlan,
        seen: &mut Vec<(usize, [u8; 8])>,
    ) -> ClickPlan {
        let country = if rng.random_bool(0.8) {
            plan.country
        } else {
            COUNTRIES.choose(rng).copied().unwrap_or("DE")
        };
        // The first link stands in the best place.
        let link = rng.random_range(0..plan.links.len()).min(rng.random_range(0..plan.links.len()));
        let at = self.time(rng, self.cast.date(day), country);
        let name = ClickName { at, partner, link, random: rng.random() };
        let (class, reason) = match rng.random_range(0.0..1.0) {
            x if x < HUMAN_SHARE => (Class::Human, Reason::Navigation),
            x if x < HUMAN_SHARE + 0.08 => (Class::Bot, Reason::CrawlerAgent),
            x if x < HUMAN_SHARE + 0.11 => (Class::Preview, Reason::PreviewAgent),
            _ => (Class::Suspect, Reason::EmptyAgent),
        };
        let (device, browser) = if class == Class::Human {
            let (device, browser, _) = DEVICES[self.devices.sample(rng)];
            (device, browser)
        } else {
            (Device::Other, Browser::Other)
        };
        let visitor = if class != Class::Human {
            Some(rng.random())
        } else if rng.random_bool(GPC_SHARE) {
            None
        } else {
            Some(visitor(rng, link, seen))
        };
        let referrer_host = match rng.random_range(0..10) {
            0..5 => Some(format!("www.{}.example", plan.slug)),
            5 => Some("forum.example".to_owned()),
            6 => Some("mail.example".to_owned()),
            _ => None,
        };
        ClickPlan { name, class, reason, device, browser, country, referrer_host, visitor }
    }

    fn time(&self, rng: &mut StdRng, date: NaiveDate, country: &str) -> DateTime<Utc> {
        let ahead = match country {
            "RU" => 3,
            "KZ" => 5,
            _ => 1,
        };
        let local = i64::try_from(self.hours.sample(rng)).unwrap_or(0);
        let hour = (local - ahead).rem_euclid(24);
        let in_hour = Duration::milliseconds(rng.random_range(0..3_600_000));
        date.and_time(NaiveTime::MIN).and_utc() + Duration::hours(hour) + in_hour
    }
}

/// Returns the tag of a new visitor, or of one who was on this link today.
fn visitor(rng: &mut StdRng, link: usize, seen: &mut Vec<(usize, [u8; 8])>) -> [u8; 8] {
    let again = seen.choose(rng).filter(|known| known.0 == link).map(|known| known.1);
    match again {
        // Half of the known ones were on another link: more tries make up for it.
        Some(tag) if rng.random_bool((REPEAT_SHARE * 1.8).min(1.0)) => tag,
        Some(_) | None => {
            let tag = rng.random();
            seen.push((link, tag));
            tag
        }
    }
}

/// Draws from the negative binomial law: Poisson about a mean that is itself gamma.
fn negative_binomial(rng: &mut StdRng, mean: f64, evenness: f64) -> u64 {
    if mean <= 0.0 {
        return 0;
    }
    let gamma = Gamma::new(evenness, mean / evenness).expect("both are above zero");
    let drawn: f64 = gamma.sample(rng);
    // A gamma law of small mean may give zero itself, which is no mean of a Poisson law.
    Poisson::new(drawn).map_or(0, |poisson| poisson.sample(rng) as u64)
}

/// Returns the dice of a day, one set for each use, so that a change of one leaves the others.
pub(super) fn day_rng(seed: u64, day: u32, of: u64) -> StdRng {
    let mix = (u64::from(day) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    StdRng::seed_from_u64(seed ^ mix ^ of.wrapping_mul(0xD1B5_4A32_D192_ED03))
}

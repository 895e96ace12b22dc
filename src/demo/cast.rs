//! The partners of the demo, and how many clicks each may expect on each day.
#![expect(clippy::float_arithmetic, reason = "an invented story: no amount that is owed is here")]

use std::f64::consts::TAU;
use std::ops::Range;

use chrono::{Datelike as _, Days, NaiveDate};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use statrs::distribution::{ContinuousCDF as _, Normal};

use crate::demo::DemoOptions;

/// Mean clicks of people a day and partner: sixty partners and 200 days make some 200,000.
const CLICKS_PER_PARTNER: f64 = 16.0;
/// Spread of the partners' sizes: with it a quarter of them has less than 0.3 clicks a day.
const SIZE_SIGMA: f64 = 2.4;
/// What a program without incidents would see on a holiday.
const HOLIDAY_FACTOR: f64 = 0.4;

/// What becomes of a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Goes on.
    Lives,
    /// Removes its links at once.
    Stops,
    /// Loses half of what is left every two weeks.
    Fades,
    /// Loses 70 % from one day to the next.
    Steps,
}

impl Fate {
    /// Returns the first day that differs.
    pub fn onset(self, days: u32) -> u32 {
        match self {
            Self::Lives => days,
            Self::Stops => days * 88 / 100,
            Self::Fades => days * 70 / 100,
            Self::Steps => days * 90 / 100,
        }
    }

    fn factor(self, day: u32, days: u32) -> f64 {
        let Some(since) = day.checked_sub(self.onset(days)) else { return 1.0 };
        match self {
            Self::Lives => 1.0,
            Self::Stops => 0.0,
            Self::Fades => 0.5f64.powf(f64::from(since) / 14.0),
            Self::Steps => 0.3,
        }
    }
}

/// The partners in decline: place by size (0 is the largest), fate, name, slug, kind, country.
pub const DECLINING: [(usize, Fate, &str, &str, &str, &str); 3] = [
    (4, Fate::Stops, "Lindenhof Testberichte", "lindenhof-testberichte", "webmaster", "DE"),
    (6, Fate::Fades, "Harbor Lane Outfitters", "harbor-lane-outfitters", "dealer", "PL"),
    (9, Fate::Steps, "Sibirskiy Obozrevatel", "sibirskiy-obozrevatel", "integrator", "RU"),
];

/// First words, second words and countries of invented names.
const NAMES: [([&str; 8], [&str; 8], &[&str]); 3] = [
    (
        ["Nordlicht", "Alpen", "Heide", "Kiesel", "Birken", "Sturm", "Kupfer", "Anker"],
        ["Ratgeber", "Handel", "Werkstatt", "Magazin", "Kontor", "Vergleich", "Notizen", "Laden"],
        &["DE"],
    ),
    (
        ["Amber", "Granite", "Copper", "Willow", "Meadow", "Maple", "Lantern", "Quarry"],
        ["Compass", "Deals", "Review", "Market", "Gazette", "Supply", "Notebook", "Digest"],
        &["FR", "PL", "ES"],
    ),
    (
        ["Severny", "Zolotoy", "Tikhiy", "Bely", "Dalniy", "Novy", "Zeleny", "Stepnoy"],
        ["Bereg", "Mayak", "Rynok", "Obzor", "Parus", "Dvor", "Vestnik", "Klyuch"],
        &["RU", "RU", "KZ"],
    ),
];
const OWNERS: [&str; 4] = ["Anna Keller", "Marek Nowicki", "Irina Sokolova", "Tom Hadley"];
const LABELS: [&str; 6] = ["Banner", "Article", "Newsletter", "Video", "Sidebar", "Price list"];

/// A link of an invented partner.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkPlan {
    /// What the partner calls it.
    pub label: &'static str,
    /// The partner's own label, if it uses any.
    pub sub1: Option<String>,
}

/// An invented partner.
#[derive(Clone, Debug, PartialEq)]
pub struct PartnerPlan {
    /// What people call it.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// One of [`crate::partner::KINDS`].
    pub kind: &'static str,
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// One of [`crate::partner::RANKS`].
    pub rank: &'static str,
    /// Who looks after it.
    pub owner: Option<&'static str>,
    /// The day of its first click.
    pub joined: u32,
    /// Its links; the first gets the most clicks.
    pub links: Vec<LinkPlan>,
    /// What becomes of it.
    pub fate: Fate,
    /// Clicks of people on a mean day.
    pub clicks_per_day: f64,
    /// How even its days are: the shape of the gamma law behind the negative binomial.
    pub evenness: f64,
    /// Share of people who buy or ask for an offer.
    pub conversion_rate: f64,
    /// Share of leads among the conversions.
    pub lead_share: f64,
    /// Median of what a customer pays, in euros.
    pub basket: f64,
    growth: f64,
    phase: f64,
}

/// Days on which a partner advertises.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// Which partner.
    pub partner: usize,
    /// When.
    pub days: Range<u32>,
    /// How many times the usual clicks.
    pub factor: f64,
}

/// Who takes part, and what happens to all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// What the days are drawn from.
    pub seed: u64,
    /// The first day.
    pub first_day: NaiveDate,
    /// How many days.
    pub days: u32,
    /// The partners, largest first.
    pub partners: Vec<PartnerPlan>,
    /// Two partners that advertise for some days.
    pub bursts: [Burst; 2],
    /// The day on which the tracker was down from one to 23 o'clock, UTC.
    pub outage: u32,
    /// Holidays: everybody gets few clicks.
    pub holiday: Range<u32>,
    /// The first day of the better plan.
    pub plan_change: u32,
}

impl Cast {
    /// Invents the partners and the incidents.
    pub fn invent(options: &DemoOptions) -> Self {
        let mut rng = StdRng::seed_from_u64(options.seed);
        let days = options.days;
        let n_partners = usize::try_from(options.partners).unwrap_or(usize::MAX);
        let part = |percent: u32| days * percent / 100;
        let burst = |partner: usize, start: u32, length: u32, factor| Burst {
            partner,
            days: start..start + length,
            factor,
        };
        Self {
            seed: options.seed,
            first_day: options.first_day(),
            days,
            partners: invent_partners(&mut rng, n_partners, days),
            bursts: [burst(2, part(35), 12, 3.0), burst(5, part(65), 10, 4.0)],
            outage: part(60),
            holiday: part(50)..part(50) + 3,
            plan_change: part(50),
        }
    }

    /// Returns the date of a day.
    pub fn date(&self, day: u32) -> NaiveDate {
        self.first_day.checked_add_days(Days::new(u64::from(day))).unwrap_or(NaiveDate::MAX)
    }

    /// Returns the clicks of people that a partner may expect on a day, the outage left aside.
    pub fn rate(&self, partner: usize, day: u32) -> f64 {
        let p = &self.partners[partner];
        if day < p.joined {
            return 0.0;
        }
        let t = f64::from(day);
        let drift = (p.growth * t + 0.12 * (TAU * t / 90.0 + p.phase).sin()).exp();
        let weekday = self.date(day).weekday().num_days_from_monday() as usize;
        let holiday = if self.holiday.contains(&day) { HOLIDAY_FACTOR } else { 1.0 };
        let bursts: f64 = self
            .bursts
            .iter()
            .filter(|c| c.partner == partner && c.days.contains(&day))
            .map(|c| c.factor)
            .product();
        let fate = p.fate.factor(day, self.days);
        p.clicks_per_day * drift * weekdays(p.kind)[weekday] * holiday * bursts * fate
    }
}

/// Monday to Sunday: readers come on weekends, business partners work from Monday to Friday.
fn weekdays(kind: &str) -> [f64; 7] {
    match kind {
        "webmaster" => [0.97, 0.94, 0.94, 0.96, 0.99, 1.10, 1.10],
        "dealer" => [1.15, 1.15, 1.12, 1.15, 1.18, 0.80, 0.45],
        "integrator" => [1.28, 1.32, 1.30, 1.27, 1.13, 0.38, 0.32],
        _ => [1.0; 7],
    }
}

fn invent_partners(rng: &mut StdRng, n_partners: usize, days: u32) -> Vec<PartnerPlan> {
    let sizes = sizes(n_partners);
    let mut names = invent_names(rng);
    (0..n_partners)
        .map(|place| {
            let declining = DECLINING.iter().find(|d| d.0 == place);
            let (name, country) = match declining {
                Some(&(_, _, name, _, _, country)) => (name.to_owned(), country),
                None => names.pop().unwrap_or_else(|| (format!("Partner {place}"), "DE")),
            };
            let kind = declining.map_or_else(|| kind(rng), |d| d.4);
            let fate = declining.map_or(Fate::Lives, |d| d.1);
            invent_partner(rng, place, n_partners, days, (name, country, kind, fate), sizes[place])
        })
        .collect()
}

fn invent_partner(
    rng: &mut StdRng,
    place: usize,
    n_partners: usize,
    days: u32,
    (name, country, kind, fate): (String, &'static str, &'static str, Fate),
    clicks_per_day: f64,
) -> PartnerPlan {
    let rank = match place * 100 / n_partners.max(1) {
        0..10 => "A",
        10..30 => "B",
        30..70 => "C",
        _ => "D",
    };
    // The large ones were there from the beginning; of the others every third came later.
    let is_old = place < 12 || rng.random_bool(0.67);
    let joined = if is_old { 0 } else { rng.random_range(0..=days * 6 / 10) };
    let n_links = rng.random_range(1..=4);
    let links = (0..n_links)
        .map(|n| LinkPlan {
            label: LABELS[(place + n) % LABELS.len()],
            sub1: rng.random_bool(0.4).then(|| format!("place-{}", n + 1)),
        })
        .collect();
    let is_lead_partner = matches!(kind, "dealer" | "integrator");
    PartnerPlan {
        slug: name.to_lowercase().replace(' ', "-"),
        name,
        kind,
        country,
        rank,
        owner: (rank != "D").then(|| OWNERS[rng.random_range(0..OWNERS.len())]),
        joined,
        links,
        fate,
        clicks_per_day,
        evenness: rng.random_range(4.0..18.0),
        conversion_rate: rng.random_range(0.01..0.04),
        lead_share: if is_lead_partner { 0.5 } else { 0.15 },
        basket: rng.random_range(35.0..140.0),
        growth: rng.random_range(-0.0008..0.0022),
        phase: rng.random_range(0.0..TAU),
    }
}

/// Returns mean clicks a day, largest first: the quantiles of a log-normal law, so that no seed
/// makes a program of one giant.
fn sizes(n_partners: usize) -> Vec<f64> {
    let normal = Normal::standard();
    let n = n_partners as f64;
    let raw: Vec<f64> = (0..n_partners)
        .map(|place| (SIZE_SIGMA * normal.inverse_cdf(1.0 - (place as f64 + 0.5) / n)).exp())
        .collect();
    let scale = CLICKS_PER_PARTNER * n / raw.iter().sum::<f64>();
    raw.into_iter().map(|size| size * scale).collect()
}

fn invent_names(rng: &mut StdRng) -> Vec<(String, &'static str)> {
    let mut names = Vec::new();
    for (firsts, seconds, countries) in NAMES {
        for first in firsts {
            for second in seconds {
                let country = countries.choose(rng).copied().unwrap_or("DE");
                names.push((format!("{first} {second}"), country));
            }
        }
    }
    names.shuffle(rng);
    names
}

fn kind(rng: &mut StdRng) -> &'static str {
    match rng.random_range(0..100) {
        0..50 => "webmaster",
        50..75 => "dealer",
        75..90 => "integrator",
        _ => "other",
    }
}

//! The network: partners as people whom a program wins, ranks, talks to and cheers on.
//!
//! Nothing here moves money. Figures are read from what settlement has written (unique human
//! clicks, sales that were not taken back, commissions that stand), so a rank, a goal or a board
//! can be computed again and comes out the same. Every rule is whole numbers: points are per mille.

pub mod absence;
pub mod application;
pub mod contacts;
pub mod contest;
pub mod http;
pub mod longlist;
pub mod nightly;
pub mod rank;
pub mod recruiter;
pub mod scorecard;
pub mod store;

use chrono::NaiveDate;
use chrono_tz::Tz;

use crate::clock::Timestamp;
use crate::ids::{PartnerId, ProgramId};
use crate::money::{Currency, Money};

/// How a program counts: its money and its days.
#[derive(Clone, Copy, Debug)]
pub struct Books {
    /// The program.
    pub program_id: ProgramId,
    /// What it pays in.
    pub currency: Currency,
    /// Whose midnight begins a day.
    pub time_zone: Tz,
}

impl Books {
    /// Returns the day of the program on which `at` lies.
    pub fn day(&self, at: Timestamp) -> NaiveDate {
        at.with_timezone(&self.time_zone).date_naive()
    }

    /// Returns a figure as it is shown: an amount in major units, or a count.
    pub fn show(&self, metric: Metric, figure: i64) -> String {
        if metric.is_money() {
            Money::new(figure, self.currency).to_decimal_string()
        } else {
            figure.to_string()
        }
    }
}

/// What a partner brought in some days, as settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Unique clicks of people.
    pub n_clicks: i64,
    /// Sales, those taken back wholly included.
    pub n_orders: i64,
    /// Of these, taken back wholly.
    pub n_refunded: i64,
    /// Commissions that stand, clawbacks with their sign, minor units.
    pub earned_minor: i64,
    /// What is left of the biggest order, minor units.
    pub biggest_order_minor: i64,
}

impl Figures {
    /// Returns the sales that stand.
    pub fn n_sales(&self) -> i64 {
        self.n_orders - self.n_refunded
    }

    /// Returns one figure by its name in goals and contests.
    pub fn of(&self, metric: Metric) -> i64 {
        match metric {
            Metric::Clicks => self.n_clicks,
            Metric::Sales => self.n_sales(),
            Metric::Commission => self.earned_minor,
            Metric::BiggestOrder => self.biggest_order_minor,
        }
    }
}

/// What a goal or a contest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Unique clicks of people.
    Clicks,
    /// Sales that stand.
    Sales,
    /// Commissions that stand.
    Commission,
    /// The biggest order.
    BiggestOrder,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 4] = [Self::Clicks, Self::Sales, Self::Commission, Self::BiggestOrder];

    /// Returns the text form kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Sales => "sales",
            Self::Commission => "commission",
            Self::BiggestOrder => "biggest_order",
        }
    }

    /// Returns the metric with this text form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == text)
    }

    /// Tells whether the figure is an amount in minor units.
    pub fn is_money(self) -> bool {
        match self {
            Self::Clicks | Self::Sales => false,
            Self::Commission | Self::BiggestOrder => true,
        }
    }
}

/// Days, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub to: NaiveDate,
}

impl Days {
    /// Returns the `n` days that end on `last`.
    pub fn ending(last: NaiveDate, n: u64) -> Self {
        let before = chrono::Days::new(n.saturating_sub(1));
        Self { from: last.checked_sub_days(before).unwrap_or(NaiveDate::MIN), to: last }
    }

    /// Returns how many days there are.
    pub fn count(self) -> i64 {
        (self.to - self.from).num_days() + 1
    }
}

/// A partner of a program with what it is there and what it brought lately.
#[derive(Clone, Debug)]
pub struct Member {
    /// The partner.
    pub partner_id: PartnerId,
    /// What people call it.
    pub name: String,
    /// Webmaster, dealer, integrator or other.
    pub kind: String,
    /// Applied, active or paused.
    pub status: String,
    /// A to D.
    pub rank: String,
    /// Whether a person has set the rank for good.
    pub is_rank_pinned: bool,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Who speaks for us there.
    pub champion: Option<String>,
    /// When to be in touch next.
    pub next_contact_due: Option<NaiveDate>,
    /// When somebody was last in touch.
    pub last_contact_at: Option<Timestamp>,
    /// When it last brought a visitor; none in all the time that is kept.
    pub last_click_at: Option<Timestamp>,
    /// When its enrollment began.
    pub since: Timestamp,
    /// The last 90 days.
    pub now: Figures,
    /// The 90 days before those.
    pub before: Figures,
}

/// What a program has chosen for its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Kinds that are approved at once; none: a person decides.
    pub auto_approve_kinds: Vec<String>,
    /// Countries of those; none: every country.
    pub auto_approve_countries: Vec<String>,
    /// Days for which a customer stays the partner's.
    pub customer_protection_days: i32,
    /// Weights of the ten groups; none: [`scorecard::GROUPS`].
    pub score_weights: Option<Vec<i16>>,
}

/// What a partner is in the network of one program.
#[derive(Clone, Debug)]
pub struct Relation {
    /// The program.
    pub program_id: ProgramId,
    /// Who brought it.
    pub parent_partner_id: Option<PartnerId>,
    /// How many it has brought.
    pub n_recruits: i64,
    /// Whether a person has set the rank for good.
    pub is_rank_pinned: bool,
    /// Its name on boards of contests.
    pub public_name: Option<String>,
    /// Who speaks for us there.
    pub champion_name: Option<String>,
    /// What is worth knowing of that person.
    pub champion_note: Option<String>,
}

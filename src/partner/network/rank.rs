//! Rank A to D from results, relative to the program's partners, with the arithmetic in words. Pure.
//!
//! A partner has 0 to 1000 points: half from what it earned in the last 90 days and a fifth from its
//! clicks, each by its place among the program's partners; the rest from growth and from orders
//! that stay. A rank is left only when the points are clearly outside of it, so that a partner at
//! a border does not change manager every night.

use super::{Figures, Member};
use crate::ids::PartnerId;
use crate::money::{Currency, Money};

/// Days of results that a rank looks at; as many before them tell growth.
pub const DAYS: u64 = 90;
/// Until then a partner keeps the rank it was given: a month is needed to show anything.
const YOUNG_DAYS: i64 = 30;
/// How far outside its borders the points must be before a rank changes.
const MARGIN: i64 = 40;
/// Shares of the points, per mille.
const SHARE_EARNED: i64 = 500;
const SHARE_CLICKS: i64 = 200;
const SHARE_GROWTH: i64 = 150;
const SHARE_KEPT: i64 = 150;
/// Clicks that count as neither growth nor fall: three clicks after one are no trend.
const STEADY_CLICKS: i64 = 20;
/// Orders at the program's refund rate that every partner is credited with.
const USUAL_ORDERS: i64 = 20;

/// A rank, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its letter")]
pub enum Rank {
    A,
    B,
    C,
    D,
}

impl Rank {
    /// Every rank, best first.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    /// Returns the letter kept in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }

    /// Returns the rank with this letter.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Returns the fewest points of the rank.
    fn floor(self) -> i64 {
        match self {
            Self::A => 720,
            Self::B => 520,
            Self::C => 250,
            Self::D => i64::MIN,
        }
    }

    fn of(points: i64) -> Self {
        Self::ALL.into_iter().find(|r| points >= r.floor()).unwrap_or(Self::D)
    }

    /// Returns the rank after the points are known; it moves only over a border and a margin.
    pub fn after(self, points: i64) -> Self {
        let (cautious, generous) = (Self::of(points - MARGIN), Self::of(points + MARGIN));
        if cautious < self {
            cautious
        } else if generous > self {
            generous
        } else {
            self
        }
    }
}

/// What a rank rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The partner.
    pub partner_id: PartnerId,
    /// The rank that it has.
    pub rank: Rank,
    /// Whether a person has set it for good.
    pub is_pinned: bool,
    /// Days since its enrollment.
    pub days_enrolled: i64,
    /// The last 90 days.
    pub now: Figures,
    /// The 90 days before.
    pub before: Figures,
}

impl Facts {
    /// Returns the facts of a member at a time; `enrolled` is the number of days since it began.
    pub fn of(member: &Member, enrolled: i64) -> Self {
        Self {
            partner_id: member.partner_id,
            rank: Rank::parse(&member.rank).unwrap_or(Rank::C),
            is_pinned: member.is_rank_pinned,
            days_enrolled: enrolled,
            now: member.now,
            before: member.before,
        }
    }
}

/// A rank with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    /// The partner.
    pub partner_id: PartnerId,
    /// 0 to 1000.
    pub points: i64,
    /// The rank that it had.
    pub from: Rank,
    /// The rank that it has.
    pub to: Rank,
    /// The arithmetic, a sentence each.
    pub why: Vec<String>,
}

/// Ranks the partners of a program.
pub fn rank(all: &[Facts], currency: Currency) -> Vec<Ranking> {
    let program = Program::of(all);
    all.iter()
        .map(|facts| {
            let (points, mut why) = program.points(facts, currency);
            let to = decide(facts, points, &mut why);
            Ranking { partner_id: facts.partner_id, points, from: facts.rank, to, why }
        })
        .collect()
}

fn decide(facts: &Facts, points: i64, why: &mut Vec<String>) -> Rank {
    let (from, implied) = (facts.rank, Rank::of(points));
    let by_points = from.after(points);
    let to = if facts.is_pinned || facts.days_enrolled < YOUNG_DAYS { from } else { by_points };
    why.push(if facts.is_pinned {
        format!(
            "{points} points stand for {}; {} was pinned by hand.",
            implied.as_str(),
            from.as_str()
        )
    } else if facts.days_enrolled < YOUNG_DAYS {
        format!("Enrolled for {} days only: stays {}.", facts.days_enrolled, from.as_str())
    } else if to != from {
        format!("{points} points: from {} to {}.", from.as_str(), to.as_str())
    } else if implied != from {
        format!("{points} points are {MARGIN} or less outside of {}: it stays.", from.as_str())
    } else {
        format!("{points} points: stays {}.", from.as_str())
    });
    to
}

/// What a partner is compared with.
struct Program {
    earned: Vec<i64>,
    clicks: Vec<i64>,
    /// Orders taken back, per mille.
    refund_rate: i64,
}

impl Program {
    fn of(all: &[Facts]) -> Self {
        let sorted = |figure: fn(&Figures) -> i64| {
            let mut figures: Vec<i64> = all.iter().map(|f| figure(&f.now)).collect();
            figures.sort_unstable();
            figures
        };
        let sum = |figure: fn(&Figures) -> i64| all.iter().map(|f| figure(&f.now)).sum::<i64>();
        Self {
            earned: sorted(|f| f.earned_minor),
            clicks: sorted(|f| f.n_clicks),
            refund_rate: sum(|f| f.n_refunded) * 1000 / sum(|f| f.n_orders).max(1),
        }
    }

    fn points(&self, facts: &Facts, currency: Currency) -> (i64, Vec<String>) {
        let (now, before) = (&facts.now, &facts.before);
        let earned = standing(now.earned_minor, &self.earned);
        let clicks = standing(now.n_clicks, &self.clicks);
        let growth = growth(now.n_clicks, before.n_clicks);
        let rate = (now.n_refunded * 1000 + USUAL_ORDERS * self.refund_rate)
            / (now.n_orders + USUAL_ORDERS);
        // The program's rate is the middle; ten per cent more or less is the end.
        let kept = (500 + (self.refund_rate - rate) * 5).clamp(0, 1000);
        let part = |value: i64, share: i64| value * share / 1000;
        let parts = [
            part(earned, SHARE_EARNED),
            part(clicks, SHARE_CLICKS),
            part(growth, SHARE_GROWTH),
            part(kept, SHARE_KEPT),
        ];
        let amount = Money::new(now.earned_minor, currency).to_decimal_string();
        let why = vec![
            format!(
                "Earned {amount} {} in {DAYS} days, more than {} % of the partners: {} of \
                 {SHARE_EARNED} points.",
                currency.code(),
                earned / 10,
                parts[0]
            ),
            format!(
                "Brought {} visitors, more than {} % of the partners: {} of {SHARE_CLICKS} points.",
                now.n_clicks,
                clicks / 10,
                parts[1]
            ),
            format!(
                "After {} visitors in the {DAYS} days before: {} of {SHARE_GROWTH} points for growth.",
                before.n_clicks, parts[2]
            ),
            format!(
                "{} of {} orders were taken back, {}.{} % in the program: {} of {SHARE_KEPT} points.",
                now.n_refunded,
                now.n_orders,
                self.refund_rate / 10,
                self.refund_rate % 10,
                parts[3]
            ),
        ];
        (parts.iter().sum(), why)
    }
}

/// Returns which share of the partners lies below a figure, per mille; level ones count half. Who
/// has nothing stands below everybody.
fn standing(figure: i64, sorted: &[i64]) -> i64 {
    if figure <= 0 {
        return 0;
    }
    let below = sorted.partition_point(|other| *other < figure);
    let up_to = sorted.partition_point(|other| *other <= figure);
    let (halves, all) = (i64::try_from(below + up_to), i64::try_from(sorted.len()));
    halves.unwrap_or(0) * 500 / all.unwrap_or(1).max(1)
}

/// Returns 500 for steady, up to 1000 for growth, down to 0 for a fall.
fn growth(now: i64, before: i64) -> i64 {
    500 + 500 * (now - before) / (now + before + STEADY_CLICKS)
}

#[cfg(test)]
#[path = "rank_tests.rs"]
mod tests;

//! The standing state of a partner: what it lost since its last fall, and whether it is gone.
//!
//! Every baseline forgets: some months after a stop, zero clicks are usual. So a strong finding
//! latches the level before it, until the partner comes back.

use super::finding::Finding;
use super::history::History;
use super::series::{Day, PartnerSeries};

/// Findings at p <= 10^-2.5 latch: looser than a listing, because it only ranks.
const LATCH_STRENGTH: f64 = 2.5;
/// Back above 80 % of the old level, seen over more than a week, the partner has recovered.
const RECOVERED_ABOVE: f64 = 0.8;
const MIN_RECOVERY_EXPOSURE: f64 = 7.0;
/// The present is the last four weeks, or the days since the fall.
const NOW_DAYS: usize = 28;
/// One partner in 700 stops for good on any day.
const STOPS_PER_DAY: f64 = 1.0 / 700.0;
/// Clicks come in clumps: relative variance beyond chance while a living partner is silent.
const CLUMPING: f64 = 0.3;
/// Days before the last click that tell how silent a partner usually is.
const RATE_DAYS: usize = 112;
/// Below a tenth of the latched level a partner is nearly gone, even if a click comes.
const NEARLY_GONE: f64 = 0.1;

/// Describes a partner's state at the end of a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// The level a fall began from, until the partner is back.
    pub fallen: Option<Fallen>,
    /// Clicks per usual day at present.
    pub rate_now: f64,
    /// Day of the last click.
    pub last_click: Option<Day>,
    /// Probability that the partner has stopped for good, 0 to 1.
    pub dormancy: f64,
}

/// Describes the level before a fall that has not recovered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fallen {
    /// Clicks per usual day before.
    pub rate: f64,
    /// First day of the fall, as first seen.
    pub since: Day,
}

impl State {
    /// Clicks that 28 days at the present level lack against the level before the fall.
    pub fn standing_loss(&self) -> f64 {
        self.fallen.map_or(0.0, |fallen| 28.0 * (fallen.rate - self.rate_now).max(0.0))
    }
}

/// Replays one partner's findings from day `from` to `day` and returns its state.
pub(super) fn state(
    series: &PartnerSeries,
    history: &History,
    partner: usize,
    findings: impl Fn(Day) -> Finding,
    (from, day): (Day, Day),
) -> State {
    let mut fallen: Option<Fallen> = None;
    for today in from..=day {
        let finding = findings(today);
        if fallen.is_none() && f64::from(finding.strength) >= LATCH_STRENGTH {
            fallen = Some(Fallen { rate: f64::from(finding.rate), since: finding.since() });
        }
        fallen = fallen.filter(|fall| {
            let (rate, exposure) = present(history, partner, Some(*fall), today);
            exposure <= MIN_RECOVERY_EXPOSURE || rate <= RECOVERED_ABOVE * fall.rate
        });
    }
    let (rate_now, _) = present(history, partner, fallen, day);
    let last_click = series.clicks[..=day].iter().rposition(|&clicks| clicks > 0);
    let silent = last_click.map_or(0.0, |last| silence(history, partner, fallen, last, day));
    let dormancy = fallen.map_or(silent, |fall| silent.max(nearly_gone(rate_now, fall.rate)));
    State { fallen, rate_now, last_click, dormancy }
}

/// Returns clicks per usual day of the present stretch, and its usual days.
fn present(history: &History, partner: usize, fallen: Option<Fallen>, day: Day) -> (f64, f64) {
    let days = fallen.map_or(NOW_DAYS, |f| (day + 1).saturating_sub(f.since).clamp(1, NOW_DAYS));
    let from = (day + 1).saturating_sub(days);
    let exposure = history.exposure.between(partner, from, day + 1);
    (history.raw.between(partner, from, day + 1) / exposure.max(1e-9), exposure)
}

/// Weighs the chance to have stopped against the chance of so long a silence in a living partner.
fn silence(history: &History, partner: usize, fallen: Option<Fallen>, last: Day, day: Day) -> f64 {
    let from = (last + 1).saturating_sub(RATE_DAYS);
    let exposure = history.exposure.between(partner, from, last + 1);
    if exposure <= 0.0 {
        return 0.0;
    }
    let clicks = history.clicks.between(partner, from, last + 1) + 0.5;
    let rate = (clicks / exposure).max(fallen.map_or(0.0, |fall| fall.rate));
    let expected = rate * history.exposure.between(partner, last + 1, day + 1);
    let size = 1.0 / (1.0 / clicks + CLUMPING);
    let alive = (1.0 + expected / size).powf(-size);
    let stopped = STOPS_PER_DAY * (day - last) as f64;
    stopped / (stopped + alive)
}

fn nearly_gone(rate_now: f64, rate_before: f64) -> f64 {
    let kept = rate_now / (NEARLY_GONE * rate_before);
    let sure = 1.0 - 10_f64.powf(-LATCH_STRENGTH);
    if kept < 1.0 { 0.5 + 0.5 * (1.0 - kept) * sure } else { 0.0 }
}

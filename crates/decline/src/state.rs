//! The standing state of a partner: what it lost since its last fall, and whether it is gone.
//!
//! Every baseline forgets: some months after a stop, zero clicks are usual. So a strong finding
//! latches the level before it, until the partner comes back.

use super::finding::Finding;
use super::history::History;
use super::series::Day;

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

    /// Tells a partner's state at the end of the last day of its history.
    pub(crate) fn at(
        history: &History,
        partner: usize,
        fallen: Option<Fallen>,
        rest: &Rest,
    ) -> Self {
        let day = history.days - 1;
        let (rate_now, _) = present(history, partner, fallen, day);
        let silent = rest.silence(fallen, day);
        let dormancy = fallen.map_or(silent, |fall| silent.max(nearly_gone(rate_now, fall.rate)));
        Self { fallen, rate_now, last_click: rest.last, dormancy }
    }
}

/// Latches a fall that a day shows, and lets go of one that is over.
pub(crate) fn relatch(
    fallen: Option<Fallen>,
    history: &History,
    partner: usize,
    finding: Finding,
    day: Day,
) -> Option<Fallen> {
    let shown = || {
        let is_strong = f64::from(finding.strength) >= LATCH_STRENGTH;
        is_strong.then(|| Fallen { rate: f64::from(finding.rate), since: finding.since() })
    };
    fallen.or_else(shown).filter(|fall| {
        let (rate, exposure) = present(history, partner, Some(*fall), day);
        exposure <= MIN_RECOVERY_EXPOSURE || rate <= RECOVERED_ABOVE * fall.rate
    })
}

/// Returns clicks per usual day of the present stretch, and its usual days.
fn present(history: &History, partner: usize, fallen: Option<Fallen>, day: Day) -> (f64, f64) {
    let days = fallen.map_or(NOW_DAYS, |f| (day + 1).saturating_sub(f.since).clamp(1, NOW_DAYS));
    let from = (day + 1).saturating_sub(days);
    let exposure = history.exposure.between(partner, from, day + 1);
    (history.raw.between(partner, from, day + 1) / exposure.max(1e-9), exposure)
}

/// The days since a partner's last click, on whatever day that was.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Rest {
    pub(crate) last: Option<Day>,
    /// Clicks and exposure of the days that end with the last click.
    pub(crate) clicks: f64,
    pub(crate) usual: f64,
    /// Exposure since then.
    pub(crate) exposure: f64,
}

impl Rest {
    /// Takes in a day that the history has just learned.
    pub(crate) fn pass_day(&mut self, history: &History, partner: usize, day: Day, count: u32) {
        if count > 0 {
            *self = Self { last: Some(day), ..Self::default() };
            return;
        }
        let Some(last) = self.last else { return };
        if day == last + 1 {
            let from = day.saturating_sub(RATE_DAYS);
            self.clicks = history.clicks.between(partner, from, day);
            self.usual = history.exposure.between(partner, from, day);
        }
        self.exposure += history.exposure.on(partner, day);
    }

    /// Weighs the chance to have stopped against the chance of so long a silence in a living
    /// partner.
    fn silence(&self, fallen: Option<Fallen>, day: Day) -> f64 {
        let Some(last) = self.last.filter(|_| self.usual > 0.0) else { return 0.0 };
        let clicks = self.clicks + 0.5;
        let rate = (clicks / self.usual).max(fallen.map_or(0.0, |fall| fall.rate));
        let size = 1.0 / (1.0 / clicks + CLUMPING);
        let alive = (1.0 + rate * self.exposure / size).powf(-size);
        let stopped = STOPS_PER_DAY * (day - last) as f64;
        stopped / (stopped + alive)
    }
}

fn nearly_gone(rate_now: f64, rate_before: f64) -> f64 {
    let kept = rate_now / (NEARLY_GONE * rate_before);
    let sure = 1.0 - 10_f64.powf(-LATCH_STRENGTH);
    if kept < 1.0 { 0.5 + 0.5 * (1.0 - kept) * sure } else { 0.0 }
}

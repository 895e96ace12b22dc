//! The detector, day by day: what it knows of every partner at the end of a day, and how a day more
//! changes that.

use super::assess::Standing;
use super::conversions::{self, ConversionFall};
use super::finding::Finding;
use super::halves;
use super::history::{CommonDay, History, Today};
use super::kept::states::first_kept;
use super::network;
use super::series::Day;
use super::silence::Silence;
use super::state::{Fallen, Rest, State, relatch};
use super::windows::{COUNT, Window};
use super::{Incident, JUDGED_FROM, PartnerSeries};

/// From so many partners on, half of the windows are looked at beside the other half.
const BESIDE_FROM: usize = 500;
/// Four weeks.
const FORGOTTEN_DAYS: usize = 28;

/// Holds what was learned of a network up to the end of a day.
#[derive(Debug)]
pub struct Detector {
    pub(crate) history: History,
    pub(crate) windows: Vec<Window>,
    pub(crate) silences: Vec<Silence>,
    pub(crate) rests: Vec<Rest>,
    pub(crate) fallen: Vec<Option<Fallen>>,
    /// Strongest finding of the last day, by partner.
    findings: Vec<Finding>,
    /// Who could be judged on it.
    can_judge: Vec<bool>,
}

impl Detector {
    /// Begins with partners of these kinds.
    pub fn new(kinds: Vec<u8>) -> Self {
        Self::with(History::new(kinds))
    }

    fn with(history: History) -> Self {
        let partners = history.levels.len();
        Self {
            history,
            windows: (0..COUNT).map(|place| Window::new(place, partners)).collect(),
            silences: vec![Silence::default(); partners],
            rests: vec![Rest::default(); partners],
            fallen: vec![None; partners],
            findings: vec![Finding::NONE; partners],
            can_judge: vec![false; partners],
        }
    }

    /// Begins with the first days of these partners known.
    pub(crate) fn of(partners: &[PartnerSeries]) -> Self {
        Self::with(History::of(partners))
    }

    /// Goes on at the end of a week of which only what the network did is known yet.
    pub(crate) fn resumed(kinds: Vec<u8>, common: Vec<CommonDay>) -> Self {
        let first = first_kept(common.len());
        Self::with(History::resumed(kinds, common, first))
    }

    /// Forgets days that no rule looks at any more. A month of them at a time: each forgetting
    /// moves everything that is kept.
    pub fn forget(&mut self) {
        let first = first_kept(self.history.days / 7 * 7);
        if first >= self.history.clicks.first() + FORGOTTEN_DAYS {
            self.history.forget_before(first);
        }
    }

    /// Number of partners.
    pub(crate) fn count(&self) -> usize {
        self.findings.len()
    }

    /// Number of days learned.
    pub fn days(&self) -> usize {
        self.history.days
    }

    /// The first day that is not forgotten yet.
    pub fn first_kept(&self) -> Day {
        self.history.clicks.first()
    }

    /// What the network did on each day.
    pub fn common(&self) -> &[CommonDay] {
        &self.history.common
    }

    /// First day of each partner, once it has begun.
    pub fn joined_on(&self) -> &[Option<Day>] {
        &self.history.joined_on
    }

    /// Lets partners begin with their first click: before it there is nothing to judge. To be told
    /// of the counts of the next day before it is learned.
    pub fn note_beginnings(&mut self, counts: &[u32]) {
        let day = self.history.days;
        for (joined, &count) in self.history.joined_on.iter_mut().zip(counts) {
            if joined.is_none() && count > 0 {
                *joined = Some(day);
            }
        }
    }

    /// Returns the clearest fall of conversions of a partner, counted by day.
    pub fn conversion_fall(&self, partner: usize, counts: &[u32]) -> Option<ConversionFall> {
        conversions::fall(&self.history, counts, partner, self.last())
    }

    /// The last day that was learned.
    pub fn last(&self) -> Day {
        self.history.days - 1
    }

    /// Learns the next day. What the network did on it is found out, unless it is known.
    pub fn learn_day(&mut self, today: Today, common: Option<CommonDay>) {
        let day = self.history.days;
        self.history.learn_day(&today, common);
        for (partner, rest) in self.rests.iter_mut().enumerate() {
            rest.pass_day(&self.history, partner, day, today.counts[partner]);
        }
        for (partner, silence) in self.silences.iter_mut().enumerate() {
            silence.pass_day(&self.history, partner, day);
        }
        if day >= JUDGED_FROM {
            self.judge_day(&today, day);
        }
        self.can_judge = today.can_judge;
    }

    fn judge_day(&mut self, today: &Today, day: Day) {
        self.findings = self.find(today, day);
        for (partner, fallen) in self.fallen.iter_mut().enumerate() {
            *fallen = relatch(*fallen, &self.history, partner, self.findings[partner], day);
        }
    }

    fn find(&mut self, today: &Today, day: Day) -> Vec<Finding> {
        let Self { history, windows, silences, .. } = self;
        let history = &*history;
        let scan = |windows: &mut [Window], silences: &[Silence]| {
            let mut found = vec![Finding::NONE; today.can_judge.len()];
            let mut keep = |partner: usize, finding: Finding| {
                let best = &mut found[partner];
                if today.can_judge[partner] && finding.listing_strength > best.listing_strength {
                    *best = finding;
                }
            };
            for window in windows {
                window.look(history, day, &mut keep);
            }
            for (partner, silence) in silences.iter().enumerate() {
                if let Some(finding) = silence.judge() {
                    keep(partner, finding);
                }
            }
            found
        };
        if today.can_judge.len() < BESIDE_FROM {
            return scan(windows, silences);
        }
        let (first, second) = windows.split_at_mut(COUNT / 2);
        let (mut found, others) = halves::both(|| scan(first, &[]), || scan(second, silences));
        for (best, other) in found.iter_mut().zip(others) {
            if other.listing_strength > best.listing_strength {
                *best = other;
            }
        }
        found
    }

    /// Returns whether a partner could be judged on the last day.
    pub fn can_judge(&self, partner: usize) -> bool {
        self.can_judge[partner]
    }

    /// Returns what is known of a partner at the end of the last day.
    pub fn standing(&self, partner: usize) -> Standing {
        let (fallen, rest) = (self.fallen[partner], &self.rests[partner]);
        let state = State::at(&self.history, partner, fallen, rest);
        Standing { finding: self.findings[partner], state }
    }

    /// Returns a partner's clicks a day in the last `days`, freed of what the network did; none
    /// while these were no usual days at all.
    pub fn rate(&self, partner: usize, days: usize) -> Option<f64> {
        let until = self.history.days;
        let from = until.saturating_sub(days);
        let exposure = self.history.exposure.between(partner, from, until);
        let raw = self.history.raw.between(partner, from, until);
        (exposure > 0.0).then(|| raw / exposure * self.history.usual())
    }

    /// Returns the network-wide incident that the last day belongs to, once it lasts three days.
    pub(crate) fn incident(&self) -> Option<Incident> {
        let (n_days, factor) = network::low_stretch(&self.history.factors())?;
        Some(Incident { since: self.history.days - n_days, factor })
    }
}

//! Who is listed on a day, and how urgent it is.

/// A fall is worth watching at a priced p <= 10^-3.3.
const WATCH_STRENGTH: f64 = 3.3;
/// At that bound the benchmark measures 0.8 to 1.0 false alarms in 100 partner-months.
const WATCH_FALSE_ALARMS: f64 = 0.01;
/// Benjamini and Hochberg (1995): this share of a day's list may be false.
const FALSE_SHARE: f64 = 0.01;
/// The p-value is the least of overlapping windows, which count for 6 independent looks.
const LOOKS: f64 = 6.0;
const CRITICAL_SHARE_LOST: f64 = 0.7;
/// Critical is also who belongs to the tenth of the list that loses most.
const CRITICAL_PART: usize = 10;
const SILENT_DORMANCY: f64 = 0.95;

/// Says how urgent a listed decline is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Unusual enough to look at: one false alarm in 100 healthy partner-months.
    Watch,
    /// On the day's Benjamini-Hochberg list.
    Warning,
    /// A warning with most of its clicks lost, or among the costliest of the day.
    Critical,
    /// No click since the fall began, and almost surely none to come.
    Silent,
}

/// Says which error rate holds for a listing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FalseAlarms {
    /// False alarms per month of one healthy partner.
    PerPartnerMonth(f64),
    /// False share of a day's list.
    OfList(f64),
}

/// Holds what severity depends on, for one partner with a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) listing_strength: f64,
    /// Share of the clicks lost, 0 to 1.
    pub(crate) share_lost: f64,
    /// Clicks expected to be lost in the next 28 days.
    pub(crate) next_loss: f64,
    pub(crate) silent_since_onset: bool,
    pub(crate) dormancy: f64,
}

/// Returns whether a partner of this listing strength may be on any day's list: the others only
/// count.
pub fn may_be_listed(listing_strength: f64) -> bool {
    is_watched(listing_strength) || LOOKS * 10_f64.powf(-listing_strength) <= FALSE_SHARE
}

/// Returns whether a listing strength is worth watching by itself.
pub(crate) fn is_watched(listing_strength: f64) -> bool {
    listing_strength >= WATCH_STRENGTH
}

/// Returns the listing strength from which partners are on the day's list; of the `n_judged` ones
/// at least the strengths of those that may be listed are given.
pub fn listed_from(strengths: &[f64], n_judged: usize) -> f64 {
    WATCH_STRENGTH.min(warning_strength(strengths, n_judged))
}

/// Returns the severity of each of these partners, `None` for those not listed. Of the `n_judged`
/// partners at least those that may be listed are given.
pub(crate) fn severities(day: &[Facts], n_judged: usize) -> Vec<Option<Severity>> {
    let strengths: Vec<f64> = day.iter().map(|facts| facts.listing_strength).collect();
    let warned_from = warning_strength(&strengths, n_judged);
    let is_warned = |strength: f64| strength > 0.0 && strength >= warned_from;
    let is_listed = |strength: f64| is_watched(strength) || is_warned(strength);

    let mut losses: Vec<f64> = day
        .iter()
        .zip(&strengths)
        .filter_map(|(facts, &strength)| is_listed(strength).then_some(facts.next_loss))
        .collect();
    losses.sort_unstable_by(|a, b| b.total_cmp(a));
    let costly_from = losses.get(losses.len() / CRITICAL_PART).copied().unwrap_or(f64::INFINITY);

    let severity = |(facts, &strength): (&Facts, &f64)| {
        if !is_listed(strength) {
            return None;
        }
        Some(if facts.silent_since_onset && facts.dormancy >= SILENT_DORMANCY {
            Severity::Silent
        } else if !is_warned(strength) {
            Severity::Watch
        } else if facts.share_lost >= CRITICAL_SHARE_LOST || facts.next_loss > costly_from {
            Severity::Critical
        } else {
            Severity::Warning
        })
    };
    day.iter().zip(&strengths).map(severity).collect()
}

/// Returns the error rate that holds for a listing of this strength.
pub(crate) fn control(severity: Severity) -> FalseAlarms {
    match severity {
        Severity::Watch | Severity::Silent => FalseAlarms::PerPartnerMonth(WATCH_FALSE_ALARMS),
        Severity::Warning | Severity::Critical => FalseAlarms::OfList(FALSE_SHARE),
    }
}

/// Returns the strength from which the Benjamini-Hochberg list takes a partner.
fn warning_strength(strengths: &[f64], n_judged: usize) -> f64 {
    let mut sorted = strengths.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let partners = n_judged as f64;
    let passes = |(rank, strength): (usize, &f64)| {
        let p_value = (LOOKS * 10_f64.powf(-strength)).min(1.0);
        (p_value <= FALSE_SHARE * (rank + 1) as f64 / partners).then_some(*strength)
    };
    sorted.iter().enumerate().filter_map(passes).next_back().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(listing_strength: f64, share_lost: f64, next_loss: f64) -> Facts {
        Facts { listing_strength, share_lost, next_loss, silent_since_onset: false, dormancy: 0.0 }
    }

    #[test]
    fn day_s_list_grades_by_strength_share_and_loss() {
        let mut day = vec![facts(0.0, 0.0, 0.0); 20];
        day[0] = facts(6.0, 0.5, 10.0);
        day[1] = facts(6.0, 0.8, 10.0);
        day[2] = facts(3.4, 0.8, 10.0);
        day[3] = Facts { silent_since_onset: true, dormancy: 0.96, ..facts(6.0, 1.0, 10.0) };
        let found = severities(&day, day.len());
        use Severity::{Critical, Silent, Warning, Watch};
        assert_eq!(found[..4], [Some(Warning), Some(Critical), Some(Watch), Some(Silent)]);
        assert!(found[4..].iter().all(Option::is_none));
    }

    #[test]
    fn who_is_left_out_could_not_be_listed_in_the_largest_company() {
        let all_fell = vec![9.0; 1_000];
        for tenths in 0..60 {
            let strength = f64::from(tenths) / 10.0;
            let day = [&all_fell[..], &[strength]].concat();
            let is_listed = is_watched(strength) || warning_strength(&day, 1_001) <= strength;
            assert!(may_be_listed(strength) || !is_listed, "{strength}");
        }
    }

    #[test]
    fn costliest_tenth_of_the_list_is_critical() {
        let day: Vec<Facts> = (0..20).map(|i| facts(8.0, 0.5, f64::from(i))).collect();
        let critical: Vec<usize> = severities(&day, day.len())
            .iter()
            .enumerate()
            .filter_map(|(i, severity)| (*severity == Some(Severity::Critical)).then_some(i))
            .collect();
        assert_eq!(critical, [18, 19]);
    }

    #[test]
    fn benjamini_hochberg_takes_more_when_many_fell() {
        let alone = [5.2, 0.0, 0.0, 0.0];
        assert_eq!(warning_strength(&alone, 4), 5.2);
        let weak = [3.2, 0.0, 0.0, 0.0];
        assert_eq!(warning_strength(&weak, 4), f64::INFINITY);
        assert_eq!(warning_strength(&alone[..1], 4), 5.2, "the others only count");
        let with_others = [3.2, 9.0, 9.0, 9.0];
        assert_eq!(warning_strength(&with_others, 4), 3.2);
    }
}

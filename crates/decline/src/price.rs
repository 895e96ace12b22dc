//! One scale for all evidence: what a p-value is worth, given how often such evidence is looked at.
//!
//! A healthy partner's short windows get many independent chances a month to look like a fall, its
//! long ones few; and the counts of a sparse partner are so coarse that a healthy one hardly ever
//! reaches a small p-value. One bound for all would spend the false alarms on short windows of
//! large partners alone. So p-values are weighted by what is known beforehand, the length of the
//! window and the size of the partner, as in Genovese, Roeder and Wasserman, *False discovery
//! control with p-value weighting* (2006). The constants were chosen on the benchmark's public
//! seeds, and hold on others.

/// A window of 17 days, in the middle of the lengths, pays nothing.
const NEUTRAL_DAYS: f64 = 17.0;
/// Beyond ten weeks length earns no more: what fell so long ago is no news.
const EARNS_UP_TO_DAYS: usize = 70;
/// Power of the length. 1 is the number of independent windows a month; a little more does better,
/// as a partner's own short ups and downs resemble each other.
const LENGTH_POWER: f64 = 1.5;
/// Silences are looked at every day from the seventh on, whatever their length.
const SILENCE_PRICE: f64 = 0.7;
/// Partners below so many clicks a day get a bonus by their size, of 10^1.5 at most.
const SPARSE_BELOW: f64 = 0.8;
const SPARSE_MOST: f64 = 1.5;

/// Names the kind of a piece of evidence.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Evidence {
    /// A window of so many days.
    Window(usize),
    /// Days without a click of a sparse partner.
    Silence,
}

/// Returns the strength that a listing is decided by, from that of the evidence alone. Both are
/// -log10 of a p-value; `rate` is in clicks a day.
pub(crate) fn listing_strength(strength: f64, evidence: Evidence, rate: f64) -> f64 {
    let price = match evidence {
        Evidence::Window(days) => {
            LENGTH_POWER * (NEUTRAL_DAYS / days.min(EARNS_UP_TO_DAYS) as f64).log10()
        }
        Evidence::Silence => SILENCE_PRICE,
    };
    let bonus = (SPARSE_BELOW / rate.max(1e-3)).log10().clamp(0.0, SPARSE_MOST);
    (strength - price + bonus).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(evidence: Evidence, rate: f64) -> f64 {
        (listing_strength(3.0, evidence, rate) * 100.0).round() / 100.0
    }

    #[test]
    fn short_windows_pay_and_long_ones_earn() {
        let of = |days| rounded(Evidence::Window(days), 5.0);
        assert_eq!([of(2), of(17), of(70), of(112)], [1.61, 3.0, 3.92, 3.92]);
        assert_eq!(rounded(Evidence::Silence, 5.0), 2.3);
    }

    #[test]
    fn sparse_partners_get_a_bounded_bonus() {
        let of = |rate| rounded(Evidence::Window(17), rate);
        assert_eq!([of(5.0), of(0.8), of(0.08), of(0.0)], [3.0, 3.0, 4.0, 4.5]);
    }
}

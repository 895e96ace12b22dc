//! Probabilities of counts as low, or as high, as the one seen, and intervals around a mean.

use statrs::function::beta::{beta_reg, ln_beta};

/// The own noise of a partner is itself uncertain: multiples of it, and how likely each is.
const NOISE_MIXTURE: [(f64, f64); 4] = [(0.5, 0.25), (1.0, 0.45), (2.0, 0.27), (4.0, 0.03)];
/// 97.5 % point of the normal distribution: two-sided 95 % intervals.
const Z_95: f64 = 1.96;
/// Smallest p-value told apart; keeps logarithms finite.
const SMALLEST: f64 = 1e-300;

/// Describes what a count is compared with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expectation {
    /// Expected count.
    pub(crate) mean: f64,
    /// Relative variance that is certain: the baseline's error and the holidays'.
    pub(crate) known: f64,
    /// Relative variance of the partner's own forecast error.
    pub(crate) own: f64,
}

/// Returns P(N <= count) of a negative binomial N with this mean and relative extra variance.
/// The count may be fractional.
pub(crate) fn low_tail(count: f64, mean: f64, relative_variance: f64) -> f64 {
    let size = 1.0 / relative_variance;
    beta_reg(size, count + 1.0, size / (size + mean)).max(SMALLEST)
}

/// Returns P(N >= count) of the same distribution; 1 for a count of 0.
pub(crate) fn high_tail(count: f64, mean: f64, relative_variance: f64) -> f64 {
    if count <= 0.0 {
        return 1.0;
    }
    let size = 1.0 / relative_variance;
    beta_reg(count, size, mean / (size + mean)).max(SMALLEST)
}

/// Returns the probability of so low a count, averaged over how large the own noise may be.
pub(crate) fn mixed_low_tail(count: f64, expected: Expectation) -> f64 {
    mixed(expected, |variance| low_tail(count, expected.mean, variance))
}

/// Returns the probability of so high a count, averaged over how large the own noise may be.
pub(crate) fn mixed_high_tail(count: f64, expected: Expectation) -> f64 {
    mixed(expected, |variance| high_tail(count, expected.mean, variance))
}

fn mixed(expected: Expectation, tail: impl Fn(f64) -> f64) -> f64 {
    NOISE_MIXTURE
        .iter()
        .map(|(multiple, likelihood)| likelihood * tail(expected.known + multiple * expected.own))
        .sum()
}

/// Returns the probability that a partner active on a share Beta(active, idle) of its days stays
/// idle for `silence` more days.
pub(crate) fn silence_tail(active: f64, idle: f64, silence: f64) -> f64 {
    (ln_beta(active, idle + silence) - ln_beta(active, idle)).exp().max(SMALLEST)
}

/// Returns a 95 % interval around a positive mean with this relative variance.
///
/// A gamma distribution by the cube-root approximation of Wilson and Hilferty (1931): never
/// negative, and wide above rather than below.
pub(crate) fn interval(mean: f64, relative_variance: f64) -> (f64, f64) {
    let ninth = relative_variance / 9.0;
    let quantile = |z: f64| mean * (1.0 - ninth + z * ninth.sqrt()).max(0.0).powi(3);
    (quantile(-Z_95), quantile(Z_95))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 1e-6
    }

    #[test]
    fn low_tail_of_zero_is_the_probability_of_no_click() {
        let none = low_tail(0.0, 5.0, 0.5);
        assert!(close(none, (1.0_f64 + 5.0 * 0.5).powf(-2.0)), "{none}");
    }

    #[test]
    fn low_tail_is_the_sum_of_probabilities() {
        // Size 2, mean 3: P(k) = (k+1) * 0.4^2 * 0.6^k.
        let sum: f64 = (0..=4).map(|k| f64::from(k + 1) * 0.16 * 0.6_f64.powi(k)).sum();
        assert!(close(low_tail(4.0, 3.0, 0.5), sum));
    }

    #[test]
    fn tails_meet() {
        for (count, mean, variance) in [(1.0, 3.0, 0.5), (7.0, 3.0, 0.1), (900.0, 800.0, 0.02)] {
            let both = high_tail(count, mean, variance) + low_tail(count - 1.0, mean, variance);
            assert!(close(both, 1.0), "{both}");
        }
        assert_eq!(high_tail(0.0, 3.0, 0.5), 1.0);
    }

    #[test]
    fn silence_is_a_product_of_idle_days() {
        // Beta(1, 1): chances of idleness 1/2, then 2/3, then 3/4.
        assert!(close(silence_tail(1.0, 1.0, 3.0), 0.25));
    }

    #[test]
    fn interval_of_a_poisson_like_count() {
        // Exact gamma(10) quantiles: 4.795 and 17.085.
        let (low, high) = interval(10.0, 0.1);
        assert!((low - 4.795).abs() < 0.05 && (high - 17.085).abs() < 0.05, "{low} {high}");
    }

    proptest! {
        #[test]
        fn fewer_clicks_are_never_likelier(count in 0.0..400.0, mean in 0.5..1e5, own in 1e-3..1.0) {
            let expected = Expectation { mean, known: 0.01, own };
            let lower = mixed_low_tail(count, expected);
            let higher = mixed_low_tail(count + 1.0, expected);
            prop_assert!(lower <= higher * (1.0 + 1e-9), "{lower} {higher}");
            prop_assert!((0.0..=1.0 + 1e-9).contains(&higher));
        }
    }
}

//! Why a conversion is nobody's and how close it came, in a sentence. Pure.

use chrono::Duration;

use crate::clock::Timestamp;

/// What is known of a conversion that is nobody's.
#[derive(Clone, Debug, Default)]
pub(super) struct Miss<'a> {
    /// The code of the reason.
    pub reason: &'a str,
    /// Days within which a click counts.
    pub window_days: i32,
    /// From the click to the conversion; negative where the click came later.
    pub after_click: Option<Duration>,
    /// Whether exactly the click that a damaged click id names is on record.
    pub is_click_on_record: bool,
    /// Whether clicks of that day are no longer kept, so that nobody can tell.
    pub is_click_day_gone: bool,
    /// The coupon that the customer used.
    pub coupon: Option<&'a str>,
    /// The coupon that was probably meant, where the program has none that is written so.
    pub near_coupon: Option<&'a str>,
    /// Since when the customer is known as somebody's.
    pub customer_since: Option<Timestamp>,
}

impl Miss<'_> {
    /// Returns by how many days the click missed the window, begun days counted whole.
    pub(super) fn days_too_late(&self) -> Option<i64> {
        let late = self.after_click? - Duration::days(i64::from(self.window_days));
        let is_whole = late == Duration::days(late.num_days());
        (late > Duration::zero()).then(|| late.num_days() + i64::from(!is_whole))
    }

    /// Says it to a person: the reason first, then what came closest beside it.
    pub(super) fn sentence(&self) -> String {
        let mut text = self.main();
        if let Some(near) = self.near_coupon {
            text.push_str(&format!("; it has {near}, which is written almost so"));
        }
        if let Some(since) = self.customer_since {
            let day = since.date_naive();
            text.push_str(&format!("; the same customer was brought by this partner on {day}"));
        }
        if let Some(coupon) = self.coupon.filter(|_| !self.reason.contains("coupon")) {
            text.push_str(&format!("; the customer used the coupon {coupon}"));
        }
        text
    }

    fn coupon_text(&self) -> &str {
        self.coupon.unwrap_or("that was used")
    }

    fn main(&self) -> String {
        let window = self.window_days;
        match (self.reason, self.after_click) {
            ("outside_window", Some(after)) => {
                let (days, late) = (after.num_days(), self.days_too_late().unwrap_or(0));
                format!(
                    "the click was {days} days before, {late} too many for a window of {window}"
                )
            }
            ("before_click", Some(after)) => {
                format!("the click came {} after the conversion", in_words(-after))
            }
            ("bad_click_id", Some(_)) if self.is_click_on_record => {
                "the click id is damaged, but exactly this click of the partner is on record"
                    .to_owned()
            }
            ("bad_click_id", Some(_)) if self.is_click_day_gone => {
                "the click id names the partner, but its signature is not ours; whether there was such \
                 a click nobody can tell, for clicks of its day are no longer kept"
                    .to_owned()
            }
            ("bad_click_id", Some(_)) => {
                "the click id names the partner, but its signature is not ours".to_owned()
            }
            ("bad_click_id", None) => "what came as click id is none".to_owned(),
            ("not_enrolled", _) => {
                "the partner whose click it was takes no part in the program".to_owned()
            }
            ("other_program", _) => "the click was for another program".to_owned(),
            ("no_click", _) => "no click id came with it".to_owned(),
            ("too_soon", Some(after)) => {
                format!(
                    "it came {} seconds after the click, which is too soon",
                    after.num_seconds()
                )
            }
            ("unknown_coupon", _) => format!("the program has no coupon {}", self.coupon_text()),
            ("coupon_not_begun", _) => {
                format!("the coupon {} was not in force yet", self.coupon_text())
            }
            ("coupon_ended", _) => format!("the coupon {} had ended", self.coupon_text()),
            ("not_in_ladder", _) => {
                "the program does not attribute by what came with it".to_owned()
            }
            (code, _) => code.replace('_', " "),
        }
    }
}

/// Returns a length of time in its largest whole unit.
fn in_words(length: Duration) -> String {
    match (length.num_days(), length.num_hours(), length.num_minutes()) {
        (days @ 2.., _, _) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes) => format!("{minutes} minutes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_told_with_its_distance() {
        let hours = |h| Some(Duration::hours(h));
        for (reason, after_click, expected, days) in [
            (
                "outside_window",
                hours(34 * 24),
                "the click was 34 days before, 4 too many for a window of 30",
                Some(4),
            ),
            (
                "outside_window",
                hours(30 * 24 + 1),
                "the click was 30 days before, 1 too many for a window of 30",
                Some(1),
            ),
            ("before_click", hours(-3), "the click came 3 hours after the conversion", None),
            ("before_click", hours(-72), "the click came 3 days after the conversion", None),
            ("no_click", None, "no click id came with it", None),
            ("coupon_ended", None, "the coupon that was used had ended", None),
            ("of_tomorrow", None, "of tomorrow", None),
        ] {
            let miss = Miss { reason, window_days: 30, after_click, ..Miss::default() };
            assert_eq!(miss.sentence(), expected);
            assert_eq!(miss.days_too_late(), days, "{reason}");
        }
    }

    #[test]
    fn a_damaged_click_id_says_whether_its_click_is_on_record_or_no_longer_kept() {
        let miss = Miss {
            reason: "bad_click_id",
            after_click: Some(Duration::days(500)),
            ..Miss::default()
        };
        let ends = |miss: Miss<'_>, end: &str| {
            assert!(miss.sentence().ends_with(end), "{}", miss.sentence());
        };
        ends(miss.clone(), "its signature is not ours");
        ends(Miss { is_click_on_record: true, ..miss.clone() }, "is on record");
        ends(Miss { is_click_day_gone: true, ..miss }, "clicks of its day are no longer kept");
    }

    #[test]
    fn a_coupon_that_is_written_almost_so_is_named() {
        let (coupon, near_coupon) = (Some("SUMER10"), Some("SUMMER10"));
        let miss = Miss { reason: "unknown_coupon", coupon, near_coupon, ..Miss::default() };
        assert_eq!(
            miss.sentence(),
            "the program has no coupon SUMER10; it has SUMMER10, which is written almost so"
        );
    }

    #[test]
    fn what_else_came_close_is_told_beside() {
        let since = Some("2026-10-01T12:00:00Z".parse().unwrap());
        let (coupon, reason) = (Some("SUMMER"), "no_click");
        let miss = Miss { reason, coupon, customer_since: since, ..Miss::default() };
        assert_eq!(
            miss.sentence(),
            "no click id came with it; the same customer was brought by this partner on \
             2026-10-01; the customer used the coupon SUMMER"
        );
    }
}

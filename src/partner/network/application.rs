//! Whether an application is approved at once. Pure.

use super::Policy;

/// Applications of one program within a day, at most: the form needs no key, so something must
/// bound what a stranger can fill the database with.
pub const A_DAY_MAX: i64 = 500;

/// What becomes of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Approved by the program's rule.
    AtOnce,
    /// A person decides.
    ByHand,
}

/// Decides on an application: at once where the kind is one of the program's kinds, and the country
/// is one of its countries or it names none.
pub fn admit(policy: &Policy, kind: &str, country: Option<&str>) -> Admission {
    let countries = &policy.auto_approve_countries;
    let fits_country =
        countries.is_empty() || country.is_some_and(|c| countries.iter().any(|known| known == c));
    if fits_country && policy.auto_approve_kinds.iter().any(|known| known == kind) {
        Admission::AtOnce
    } else {
        Admission::ByHand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_names_no_kind_decides_by_hand() {
        for (kinds, countries, kind, country, expected) in [
            ("", "", "webmaster", Some("DE"), Admission::ByHand),
            ("", "DE", "webmaster", Some("DE"), Admission::ByHand),
            ("webmaster", "", "webmaster", None, Admission::AtOnce),
            ("webmaster", "", "dealer", Some("DE"), Admission::ByHand),
            ("webmaster dealer", "DE AT", "dealer", Some("AT"), Admission::AtOnce),
            ("webmaster", "DE", "webmaster", Some("FR"), Admission::ByHand),
            ("webmaster", "DE", "webmaster", None, Admission::ByHand),
        ] {
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            let policy = Policy {
                auto_approve_kinds: list(kinds),
                auto_approve_countries: list(countries),
                ..Policy::default()
            };
            assert_eq!(admit(&policy, kind, country), expected, "{kinds} {countries} {kind}");
        }
    }
}

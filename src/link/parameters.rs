//! What a visitor's link may bring along: sub-ids, an advertisement's token, UTM marks, a deep
//! link. Everything else is dropped, so that a stranger's query never reaches the shop.

use std::borrow::Cow;

use url::form_urlencoded;

use crate::link::paid::AdNetwork;
use crate::signing::{Key, tag};

/// How many of `sub1` to `sub5` there are.
pub const SUBS: usize = 5;
/// The longest sub-id in bytes.
pub const SUB_LEN_MAX: usize = 128;

/// More parameters than this are not read: no honest link has them.
const PARAMETERS_MAX: usize = 64;
const UTM_MAX: usize = 8;
const UTM_NAME_LEN_MAX: usize = 32;
const UTM_LEN_MAX: usize = 256;
const ERID_LEN_MAX: usize = 128;
const SUB_DOMAIN: &str = "tributary/subid/v1";

/// Old names of sub-ids in the trade; the canonical name wins over each of them.
const ALIASES: [(&str, usize); 12] = [
    ("subid", 0),
    ("subid1", 1),
    ("subid2", 2),
    ("subid3", 3),
    ("subid4", 4),
    ("aff_sub", 0),
    ("aff_sub2", 1),
    ("aff_sub3", 2),
    ("aff_sub4", 3),
    ("aff_sub5", 4),
    ("clickref", 0),
    ("sid", 0),
];
const CANONICAL: [&str; SUBS] = ["sub1", "sub2", "sub3", "sub4", "sub5"];

/// What becomes of a sub-id that looks like an e-mail address.
#[derive(Debug, Clone, Copy)]
pub enum SubIdPii<'a> {
    /// It is replaced by `pii_` and a keyed hash: still comparable, no longer readable.
    Hash(&'a Key),
    /// It is dropped.
    Reject,
    /// It is kept as it is.
    Keep,
}

/// The parameters of a visit that count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters<'a> {
    /// `sub1` to `sub5`; never empty texts, at most [`SUB_LEN_MAX`] bytes, no control characters.
    pub subs: [Option<String>; SUBS],
    /// How many sub-ids were too long and were cut.
    pub subs_cut: u8,
    /// How many sub-ids looked like an e-mail address and were hashed or dropped.
    pub subs_pii: u8,
    /// The token of a marked advertisement (Russian law on advertising).
    pub erid: Option<Cow<'a, str>>,
    /// `utm_*` parameters in their order, each name once.
    pub utm: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// `qr=1`: the link was scanned from paper.
    pub qr: bool,
    /// The advertising network that the first of its parameters names.
    pub paid: Option<AdNetwork>,
    /// The page wished for, unchecked.
    pub deep_link: Option<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    /// Reads the query string of a link; of repeated parameters the first counts.
    ///
    /// `deep_link_aliases` are further names of `url`, by the program's choice.
    pub fn parse(query: &'a str, deep_link_aliases: &[String], pii: SubIdPii<'_>) -> Self {
        let mut found = Self::default();
        if query.is_empty() {
            return found;
        }
        let mut canonical: [Option<Cow<'a, str>>; SUBS] = Default::default();
        let mut aliased: [Option<Cow<'a, str>>; SUBS] = Default::default();
        let mut deep_link_alias = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX) {
            if value.is_empty() {
                continue;
            }
            if let Some(n) = CANONICAL.iter().position(|c| *c == name) {
                canonical[n].get_or_insert(value);
            } else if let Some((_, n)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
                aliased[*n].get_or_insert(value);
            } else if name == "url" {
                found.deep_link.get_or_insert(value);
            } else if name == "erid" {
                if is_erid(&value) {
                    found.erid.get_or_insert(value);
                }
            } else if name == "qr" {
                found.qr |= value == "1";
            } else if deep_link_aliases.iter().any(|alias| *alias == name) {
                deep_link_alias.get_or_insert(value);
            } else if is_utm(&name) {
                found.add_utm(name, value);
            } else if found.paid.is_none() {
                found.paid = AdNetwork::of_parameter(&name);
            }
        }
        found.deep_link = found.deep_link.or(deep_link_alias);
        for (n, (first, second)) in canonical.into_iter().zip(aliased).enumerate() {
            found.subs[n] = first.or(second).and_then(|value| found.clean_sub(&value, pii));
        }
        found
    }

    fn add_utm(&mut self, name: Cow<'a, str>, mut value: Cow<'a, str>) {
        if self.utm.len() < UTM_MAX && self.utm.iter().all(|(known, _)| *known != name) {
            if value.len() > UTM_LEN_MAX {
                value = value[..value.floor_char_boundary(UTM_LEN_MAX)].to_owned().into();
            }
            self.utm.push((name, value));
        }
    }

    fn clean_sub(&mut self, value: &str, pii: SubIdPii<'_>) -> Option<String> {
        let instead = match pii {
            SubIdPii::Hash(key) => Some(Some(key)),
            SubIdPii::Reject => Some(None),
            SubIdPii::Keep => None,
        };
        if let Some(key) = instead
            && looks_like_email(value)
        {
            self.subs_pii += 1;
            return key.map(|key| hashed(key, value));
        }
        // PostgreSQL refuses a zero byte in a text, and no label needs a line break.
        let mut clean: String = value.chars().filter(|c| !c.is_control()).collect();
        if clean.len() > SUB_LEN_MAX {
            self.subs_cut += 1;
            clean.truncate(clean.floor_char_boundary(SUB_LEN_MAX));
        }
        (!clean.is_empty()).then_some(clean)
    }
}

fn hashed(key: &Key, value: &str) -> String {
    let mac = tag(key, SUB_DOMAIN, value.to_lowercase().as_bytes());
    let head: [u8; 8] = *mac.first_chunk().expect("32 bytes hold 8");
    format!("pii_{:016x}", u64::from_be_bytes(head))
}

/// Finds `a@b.c` anywhere in the value, also with an `@` that was encoded twice.
fn looks_like_email(value: &str) -> bool {
    let value = if value.contains("%40") {
        Cow::Owned(value.replace("%40", "@"))
    } else {
        Cow::Borrowed(value)
    };
    value.match_indices('@').any(|(at, _)| {
        let is_name = |c: char| c.is_alphanumeric() || "._%+-".contains(c);
        let is_host = |c: char| c.is_alphanumeric() || ".-".contains(c);
        let host = value[at + 1..].split(|c| !is_host(c)).next().unwrap_or_default();
        let has_dot = host.trim_matches('.').contains('.');
        value[..at].ends_with(is_name) && has_dot
    })
}

fn is_erid(value: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    value.len() <= ERID_LEN_MAX && value.bytes().all(is_letter)
}

fn is_utm(name: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= UTM_NAME_LEN_MAX
        && name.strip_prefix("utm_").is_some_and(|n| !n.is_empty() && n.bytes().all(is_letter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(query: &str) -> Parameters<'_> {
        Parameters::parse(
            query,
            &["ulp".to_owned(), "u".to_owned()],
            SubIdPii::Hash(&Key::new([1; 32])),
        )
    }

    fn subs(query: &str) -> [String; SUBS] {
        parse(query).subs.map(Option::unwrap_or_default)
    }

    #[test]
    fn aliases_fill_their_slots_and_the_canonical_name_wins() {
        for (query, expected) in [
            ("sub1=a&sub2=b&sub3=c&sub4=d&sub5=e", ["a", "b", "c", "d", "e"]),
            ("subid=a&subid1=b&subid2=c&subid3=d&subid4=e", ["a", "b", "c", "d", "e"]),
            ("aff_sub=a&aff_sub2=b&aff_sub3=c&aff_sub4=d&aff_sub5=e", ["a", "b", "c", "d", "e"]),
            ("clickref=a", ["a", "", "", "", ""]),
            ("sid=a", ["a", "", "", "", ""]),
            ("sid=alias&sub1=own", ["own", "", "", "", ""]),
            ("sub1=first&sub1=second&SUB2=x&sub6=y", ["first", "", "", "", ""]),
            ("sub1=&sid=a", ["a", "", "", "", ""]),
            ("sub1=%D0%B1%D0%BB%D0%BE%D0%B3+1&sub2=a%00b%0D%0Ac", ["блог 1", "abc", "", "", ""]),
            ("sub1=%FF%00", ["\u{fffd}", "", "", "", ""]),
        ] {
            assert_eq!(subs(query), expected, "{query}");
        }
    }

    #[test]
    fn long_sub_ids_are_cut_between_characters_and_counted() {
        let long =
            format!("sub1={}&sub2={}&sub3={}", "a".repeat(128), "a".repeat(129), "я".repeat(65));
        let found = parse(&long);
        let lengths = found.subs.map(|s| s.map(|s| s.len()));
        assert_eq!(lengths, [Some(128), Some(128), Some(128), None, None]);
        assert_eq!(found.subs_cut, 2);
        let odd = format!("sub1=a{}", "я".repeat(64));
        assert_eq!(parse(&odd).subs[0].as_ref().unwrap().len(), 127);
    }

    #[test]
    fn e_mail_addresses_are_hashed_or_dropped() {
        let mails = ["a@b.co", "id:john.doe@mail.example!", "a%2540b.co", "Иван@почта.рф"];
        for mail in mails {
            let query = format!("sub1={mail}");
            let found = parse(&query);
            let value = found.subs[0].clone().unwrap();
            assert_eq!((value.len(), &value[..4], found.subs_pii), (20, "pii_", 1), "{mail}");
            let dropped = Parameters::parse(&query, &[], SubIdPii::Reject);
            assert_eq!((&dropped.subs[0], dropped.subs_pii), (&None, 1), "{mail}");
        }
        assert_eq!(subs("sub1=A@b.co"), subs("sub1=a@B.CO"), "still comparable");
        let other = Parameters::parse("sub1=a@b.co", &[], SubIdPii::Hash(&Key::new([2; 32]))).subs;
        assert_ne!(other[0], parse("sub1=a@b.co").subs[0], "keyed");
        for plain in ["@home", "a@", "10@20", "banner@top", "a@.", "@b.co"] {
            assert_eq!(subs(&format!("sub1={plain}"))[0], plain);
        }
    }

    #[test]
    fn utm_erid_qr_and_deep_link_are_read_and_the_rest_is_dropped() {
        let found =
            parse("utm_source=x&utm_source=y&utm_=z&UTM_TERM=t&utm_a.b=1&utm_id=7&promo=FREE");
        let utm: Vec<_> = found.utm.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(utm, [("utm_source", "x"), ("utm_id", "7")]);
        assert_eq!(parse("erid=2SDnjcW1xyz").erid.as_deref(), Some("2SDnjcW1xyz"));
        assert_eq!(parse("erid=%3Cscript%3E&erid=Ok").erid.as_deref(), Some("Ok"));
        assert!(parse("qr=1").qr && !parse("qr=2").qr);
        assert_eq!(parse("promo=1&yclid=7&gclid=8").paid, Some(AdNetwork::Yandex));
        assert_eq!(parse("gclid=&promo=1").paid, None);
        assert_eq!(parse("u=b&url=a").deep_link.as_deref(), Some("a"));
        assert_eq!(parse("u=b").deep_link.as_deref(), Some("b"));
        assert_eq!(Parameters::parse("u=b", &[], SubIdPii::Reject), Parameters::default());
    }

    proptest! {
        #[test]
        fn any_query_gives_bounded_printable_values(query in ".*") {
            let found = parse(&query);
            for sub in found.subs.iter().flatten() {
                prop_assert!(!sub.is_empty() && sub.len() <= SUB_LEN_MAX);
                prop_assert!(!sub.contains(char::is_control));
            }
            prop_assert!(found.utm.len() <= UTM_MAX);
        }
    }
}

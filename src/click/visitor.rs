//! Recognizes a repeat visit without knowing the visitor.
//!
//! The tag is a keyed hash whose salt lives at most 48 hours and never reaches PostgreSQL: once
//! the salt is gone, no list of addresses brings the person back. A plain hash of address and
//! agent would be undone by trying all of IPv4.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{Days, NaiveDate};
use url::{Host, Url};

use crate::ids::ProgramNo;
use crate::sealing::random_bytes;
use crate::signing::Key;

/// The longest host name that DNS allows, and the most of a referrer that is kept.
const HOST_MAX: usize = 253;
/// Longer `Referer` headers are not worth the parsing: browsers cut theirs at 4,096.
const REFERRER_MAX: usize = 4096;

/// A random value that makes tags of one day incomparable with those of another.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(Key);

impl Salt {
    /// Returns the salt of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Key::new(bytes))
    }

    /// Returns the bytes, for whoever agrees on them.
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(***)")
    }
}

/// The salts of the days around now, the same for all threads of a process and, once they are
/// agreed on, for all processes.
#[derive(Debug, Default)]
pub struct Salts(ArcSwap<BTreeMap<NaiveDate, Arc<Salt>>>);

impl Salts {
    /// Returns the salt of a day. Where none was agreed on it is this process's own: a visitor that
    /// another process saw counts as new, and nobody waits.
    pub fn of(&self, day: NaiveDate) -> Arc<Salt> {
        if let Some(salt) = self.0.load().get(&day) {
            return Arc::clone(salt);
        }
        let fresh = Arc::new(Salt::new(random_bytes()));
        // Of two threads that meet here the first one's stays.
        self.0.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.entry(day).or_insert_with(|| Arc::clone(&fresh));
            known
        });
        self.0.load().get(&day).cloned().unwrap_or(fresh)
    }

    /// Keeps the salt that was agreed on for a day, and forgets those of days before the last:
    /// what they hid can never be found again.
    pub fn keep(&self, day: NaiveDate, salt: Salt) {
        let salt = Arc::new(salt);
        let last = day.checked_sub_days(Days::new(1)).unwrap_or(day);
        self.0.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            known.insert(day, Arc::clone(&salt));
            known.retain(|kept, _| *kept >= last);
            known
        });
    }
}

/// The first eight bytes of the keyed hash of a visitor, comparable within one program and salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VisitorTag(pub [u8; 8]);

/// What a visitor is recognized by; lives no longer than the request.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    /// The program visited: tags of two programs never match.
    pub program: ProgramNo,
    /// The address, from the trusted end of the proxy chain.
    pub ip: IpAddr,
    /// The `User-Agent`, empty if there is none.
    pub agent: &'a str,
    /// `Sec-GPC: 1`: the visitor asked not to be recognized.
    pub gpc: bool,
}

impl Visitor<'_> {
    /// Returns the tag under `salt`; `None` if the visitor asked not to be recognized.
    ///
    /// Two salts overlap around midnight: a visitor is a repeat if the tag of either is known.
    pub fn tag(&self, salt: &Salt) -> Option<VisitorTag> {
        if self.gpc {
            return None;
        }
        // Program and address have fixed lengths, so no two visitors share their bytes.
        let ip = match self.ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let parts: [&[u8]; 3] =
            [&self.program.0.to_be_bytes(), &ip.octets(), self.agent.as_bytes()];
        let hash = salt.0.hmac(&parts);
        Some(VisitorTag(*hash.first_chunk().expect("32 bytes hold 8")))
    }
}

/// Returns the host of a `Referer` header, lower-case ASCII, and nothing else of it.
pub fn referrer_host(referrer: &str) -> Option<String> {
    if referrer.len() > REFERRER_MAX {
        return None;
    }
    let url = Url::parse(referrer).ok()?;
    let host = match url.host()? {
        Host::Domain(name) => name.to_ascii_lowercase(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    (!host.is_empty() && host.len() <= HOST_MAX).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor() -> Visitor<'static> {
        let ip = "192.0.2.7".parse().unwrap();
        Visitor { program: ProgramNo(2002), ip, agent: "Mozilla/5.0", gpc: false }
    }

    #[test]
    fn a_day_has_one_salt_and_its_own_gives_way_to_the_one_agreed_on() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let salts = Salts::default();
        let own = salts.of(day("2026-11-27"));
        assert!(own == salts.of(day("2026-11-27")));
        assert!(own != salts.of(day("2026-11-28")));
        let agreed = Salt::new([7; 32]);
        salts.keep(day("2026-11-27"), agreed.clone());
        assert!(*salts.of(day("2026-11-27")) == agreed);
        salts.keep(day("2026-11-29"), agreed.clone());
        assert!(*salts.of(day("2026-11-27")) != agreed, "a salt of two days ago is gone");
    }

    #[test]
    fn the_tag_depends_on_salt_program_address_and_agent_alone() {
        let salt = Salt::new([1; 32]);
        let tag = visitor().tag(&salt).unwrap();
        assert_eq!(visitor().tag(&salt), Some(tag));
        let mapped = Visitor { ip: "::ffff:192.0.2.7".parse().unwrap(), ..visitor() };
        assert_eq!(mapped.tag(&salt), Some(tag), "one visitor, two spellings");
        let others = [
            visitor().tag(&Salt::new([2; 32])),
            Visitor { program: ProgramNo(2003), ..visitor() }.tag(&salt),
            Visitor { ip: "192.0.2.8".parse().unwrap(), ..visitor() }.tag(&salt),
            Visitor { agent: "Mozilla/5.1", ..visitor() }.tag(&salt),
        ];
        for other in others {
            assert_ne!(other.unwrap(), tag);
        }
    }

    #[test]
    fn who_asks_not_to_be_recognized_is_not() {
        assert_eq!(Visitor { gpc: true, ..visitor() }.tag(&Salt::new([1; 32])), None);
    }

    #[test]
    fn only_the_host_of_a_referrer_is_kept() {
        let long = format!("https://{}.example/", "a.".repeat(130));
        let huge = format!("https://blog.example/{}", "x".repeat(5000));
        let cases = [
            ("https://Blog.Example:8443/private/page?mail=a@b.c#x", Some("blog.example")),
            ("https://user:pass@blog.example/", Some("blog.example")),
            ("https://пример.рф/статья", Some("xn--e1afmkfd.xn--p1ai")),
            ("android-app://com.Google.android.gm/", Some("com.google.android.gm")),
            ("http://192.0.2.1/x", Some("192.0.2.1")),
            ("http://[2001:db8::1]/x", Some("2001:db8::1")),
            ("about:blank", None),
            ("blog.example/page", None),
            ("", None),
            (&long, None),
            (&huge, None),
        ];
        for (referrer, host) in cases {
            assert_eq!(referrer_host(referrer).as_deref(), host, "{referrer}");
        }
    }

    #[test]
    fn a_salt_is_never_printed() {
        assert_eq!(format!("{:?}", Salt::new([7; 32])), "Salt(***)");
    }
}

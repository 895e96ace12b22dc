//! Which addresses the service may connect to on a stranger's word.
//!
//! A URL that somebody registers may name a machine behind our own walls: the metadata service of
//! a cloud, a database, ourselves. So an outbound connection goes to an address of the public
//! internet, or to a range that the operator has allowed. The name is resolved once for each
//! connection, and the connection goes to the very addresses that were checked: a name that
//! changes its mind in between (DNS rebinding) gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::config::Network;

/// Ranges of IPv4 that are not of the public internet (IANA's special-purpose registry, RFC 6890).
const V4_SPECIAL: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8), // this network; 0.0.0.0 is our own machine
    (Ipv4Addr::new(10, 0, 0, 0), 8), // private
    (Ipv4Addr::new(100, 64, 0, 0), 10), // carrier-grade NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8), // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, with the clouds' metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12), // private
    (Ipv4Addr::new(192, 0, 0, 0), 24), // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24), // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24), // the old 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private
    (Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4), // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4), // reserved, with broadcast
];

/// The one range of IPv6 that is given out to the public internet (RFC 4291).
const V6_PUBLIC: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What in it is not of the public internet.
const V6_SPECIAL: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, with Teredo
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: carries any IPv4 address
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// NAT64 (RFC 6052): the last 32 bits are an IPv4 address, to which a gateway passes on.
const V6_NAT64: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Tells whether an address belongs to the public internet.
///
/// An IPv4 address inside an IPv6 one (mapped, NAT64) counts as itself.
pub fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !V4_SPECIAL.iter().any(|range| is_v4_in(ip, *range)),
        IpAddr::V6(ip) if is_v6_in(ip, V6_NAT64) => {
            let [.., a, b, c, d] = ip.octets();
            is_global(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(ip) => {
            is_v6_in(ip, V6_PUBLIC) && !V6_SPECIAL.iter().any(|range| is_v6_in(ip, *range))
        }
    }
}

fn is_v4_in(ip: Ipv4Addr, (base, prefix): (Ipv4Addr, u8)) -> bool {
    (ip.to_bits() ^ base.to_bits()) >> (32 - prefix) == 0
}

fn is_v6_in(ip: Ipv6Addr, (base, prefix): (Ipv6Addr, u8)) -> bool {
    (ip.to_bits() ^ base.to_bits()) >> (128 - prefix) == 0
}

/// How far a URL may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the public internet and to the allowed ranges: https on its own port.
    Public,
    /// To the allowed ranges alone: plain http, or another port.
    AllowedOnly,
}

/// The operator's word on where the service may connect to.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Ranges that may be reached though they are not public (`TRIBUTARY_OUTBOUND_ALLOW_CIDRS`).
    pub allow: Vec<Network>,
}

/// Says why a URL is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Neither https nor http.
    #[error("the scheme must be https")]
    Scheme,
    /// There is a user or a password in it, which would be stored and shown.
    #[error("it must not hold a user or a password")]
    Credentials,
    /// It has no host.
    #[error("it has no host")]
    NoHost,
    /// Plain http or another port, and the operator allows no range.
    #[error("it must be https on port 443")]
    NotPublicForm,
    /// The address is not of the public internet.
    #[error("the address {0} is not public")]
    NotGlobal(IpAddr),
    /// Plain http or another port, to an address that the operator has not allowed.
    #[error("the address {0} may only be called by https on port 443")]
    NotAllowed(IpAddr),
}

impl Guard {
    /// Tells whether an address may be called at all.
    pub fn allows(&self, ip: IpAddr) -> bool {
        self.check(ip, Reach::Public).is_ok()
    }

    /// Checks an address right before the connection.
    pub fn check(&self, ip: IpAddr, reach: Reach) -> Result<(), Refused> {
        if self.allow.iter().any(|range| range.contains(ip)) {
            return Ok(());
        }
        match reach {
            Reach::Public if is_global(ip) => Ok(()),
            Reach::Public => Err(Refused::NotGlobal(ip)),
            Reach::AllowedOnly if is_global(ip) => Err(Refused::NotAllowed(ip)),
            Reach::AllowedOnly => Err(Refused::NotGlobal(ip)),
        }
    }

    /// Checks what can be told of a URL without resolving its host, and returns how far it may reach.
    ///
    /// The `url` crate has read numbers as browsers do (`127.1`, `0x7f.1`, `2130706433`), so an
    /// address in any spelling is an address here.
    pub fn check_url(&self, url: &Url) -> Result<Reach, Refused> {
        let reach = match (url.scheme(), url.port()) {
            ("https", None) => Reach::Public,
            ("https" | "http", _) => Reach::AllowedOnly,
            _ => return Err(Refused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        match url.host().ok_or(Refused::NoHost)? {
            Host::Ipv4(ip) => self.check(ip.into(), reach)?,
            Host::Ipv6(ip) => self.check(ip.into(), reach)?,
            // Known before anybody is asked: these names are this machine (RFC 6761).
            Host::Domain(name) if is_localhost(name) => {
                self.check(Ipv4Addr::LOCALHOST.into(), reach)?;
            }
            Host::Domain(_) if reach == Reach::AllowedOnly && self.allow.is_empty() => {
                return Err(Refused::NotPublicForm);
            }
            Host::Domain(_) => {}
        }
        Ok(reach)
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;

//! Which addresses of the internet we may call: a URL typed by a stranger must not reach our own
//! network.
//!
//! A [`Guard`] is asked about every address that a name resolves to, at every redirect; a name
//! that was harmless when it was saved may point elsewhere by now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Network;

/// Says which addresses may be called: those of the public internet, and those allowed by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    allowed: Vec<Network>,
}

impl Guard {
    /// Returns a guard that lets these ranges pass too.
    pub fn new(allowed: Vec<Network>) -> Self {
        Self { allowed }
    }

    /// Tells whether the address may be called.
    pub fn allows(&self, ip: IpAddr) -> bool {
        is_global(ip) || self.allowed.iter().any(|network| network.contains(ip))
    }
}

/// Tells whether an address belongs to the public internet (IANA's special-purpose registries,
/// RFC 6890). An IPv4 address inside an IPv6 one counts as itself.
pub fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => is_global_v6(ip),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = match (a, b, c) {
        // This network, private, loopback.
        (0 | 10 | 127, _, _)
        // Shared by carriers.
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        // Protocol assignments, documentation, private, benchmarks.
        | (192, 0, 0 | 2) | (192, 168, _) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113)
        // Relays of 6to4, multicast, reserved, broadcast.
        | (192, 88, 99) | (224..=255, _, _) => true,
        (_, _, _) => false,
    };
    !is_special
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    match (s[0], s[1]) {
        // The prefixes of NAT64 and 6to4 carry an IPv4 address that the gateway will call.
        (0x64, 0xff9b) => s[2..6] == [0; 4] && is_global_v4(embedded(s[6], s[7])),
        (0x2002, _) => is_global_v4(embedded(s[1], s[2])),
        // Protocol assignments and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // Everything else that is given out lies in 2000::/3.
        (first, _) => first & 0xe000 == 0x2000,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_global() {
        for (ip, global) in [
            ("8.8.8.8", true),
            ("100.63.255.255", true),
            ("172.32.0.1", true),
            ("2606:4700::1111", true),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::808:808", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("192.0.2.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global(ip.parse().unwrap()), global, "{ip}");
        }
    }

    #[test]
    fn allowed_ranges_pass_and_only_they() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        for (ip, allowed) in [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("10.0.0.1", false)]
        {
            assert_eq!(guard.allows(ip.parse().unwrap()), allowed, "{ip}");
        }
        assert!(!Guard::default().allows(Ipv4Addr::LOCALHOST.into()));
    }
}

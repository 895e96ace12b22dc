//! Ranges of addresses, for the proxies that are trusted.

use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses, as in `10.0.0.0/8` (RFC 4632) or `2001:db8::/32` (RFC 4291).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Says which part is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address or address/prefix with zero bits after the prefix")]
pub struct BadNetwork(String);

impl Network {
    /// Tells whether `ip` lies in the range; an IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && masked(ip, self.prefix) == bits(self.base)
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = ip.parse().map_err(|_| bad())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), |p| p.parse().map_err(|_| bad()))?;
        // `10.0.0.1/8` is more likely a slip than a wish for sixteen million trusted addresses.
        if prefix > width || masked(base, prefix) != bits(base) {
            return Err(bad());
        }
        Ok(Self { base, prefix })
    }
}

/// The address as bits from the left, so that a prefix means the same for both families.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn masked(ip: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    bits(ip) & mask
}

//! Request headers that need care: who the client is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

use crate::config::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The headers of a request, in a map or as they came.
pub trait Headers {
    /// Returns the values of every header of that name, in order.
    fn all<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]>;

    /// Tells whether there is a header of that name.
    fn has(&self, name: &HeaderName) -> bool {
        self.all(name).next().is_some()
    }

    /// Returns the first value of that name, if it is ASCII.
    fn first<'h>(&'h self, name: &HeaderName) -> Option<&'h str> {
        self.all(name).next().and_then(text)
    }
}

impl Headers for HeaderMap {
    fn all<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        self.get_all(name).map(HeaderValue::as_bytes)
    }
}

impl Headers for &[httparse::Header<'_>] {
    fn all<'h>(&'h self, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
        let of_name =
            |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name.as_str());
        self.iter().filter(of_name).map(|header| header.value)
    }
}

/// What both hold has no control characters but tabs.
fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

/// Returns the address at the other end of a connection; 0.0.0.0 where the system does not tell.
pub fn peer_ip(peer: Option<SocketAddr>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
}

/// Returns the address of the client.
///
/// Only a trusted proxy is believed: the list is read from its end, which the nearest proxy
/// wrote, and the first address that is no trusted proxy is the client. What stands before it,
/// the client could have written itself. `Forwarded` (RFC 7239) wins over `X-Forwarded-For`.
pub fn client_ip(peer: IpAddr, headers: &impl Headers, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let hops: Vec<Option<IpAddr>> = if headers.has(&FORWARDED) {
        elements(headers, &FORWARDED).map(forwarded_for).collect()
    } else {
        elements(headers, &X_FORWARDED_FOR).map(node).collect()
    };
    for hop in hops.into_iter().rev() {
        // A hop that hides itself ends what can be known.
        let Some(ip) = hop else { break };
        client = ip.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// Returns the comma-separated elements of every header of that name, in order.
fn elements<'a>(headers: &'a impl Headers, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
    headers.all(name).flat_map(|value| text(value).unwrap_or_default().split(','))
}

/// Returns the address in `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| node(value))?
    })
}

/// Reads an address with or without port: `192.0.2.1`, `192.0.2.1:80`, `"[2001:db8::1]:80"`.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Some(v6) = text.strip_prefix('[') {
        return v6.split(']').next()?.parse().ok();
    }
    text.parse().ok().or_else(|| text.split_once(':')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:ff::/48".parse().unwrap()];
        type Sent = &'static [(&'static str, &'static str)];
        let cases: [(&str, Sent, &str); 11] = [
            ("192.0.2.9", &[], "192.0.2.9"),
            ("192.0.2.9", &[("x-forwarded-for", "198.51.100.1")], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 198.51.100.1, 10.0.0.2")], "198.51.100.1"),
            (
                "10.0.0.1",
                &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "8.8.8.8")],
                "8.8.8.8",
            ),
            (
                "10.0.0.1",
                &[("forwarded", "for=1.1.1.1;proto=https, For=\"[2001:db8::7]:99\"")],
                "2001:db8::7",
            ),
            (
                "10.0.0.1",
                &[("forwarded", "for=8.8.8.8"), ("x-forwarded-for", "1.1.1.1")],
                "8.8.8.8",
            ),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1, for=_hidden, for=10.9.9.9")], "10.9.9.9"),
            ("2001:db8:ff::1", &[("x-forwarded-for", "not an address")], "2001:db8:ff::1"),
        ];
        for (peer, list, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in list {
                headers
                    .append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            let found = client_ip(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {list:?}");
        }
    }
}

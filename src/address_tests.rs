//! Every way to write "your own machine", and the edges of every range.

use proptest::prelude::*;

use super::*;

fn guard(allow: &[&str]) -> Guard {
    Guard { allow: allow.iter().map(|range| range.parse().unwrap()).collect() }
}

/// Hosts that lead inside, in the spellings that URL parsers accept.
const INSIDE: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.1.",
    "127.255.255.254",
    "%31%32%37.0.0.1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "0",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0:7f00:1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::169.254.169.254]",
    "[64:ff9b:1::808:808]",
    "[100::1]",
    "[2001::1]",
    "[2001:db8::1]",
    "[2002:7f00:1::]",
    "[3fff::1]",
    "[5f00::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
];

#[test]
fn no_spelling_of_an_inside_address_is_called() {
    for host in INSIDE {
        for text in [format!("https://{host}/hook"), format!("http://{host}/hook")] {
            let Ok(url) = Url::parse(&text) else { continue };
            assert!(guard(&[]).check_url(&url).is_err(), "{text} was read as {url}");
        }
        let url = Url::parse(&format!("https://{host}/hook"));
        assert!(url.is_ok(), "{host} is no host, so that the table says nothing about it");
    }
}

#[test]
fn the_public_internet_is_called_by_https_on_its_port() {
    for (text, expected) in [
        ("https://hooks.example/a?b=c", Ok(Reach::Public)),
        ("https://hooks.example:443/", Ok(Reach::Public)),
        ("https://8.8.8.8/", Ok(Reach::Public)),
        ("https://[2606:4700::1111]/", Ok(Reach::Public)),
        ("https://[64:ff9b::8.8.8.8]/", Ok(Reach::Public)),
        ("https://notlocalhost/", Ok(Reach::Public)),
        ("https://hooks.example:8443/", Err(Refused::NotPublicForm)),
        ("http://hooks.example/", Err(Refused::NotPublicForm)),
        ("http://8.8.8.8/", Err(Refused::NotAllowed("8.8.8.8".parse().unwrap()))),
        ("https://8.8.8.8:22/", Err(Refused::NotAllowed("8.8.8.8".parse().unwrap()))),
        ("ftp://hooks.example/", Err(Refused::Scheme)),
        ("file:///etc/passwd", Err(Refused::Scheme)),
        ("https://user@hooks.example/", Err(Refused::Credentials)),
        ("https://:pass@hooks.example/", Err(Refused::Credentials)),
    ] {
        assert_eq!(guard(&[]).check_url(&Url::parse(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn an_allowed_range_opens_itself_and_nothing_beside() {
    let guard = guard(&["127.0.0.0/8", "10.1.0.0/16"]);
    for (text, is_fine) in [
        ("http://127.0.0.1:8080/", true),
        ("https://[::ffff:127.0.0.1]/", true),
        ("http://localhost/", true),
        ("http://10.1.2.3/", true),
        ("http://10.2.0.1/", false),
        ("https://169.254.169.254/", false),
        ("https://[::1]/", false),
        // Its address decides, once it is known.
        ("http://intranet.example:8080/", true),
    ] {
        assert_eq!(guard.check_url(&Url::parse(text).unwrap()).is_ok(), is_fine, "{text}");
    }
    let public: IpAddr = "8.8.8.8".parse().unwrap();
    assert!(guard.check(public, Reach::Public).is_ok());
    assert_eq!(guard.check(public, Reach::AllowedOnly), Err(Refused::NotAllowed(public)));
}

#[test]
fn every_range_ends_where_it_says() {
    for (inside, outside) in [
        (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.0.0.0"]),
        (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        (["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
        (["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
        (["169.254.0.0", "169.254.255.255"], ["169.253.255.255", "169.255.0.0"]),
        (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
        (["192.0.0.0", "192.0.0.255"], ["191.255.255.255", "192.0.1.0"]),
        (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
        (["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
        (["224.0.0.0", "255.255.255.255"], ["223.255.255.255", "223.255.255.255"]),
        (["2001::", "2001:1ff:ffff::"], ["2000:ffff::", "2001:200::"]),
        (["2001:db8::", "2001:db8:ffff:ffff::"], ["2001:db7:ffff::", "2001:db9::"]),
        (["2002::", "2002:ffff::"], ["2001:ffff::", "2003::"]),
        (["3fff::", "3fff:fff::"], ["3ffe:ffff::", "3fff:1000::"]),
        (["::", "1fff:ffff::"], ["2000::", "2000::"]),
        (["4000::", "ffff::"], ["3fff:ffff::", "3fff:ffff::"]),
    ] {
        for ip in inside {
            assert!(!is_global(ip.parse().unwrap()), "{ip}");
        }
        for ip in outside {
            assert!(is_global(ip.parse().unwrap()), "{ip}");
        }
    }
}

proptest! {
    #[test]
    fn an_address_inside_another_counts_as_itself(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let nat64 = Ipv6Addr::from_bits(V6_NAT64.0.to_bits() | u128::from(bits));
        prop_assert_eq!(is_global(ip.to_ipv6_mapped().into()), is_global(ip.into()));
        prop_assert_eq!(is_global(nat64.into()), is_global(ip.into()));
    }

    /// The standard library's own predicates, as far as they are stable.
    #[test]
    fn nothing_that_the_standard_library_calls_special_is_global(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let is_special = ip.is_loopback() || ip.is_private() || ip.is_link_local()
            || ip.is_multicast() || ip.is_broadcast() || ip.is_documentation()
            || ip.is_unspecified();
        prop_assert!(!(is_special && is_global(ip.into())), "{}", ip);
    }
}

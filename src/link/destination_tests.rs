//! Tests of destinations: the published example, templates, hostile deep links.

use proptest::prelude::*;

use super::super::template::BadTemplate;
use super::*;
use crate::signing::Key;

const CLICK: &str = "IBVAYNEAAAfSAAAD6QAAACoBAgMEBVmLbQ-DaK_EdPub";

fn template(text: &str) -> LandingTemplate {
    LandingTemplate::parse(text, Schemes::HttpsOnly).unwrap()
}

fn landing(text: &str) -> Landing {
    Landing {
        template: template(text),
        program_slug: "spring".to_owned(),
        click_id_param: CLICK_ID_PARAM.to_owned(),
        utm_defaults: QueryTemplate::default(),
        allowed_hosts: AllowedHosts::parse(["shop.example", "магазин.рф"]).unwrap(),
        schemes: Schemes::HttpsOnly,
        deep_link_aliases: vec![],
    }
}

fn visit(query: &str) -> Visit<'_> {
    Visit {
        query,
        click_id: Some(CLICK),
        partner: PartnerNo(1001),
        partner_slug: "blog 42",
        link: LinkNo(42),
        at: chrono::DateTime::from_timestamp(1_795_342_504, 0).unwrap(),
    }
}

fn go(landing: &Landing, query: &str) -> Destination {
    destination(landing, &visit(query), SubIdPii::Hash(&Key::new([1; 32])))
}

fn location(text: &str, query: &str) -> String {
    go(&landing(text), query).location.replace(CLICK, "CLICK")
}

#[test]
fn the_click_id_is_added_where_the_template_has_none() {
    for (text, expected) in [
        ("https://shop.example", "https://shop.example/?click_id=CLICK"),
        ("https://shop.example/?a=1", "https://shop.example/?a=1&click_id=CLICK"),
        ("https://shop.example/?a=1#top", "https://shop.example/?a=1&click_id=CLICK#top"),
        ("https://shop.example/?cid={click_id}", "https://shop.example/?cid=CLICK"),
        ("https://shop.example/c/{click_id}/x", "https://shop.example/c/CLICK/x"),
        ("https://shop.example/#/go?c={click_id}", "https://shop.example/#/go?c=CLICK"),
        (
            "HTTPS://Магазин.рф:443/é?a=é",
            "https://xn--80aairftm.xn--p1ai/%C3%A9?a=%C3%A9&click_id=CLICK",
        ),
    ] {
        assert_eq!(location(text, ""), expected, "{text}");
    }
    let named =
        Landing { click_id_param: "cjevent".to_owned(), ..landing("https://shop.example/") };
    assert_eq!(go(&named, "").location, format!("https://shop.example/?cjevent={CLICK}"));
}

#[test]
fn every_macro_is_filled_encoded_and_left_out_when_empty() {
    let all = "https://shop.example/{program}?c={click_id}&p={partner_id}&s={partner_slug}\
               &l={link_id}&a={sub1}-{sub2}&b={sub3}&d={sub4}{sub5}&e={erid}&t={ts}&f=";
    assert_eq!(
        location(all, "sub1=%26x%3D1%23&sub2=%D1%8F&erid=2Sd-x"),
        "https://shop.example/spring?c=CLICK&p=1001&s=blog%2042&l=42&a=%26x%3D1%23-%D1%8F\
         &e=2Sd-x&t=1795342504&f="
    );
    assert!(location(all, "sub5=z").contains("&a=-&d=z&t="));
    let preview = Visit { click_id: None, ..visit("") };
    for text in ["https://shop.example/?c={click_id}", "https://shop.example/"] {
        let shown = destination(&landing(text), &preview, SubIdPii::Reject).location;
        assert_eq!(shown, "https://shop.example/", "no click, no click id");
    }
}

#[test]
fn marks_are_added_and_never_overwritten() {
    let with_defaults = |text| Landing {
        utm_defaults: QueryTemplate::parse(UTM_DEFAULTS).unwrap(),
        ..landing(text)
    };
    let plain = with_defaults("https://shop.example/");
    let tail = |l: &Landing, query: &str| {
        let location = go(l, query).location;
        let after = location.split_once(CLICK).unwrap().1;
        after.trim_start_matches('&').to_owned()
    };
    assert_eq!(tail(&plain, ""), "utm_source=blog%2042&utm_medium=affiliate&utm_campaign=spring");
    assert_eq!(
        tail(&plain, "utm_source=mail&utm_id=7&erid=2Sd&promo=FREE&price=0"),
        "erid=2Sd&utm_source=mail&utm_id=7&utm_medium=affiliate&utm_campaign=spring"
    );
    let marked = with_defaults("https://shop.example/?utm_source=own&erid=E&c={click_id}");
    assert_eq!(tail(&marked, "utm_source=x&erid=y"), "utm_medium=affiliate&utm_campaign=spring");
    let deep = "url=https%3A%2F%2Fshop.example%2F%3Futm_source%3Ddeep&utm_source=x";
    let went = go(&plain, deep).location;
    assert!(went.starts_with("https://shop.example/?utm_source=deep&click_id="), "{went}");
    assert_eq!(went.matches("utm_source").count(), 1);
    let by_template = landing("https://shop.example/?utm_source={partner_slug}&utm_term={sub1}");
    assert_eq!(
        go(&by_template, &format!("{deep}&sub1=t")).location.replace(CLICK, "CLICK"),
        "https://shop.example/?utm_source=deep&utm_term=t&click_id=CLICK"
    );
}

#[test]
fn a_deep_link_carries_the_click_and_cannot_replace_it() {
    let to = |text: &str, page: &str| {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("url", page).finish();
        let went = go(&landing(text), &query);
        assert_eq!(went.deep_link_rejected, None, "{page}");
        went.location.replace(CLICK, "CLICK")
    };
    let shop = "https://shop.example/landing?promo=SPRING&cid={click_id}&s={sub1}#x";
    for (page, expected) in [
        ("https://shop.example/item/42", "https://shop.example/item/42?cid=CLICK"),
        ("https://www.shop.example?a=b%20c&d#p", "https://www.shop.example/?a=b%20c&d&cid=CLICK#p"),
        ("https://SHOP.example:443/../x", "https://shop.example/x?cid=CLICK"),
        ("https://shop.example/?cid=mine&a=1", "https://shop.example/?a=1&cid=CLICK"),
        ("https://shop.example/?c%69d=mine&CID=mine", "https://shop.example/?cid=CLICK"),
        ("https://shop.example/?click_id=mine", "https://shop.example/?cid=CLICK"),
        ("https://shop.example/?s=mine", "https://shop.example/?cid=CLICK"),
        (
            "https://магазин.рф/товар",
            "https://xn--80aairftm.xn--p1ai/%D1%82%D0%BE%D0%B2%D0%B0%D1%80?cid=CLICK",
        ),
        ("https:shop.example/a", "https://shop.example/a?cid=CLICK"),
    ] {
        assert_eq!(to(shop, page), expected, "{page}");
    }
    assert_eq!(
        go(&landing(shop), "url=https://SHOP.example/a/b/c?mail=x%40y#z").page.as_deref(),
        Some("shop.example/a/b"),
        "what is counted tells the page and nothing of the visitor"
    );
    assert_eq!(go(&landing(shop), "url=https://evil.example/a").page, None);
    assert_eq!(
        to("https://shop.example/{click_id}", "https://shop.example/b"),
        "https://shop.example/b?click_id=CLICK"
    );
}

#[test]
fn hostile_deep_links_go_to_the_landing_page() {
    use DeepLinkRefusal::{
        BadCharacter, ForeignHost, IpHost, NotAUrl, Port, Scheme, TooLong, UserInfo,
    };
    let long = format!("https://shop.example/{}", "a".repeat(URL_LEN_MAX));
    let cases = [
        ("https://evil.example/", ForeignHost),
        ("https://evilshop.example/", ForeignHost),
        ("https://shop.example.evil.example/", ForeignHost),
        ("https://shop.example./", ForeignHost),
        ("https://example/", ForeignHost),
        ("https://xn--80aairftm.xn--p1ai.evil/", ForeignHost),
        ("https:///evil.example/shop.example", ForeignHost),
        ("https://evil.example#@shop.example", ForeignHost),
        ("https://evil.example?@shop.example", ForeignHost),
        ("https://ѕhop.example/", ForeignHost),
        ("https://shop.example@evil.example/", UserInfo),
        ("https://a:b@shop.example/", UserInfo),
        ("https://shop.example:8443/", Port),
        ("https://shop.example:80/", Port),
        ("http://shop.example/", Scheme),
        ("javascript:alert(1)//shop.example", Scheme),
        ("data:text/html,x", Scheme),
        ("ftp://shop.example/", Scheme),
        ("https://127.0.0.1/", IpHost),
        ("https://0x7f.1/", IpHost),
        ("https://2130706433/", IpHost),
        ("https://[::1]/", IpHost),
        ("//shop.example/", NotAUrl),
        ("/item/42", NotAUrl),
        ("shop.example", NotAUrl),
        ("https://", NotAUrl),
        ("https://shop.example\\@evil.example/", BadCharacter),
        ("https://shop.example/\r\nSet-Cookie: a=b", BadCharacter),
        ("ht\ttps://shop.example/", BadCharacter),
        (" https://shop.example/", BadCharacter),
        ("https://shop.example/\u{a0}", BadCharacter),
        (&long, TooLong),
    ];
    let landing = landing("https://shop.example/");
    for (page, refusal) in cases {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("url", page).finish();
        let went = go(&landing, &query);
        assert_eq!(went.deep_link_rejected, Some(refusal), "{page}");
        assert_eq!(went.location, format!("https://shop.example/?click_id={CLICK}"), "{page}");
        assert!(!refusal.as_str().is_empty());
    }
    let plain = Landing { schemes: Schemes::HttpToo, ..landing };
    assert_eq!(
        check_deep_link(&plain, "http://shop.example/").map(String::from).unwrap(),
        "http://shop.example/"
    );
    assert_eq!(check_deep_link(&plain, "ws://shop.example/"), Err(Scheme));
}

#[test]
fn a_bad_template_is_refused_with_its_reason() {
    let no = |text: &str| LandingTemplate::parse(text, Schemes::HttpsOnly).unwrap_err();
    assert_eq!(no("https://{partner_slug}.shop.example/"), BadTemplate::Host);
    assert_eq!(no("https://shop.example@evil.example/"), BadTemplate::Host);
    assert_eq!(no("https://shop.example:8443/"), BadTemplate::Host);
    assert_eq!(no("https://10.0.0.1/"), BadTemplate::Host);
    assert_eq!(no("http://shop.example/"), BadTemplate::Scheme);
    assert_eq!(no("javascript:alert(1)"), BadTemplate::Scheme);
    assert!(matches!(no("/landing"), BadTemplate::NotAUrl(_)));
    assert!(matches!(no("https://shop.example:{ts}/"), BadTemplate::NotAUrl(_)));
    assert_eq!(no("https://shop.example/?a={click_id"), BadTemplate::Brace);
    assert_eq!(no("https://shop.example/?a=click_id}"), BadTemplate::Brace);
    assert_eq!(no("https://shop.example/{}"), BadTemplate::UnknownMacro(String::new()));
    assert_eq!(no("https://shop.example/?a={sub6}"), BadTemplate::UnknownMacro("sub6".to_owned()));
    assert_eq!(no("https://shop.example/{sub1}"), BadTemplate::FreeTextInPath);
    assert_eq!(
        no("https://shop.example/?{sub1}=1"),
        BadTemplate::MacroInName("{sub1}=".to_owned())
    );
    assert_eq!(no("https://shop.example/ x"), BadTemplate::BadCharacter);
    assert_eq!(no(&format!("https://shop.example/{}", "a".repeat(2048))), BadTemplate::TooLong);
    assert!(LandingTemplate::parse("http://shop.example/", Schemes::HttpToo).is_ok());
    let known = no("https://shop.example/?a={x}").to_string();
    assert!(known.starts_with("{x} is no macro; known are click_id"), "{known}");
}

#[test]
fn hosts_are_normalized_and_wide_ones_refused() {
    let hosts = AllowedHosts::parse(["Shop.Example", "shop.example", "магазин.рф"]).unwrap();
    assert_eq!(hosts.0, ["shop.example", "xn--80aairftm.xn--p1ai"]);
    for bad in [
        "",
        "com",
        "*.shop.example",
        "https://shop.example",
        "shop.example/",
        "shop.example:1",
        "127.0.0.1",
        "[::1]",
        ".shop.example",
        "shop.example.",
        "a..b",
        "{x}.example",
        "a b.c",
    ] {
        assert!(AllowedHosts::parse([bad]).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_visit_leaves_the_program(
        page in "(https?:)?[/\\\\@:]{0,4}(shop\\.example|evil\\.example|[a-z@.:#?]{0,9})[/?#@:.]{0,3}.{0,20}",
        sub in ".{0,40}",
    ) {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("url", &page)
            .append_pair("sub1", &sub)
            .finish();
        let landing = landing("https://shop.example/p?x={sub1}");
        let went = go(&landing, &query);
        prop_assert!(went.location.bytes().all(|b| b.is_ascii_graphic()), "{}", went.location);
        let url = Url::parse(&went.location).unwrap();
        prop_assert_eq!(url.as_str(), &went.location, "already serialized");
        prop_assert!(landing.allowed_hosts.allow(url.host_str().unwrap()), "{}", url);
        prop_assert_eq!(url.query_pairs().filter(|(n, v)| n == "click_id" && v == CLICK).count(), 1);
    }
}

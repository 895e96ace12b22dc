//! Tests of classification: people, in-app browsers, previews, crawlers, headers.

use proptest::prelude::*;

use super::*;

/// Agents of people, with their browser and device.
const PEOPLE: &[(&str, Browser, Device)] = &[
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        Browser::Chrome,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
        Browser::Chrome,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        Browser::Chrome,
        Device::Tablet,
    ),
    (
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
        Browser::Samsung,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        Browser::Safari,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        Browser::Safari,
        Device::Tablet,
    ),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        Browser::Safari,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0",
        Browser::Firefox,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        Browser::Firefox,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
        Browser::Edge,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OPR/112.0.0.0",
        Browser::Opera,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 YaBrowser/24.6.0.0 Safari/537.36",
        Browser::Yandex,
        Device::Desktop,
    ),
    (
        "Mozilla/5.0 (Linux; arm_64; Android 13; SM-A515F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.6367.221 YaBrowser/24.6.6.221.00 SA/3 Mobile Safari/537.36",
        Browser::Yandex,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 11; SM-A505FN) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 YaApp_Android/24.61 YaSearchBrowser/24.61 BroPP/1.0 SA/3 Mobile Safari/537.36",
        Browser::Yandex,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
        Browser::Chrome,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 11; CUBOT X30 Build/RP1A.200720.011; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0 Mobile Safari/537.36 VKAndroidApp/8.90-22000",
        Browser::Vk,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/21F90 Instagram 339.0.3.12.91 (iPhone14,5; iOS 17_5; en_US; en; scale=3.00; 1170x2532; 620976789)",
        Browser::Instagram,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.122 Mobile Safari/537.36 Instagram 339.0.0.30.105 Android (34/14; 480dpi; Google/google; Pixel 8; de_DE)",
        Browser::Instagram,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.1.0.43.103;FBDV/iPhone13,2;FBSN/iOS]",
        Browser::Facebook,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 13; Pixel 7 Build/TQ3A.230901.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.71 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/468.0.0.58.71;IABMV/1;]",
        Browser::Facebook,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL Build/CP1A.260305.018; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook",
        Browser::Facebook,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 12; M2101K6G Build/SKQ1.210908.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.6478.122 Mobile Safari/537.36 Telegram-Android/10.14.5 (Xiaomi M2101K6G; Android 12; SDK 31; HIGH)",
        Browser::Telegram,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
        Browser::InApp,
        Device::Mobile,
    ),
    (
        "Mozilla/5.0 (Linux; Android 9; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/124.3.4 like Chrome/124.0.6367.207 Safari/537.36",
        Browser::Chrome,
        Device::Tablet,
    ),
];

const MACHINES: &[(&str, Class)] = &[
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Class::Bot),
    (
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        Class::Bot,
    ),
    ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", Class::Bot),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        Class::Bot,
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
        Class::Bot,
    ),
    ("curl/8.5.0", Class::Bot),
    ("Wget/1.21", Class::Bot),
    ("python-requests/2.32.3", Class::Bot),
    ("Go-http-client/2.0", Class::Bot),
    ("UptimeRobot/2.0", Class::Bot),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", Class::Preview),
    ("TelegramBot (like TwitterBot)", Class::Preview),
    ("WhatsApp/2.23.20.0", Class::Preview),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Class::Preview),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", Class::Preview),
    ("Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)", Class::Preview),
];

fn get(agent: &str) -> RequestHead<'_> {
    RequestHead { method: "GET", user_agent: Some(agent), ..RequestHead::default() }
}

fn class(head: RequestHead<'_>) -> (Class, Reason) {
    let verdict = classify(&head);
    (verdict.class, verdict.reason)
}

#[test]
fn people_are_people_whatever_app_they_sit_in() {
    for &(agent, browser, device) in PEOPLE {
        let expected = Verdict { class: Class::Human, reason: Reason::Navigation, browser, device };
        assert_eq!(classify(&get(agent)), expected, "{agent}");
    }
}

#[test]
fn machines_get_no_click_id() {
    for &(agent, expected) in MACHINES {
        let verdict = classify(&get(agent));
        assert_eq!(verdict.class, expected, "{agent}");
        assert!(!verdict.class.is_click());
    }
}

#[test]
fn headers_tell_what_is_no_navigation() {
    let person = get(PEOPLE[0].0);
    let prefetch = (Class::Prefetch, Reason::Speculative);
    let human = (Class::Human, Reason::Navigation);
    let embedded = (Class::Bot, Reason::Embedded);
    for (value, expected) in [
        ("prefetch", prefetch),
        ("prefetch;prerender", prefetch),
        ("prefetch;anonymous-client-ip", prefetch),
        ("Prefetch", prefetch),
        ("", human),
        ("navigation", human),
    ] {
        assert_eq!(class(RequestHead { sec_purpose: Some(value), ..person }), expected, "{value}");
        assert_eq!(class(RequestHead { purpose: Some(value), ..person }), expected, "{value}");
        assert_eq!(class(RequestHead { x_purpose: Some(value), ..person }), expected, "{value}");
        assert_eq!(class(RequestHead { x_moz: Some(value), ..person }), expected, "{value}");
    }
    for (dest, expected) in [
        ("document", human),
        ("", human),
        ("image", embedded),
        ("iframe", embedded),
        ("frame", embedded),
        ("script", embedded),
        ("empty", embedded),
    ] {
        assert_eq!(class(RequestHead { sec_fetch_dest: Some(dest), ..person }), expected, "{dest}");
    }
    let head = (Class::Head, Reason::HeadMethod);
    assert_eq!(class(RequestHead { method: "HEAD", ..person }), head);
    assert_eq!(class(RequestHead { method: "HEAD", ..get("curl/8") }), head);
    let ahead =
        RequestHead { sec_purpose: Some("prefetch"), sec_fetch_dest: Some("empty"), ..person };
    assert_eq!(class(ahead), prefetch);
    let suspect = (Class::Suspect, Reason::EmptyAgent);
    assert_eq!(class(RequestHead { user_agent: None, ..person }), suspect);
    assert_eq!(class(get(" ")), suspect);
    let hidden = RequestHead { user_agent: None, sec_fetch_dest: Some("image"), ..person };
    assert_eq!(class(hidden), embedded);
    assert!(Class::Suspect.is_click() && !embedded.0.is_click());
}

#[test]
fn gpc_is_exactly_one() {
    let gpc = |value| RequestHead { sec_gpc: value, ..get("") }.is_gpc();
    assert!(gpc(Some("1")) && !gpc(Some("0")) && !gpc(Some("11")) && !gpc(None));
}

#[test]
fn codes_never_change_and_names_are_distinct() {
    for (n, class) in Class::ALL.iter().enumerate() {
        assert_eq!((usize::from(class.code()), Class::from_code(class.code())), (n, Some(*class)));
    }
    let names: Vec<_> = Class::ALL.iter().map(|c| c.as_str()).collect();
    assert_eq!(names, ["human", "suspect", "bot", "preview", "head", "prefetch"]);
    assert!(Reason::ALL.iter().all(|r| Reason::from_code(r.code()) == Some(*r)));
    assert!(Browser::ALL.iter().all(|b| Browser::from_code(b.code()) == Some(*b)));
    assert!(Device::ALL.iter().all(|d| Device::from_code(d.code()) == Some(*d)));
    assert_eq!(Class::from_code(6), None);
    assert_eq!(Reason::Speculative.code(), 6);
    assert_eq!(Browser::InApp.code(), 12);
    assert_eq!(Device::Tablet.code(), 3);
}

#[test]
fn the_list_is_whole() {
    let count = |kind| crawler_patterns().filter(|(k, _)| *k == kind).count();
    assert_eq!((count("preview"), count("bot")), (80, 1419));
    assert_eq!(CRAWLERS.previews.len() + CRAWLERS.bots.len(), 1499);
    assert!(crawler_patterns().any(|(_, p)| p == "^LCC "), "a space at the end counts");
}

#[test]
fn remembered_and_fresh_verdicts_agree_also_when_slots_are_taken_over() {
    let mut classifier = Classifier::default();
    for _ in 0..3 {
        for agent in PEOPLE.iter().map(|p| p.0).chain(MACHINES.iter().map(|m| m.0)).chain([""]) {
            assert_eq!(classifier.classify(&get(agent)), classify(&get(agent)), "{agent}");
        }
    }
    let agent = PEOPLE[0].0;
    let hash = classifier.seed.hash_one(agent);
    // A stranger sits in the slot: he must not speak for the newcomer.
    let stranger = Agent { kind: Kind::Crawler, browser: Browser::Other, device: Device::Other };
    classifier.slots[hash as usize % SLOTS] = Some((!hash, stranger));
    assert_eq!(classifier.classify(&get(agent)).class, Class::Human);
    // The same agent with another header is another verdict.
    let image = RequestHead { sec_fetch_dest: Some("image"), ..get(agent) };
    assert_eq!(classifier.classify(&image).reason, Reason::Embedded);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the prefilter lets through can be on no list.
    #[test]
    fn a_plain_browser_is_never_listed(
        agent in r"Mozilla/5\.0 \((Windows NT 10\.0; Win64; x64|Macintosh; Intel Mac OS X [0-9_]{1,9}|X11; Linux x86_64|Linux; Android [0-9]{1,2}; K|iPhone; CPU iPhone OS [0-9_]{1,6} like Mac OS X)(; rv:[0-9.]{1,6})?\)( (AppleWebKit|Gecko|Chrome|Safari|Firefox|Version|Mobile|Edg|EdgA|EdgiOS|OPR|YaBrowser|SamsungBrowser|CriOS|FxiOS)/[0-9A-Z.]{1,12}| \(KHTML, like Gecko\)| Mobile){1,6}",
    ) {
        prop_assert!(PLAIN_BROWSER.is_match(agent.as_bytes()), "{agent}");
        prop_assert!(!CRAWLERS.previews.is_match(agent.as_bytes()), "{agent}");
        prop_assert!(!CRAWLERS.bots.is_match(agent.as_bytes()), "{agent}");
    }
}

//! Settings: every mistake at once, no secret in any text, documents in step.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A complete development setting, with `changes` on top.
fn lookup(changes: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> + use<> {
    let vars: HashMap<String, String> = [
        ("TRIBUTARY_ENV", "dev"),
        ("DATABASE_URL", "postgres://u:pg-hush@localhost/t"),
        ("REDIS_URL", "redis://:redis-hush@localhost"),
        ("TRIBUTARY_LINK_KEYS", DEV_LINK_KEYS),
        ("TRIBUTARY_CLICK_KEYS", DEV_CLICK_KEYS),
        ("TRIBUTARY_SECRETS_KEY", DEV_SECRETS_KEY),
    ]
    .into_iter()
    .chain(changes.iter().copied())
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    move |name| vars.get(name).cloned()
}

fn errors(changes: &[(&str, &str)]) -> Vec<String> {
    Config::from(lookup(changes))
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn env_example_is_the_printed_table_and_starts_a_service() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, env_example(), ".env.example differs from src/config/settings.rs");
    let vars: HashMap<_, _> =
        text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('=')).collect();
    Config::from(|name| vars.get(name).map(ToString::to_string)).unwrap();
}

#[test]
fn every_setting_of_the_table_is_read() {
    // Every variable gets a value that nothing accepts; what is not read complains not.
    let read = Config::from(|name| (!name.ends_with("_FILE")).then(|| "\u{1}=,=!//[".to_owned()))
        .unwrap_err();
    for s in SETTINGS.iter().filter(|s| !["folder", "file"].contains(&s.allowed)) {
        let start = format!("{}=", s.name);
        assert!(read.iter().any(|e| e.to_string().starts_with(&start)), "{} is not read", s.name);
    }
}

#[test]
fn the_limits_in_the_table_are_the_limits_that_hold() {
    for s in SETTINGS {
        let Some((low, high)) = s.allowed.split_once('–') else { continue };
        let (low, high): (u64, u64) = (low.parse().unwrap(), high.parse().unwrap());
        let refused = |n: u64| {
            let start = format!("{}=", s.name);
            errors(&[(s.name, &n.to_string())]).iter().any(|e| e.starts_with(&start))
        };
        assert!(!refused(low) && !refused(high), "{}", s.name);
        assert!(refused(high + 1) && (low == 0 || refused(low - 1)), "{}", s.name);
    }
}

#[test]
fn all_mistakes_are_reported_together_and_secrets_stay_hidden() {
    let found = errors(&[
        ("DATABASE_URL", "mysql://u:pg-hush@localhost"),
        ("REDIS_URL", "  "),
        ("TRIBUTARY_DB_POOL", "many"),
        ("TRIBUTARY_LINK_KEYS", "0:hush"),
    ]);
    assert_eq!(
        found,
        [
            "REDIS_URL is not set; expected redis://, rediss:// or redis+unix:// URL",
            "DATABASE_URL=***: the scheme is another; expected postgres:// URL",
            "TRIBUTARY_DB_POOL=many: not a whole number; expected 1–1000",
            "TRIBUTARY_LINK_KEYS=***: key number 1 is not of the form <kid 0-31>:<base64 of \
             exactly 32 bytes>; expected <kid 0-31>:<base64 of 32 bytes>, several separated by commas",
        ]
    );
    let shown = format!("{:?}", Config::from(lookup(&[])).unwrap()) + &describe(lookup(&[]));
    for secret in ["hush", &DEV_LINK_KEYS[2..], DEV_SECRETS_KEY] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_secret_may_come_from_a_file_but_not_from_both() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{DEV_LINK_KEYS}\n")).unwrap();
    let path = file.path().to_str().unwrap();
    assert!(errors(&[("TRIBUTARY_LINK_KEYS", ""), ("TRIBUTARY_LINK_KEYS_FILE", path)]).is_empty());
    assert_eq!(
        errors(&[("TRIBUTARY_LINK_KEYS_FILE", path)]),
        ["TRIBUTARY_LINK_KEYS and TRIBUTARY_LINK_KEYS_FILE are both set; keep one of them"]
    );
    assert_eq!(
        errors(&[("TRIBUTARY_LINK_KEYS", ""), ("TRIBUTARY_LINK_KEYS_FILE", "/nowhere")]),
        ["TRIBUTARY_LINK_KEYS_FILE=/nowhere: the file cannot be read"]
    );
}

#[test]
fn redis_is_one_server_or_a_cluster_and_never_both() {
    let nodes = "redis://:hush@a:7000, redis://b:7001,";
    let found = errors(&[("REDIS_CLUSTER_URLS", nodes)]);
    assert!(found.len() == 1 && found[0].starts_with("REDIS_URL and REDIS_CLUSTER_URLS are both"));
    let cluster = [("REDIS_URL", ""), ("REDIS_CLUSTER_URLS", nodes)];
    let config = Config::from(lookup(&cluster)).unwrap();
    assert!(matches!(&config.redis, Redis::Cluster(urls) if urls.len() == 2));
    assert_eq!(config.stream_shards, 64);
    let fewer = [&cluster[..], &[("TRIBUTARY_STREAM_SHARDS", "16")]].concat();
    assert_eq!(Config::from(lookup(&fewer)).unwrap().stream_shards, 16);
    assert_eq!(Config::from(lookup(&[])).unwrap().stream_shards, 1);
    for (bad, why) in [("unix:///a", "the scheme is another"), (" , ", "it names no node")] {
        let found = errors(&[("REDIS_URL", ""), ("REDIS_CLUSTER_URLS", bad)]);
        let expected = format!(
            "REDIS_CLUSTER_URLS=***: {why}; expected redis:// or rediss:// URLs, separated by commas"
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let own = "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let other = "1:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let production = [
        ("TRIBUTARY_ENV", "production"),
        ("TRIBUTARY_PUBLIC_URL", "https://go.example.com"),
        ("TRIBUTARY_LINK_KEYS", own),
        ("TRIBUTARY_CLICK_KEYS", other),
        ("TRIBUTARY_SECRETS_KEY", &own[2..]),
    ];
    assert_eq!(errors(&production), [""; 0]);
    let renumbered = format!("{own},9:{}", &DEV_LINK_KEYS[2..]);
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("TRIBUTARY_REDIS_TIMEOUT_MS", "20")], "TRIBUTARY_REDIRECT_APPEND_TIMEOUT_MS must"),
        (&[("TRIBUTARY_ADMIN_BIND", "0.0.0.0:8080")], "TRIBUTARY_BIND and"),
        (&[("TRIBUTARY_CLICK_KEYS", own)], "TRIBUTARY_LINK_KEYS and TRIBUTARY_CLICK_KEYS must"),
        (&[("TRIBUTARY_LINK_KEYS", &renumbered)], "TRIBUTARY_LINK_KEYS holds"),
        (&[("TRIBUTARY_CLICK_KEYS", DEV_CLICK_KEYS)], "TRIBUTARY_CLICK_KEYS holds"),
        (&[("TRIBUTARY_MINT_KEYS", DEV_MINT_KEYS)], "TRIBUTARY_MINT_KEYS holds"),
        (&[("TRIBUTARY_SECRETS_KEY", DEV_SECRETS_KEY)], "TRIBUTARY_SECRETS_KEY holds"),
        (&[("TRIBUTARY_PUBLIC_URL", "http://go.example.com")], "TRIBUTARY_PUBLIC_URL must"),
    ];
    for (change, start) in cases {
        let found = errors(&[&production, change].concat());
        assert!(found.len() == 1 && found[0].starts_with(start), "{change:?}: {found:?}");
    }
    for local in ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:80"] {
        let change = [("TRIBUTARY_PUBLIC_URL", local)];
        assert!(errors(&[&production[..], &change].concat()).is_empty(), "{local}");
    }
}

#[test]
fn a_network_contains_its_addresses_and_no_others() {
    for (network, ip, inside) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:ffff::", true),
        ("2001:db8::/32", "2001:db9::", false),
    ] {
        let parsed: Network = network.parse().unwrap();
        assert_eq!(parsed.contains(ip.parse().unwrap()), inside, "{ip} in {network}");
    }
    for bad in ["10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "ten", "10.0.0.0/-1"] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_anywhere_gives_settings_or_errors_but_no_panic(
        which in 0..SETTINGS.len(),
        text in "\\PC{0,40}",
    ) {
        let name = SETTINGS[which].name;
        for e in Config::from(lookup(&[(name, &text)])).err().unwrap_or_default() {
            prop_assert!(e.to_string().contains(name));
        }
    }
}

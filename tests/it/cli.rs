//! The command line, as the person at the shell meets it: the built binary and nothing else.

use std::process::{Command, Output};

use serde_json::Value;

/// Published: key = bytes 0 to 31, kid 0, program 2002, partner 1001, link 42, no expiry.
const KEY: &str = "0:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TOKEN: &str = "IAAH0gAAA-kAAAAqAADrXPuyciKMnhETizQKyxLY";

/// Runs the program in an environment that holds nothing but what is given.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(arguments).env_clear().envs(settings.iter().copied());
    command.output().unwrap()
}

#[track_caller]
fn printed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Expects the exit code 1 and returns what was said.
#[track_caller]
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

const SIGN: [&str; 8] = ["link", "sign", "--program", "2002", "--partner", "1001", "--link", "42"];

#[test]
fn a_link_is_signed_and_read_back() {
    let keys = [("TRIBUTARY_LINK_KEYS", KEY)];
    assert_eq!(printed(&run(&SIGN, &keys)).trim(), TOKEN);
    let with_url = [keys[0], ("TRIBUTARY_PUBLIC_URL", "https://go.example/")];
    let link = printed(&run(&SIGN, &with_url));
    assert_eq!(link.trim(), format!("https://go.example/r/{TOKEN}"));

    let query = format!("{}?sub1=a#top", link.trim());
    for text in [TOKEN, link.trim(), query.as_str()] {
        let said = printed(&run(&["link", "inspect", text], &keys));
        for line in ["valid       yes", "program     2002", "partner     1001", "link        42"] {
            assert!(said.lines().any(|l| l == line), "{line} is not in\n{said}");
        }
        assert!(said.contains("signed by   us") && said.contains("for ever"), "{said}");
    }
    let dated = [&SIGN[..], &["--expires-on", "2199-01-01"]].concat();
    let dated = printed(&run(&dated, &keys));
    let said = printed(&run(&["link", "inspect", dated.trim()], &keys));
    assert!(said.contains("until 2199-01-01"), "{said}");
}

#[test]
fn a_damaged_link_is_refused_with_the_reason() {
    let keys = [("TRIBUTARY_LINK_KEYS", KEY)];
    let other = [("TRIBUTARY_LINK_KEYS", "0:AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")];
    let newer = [("TRIBUTARY_LINK_KEYS", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")];
    let bent = TOKEN.replace("kA", "kB");
    for (token, keys, reason) in [
        (&TOKEN[..39], &keys, "not a token of 40 characters"),
        (bent.as_str(), &keys, "signature does not match"),
        (TOKEN, &other, "signature does not match"),
        (TOKEN, &newer, "key 0, which is not live"),
        ("", &keys, "not a token of 40 characters"),
        ("ä", &keys, "not a token of 40 characters"),
    ] {
        let output = run(&["link", "inspect", "--", token], keys);
        let said = refused(&output);
        assert!(said.contains(reason), "{token}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("valid       no"));
    }
    // A cut link still says whose it was.
    let output = run(&["link", "inspect", &TOKEN[..20]], &keys);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("claims      program 2002"), "{shown}");
    assert!(shown.contains("claims      partner 1001"), "{shown}");

    let expired = [&SIGN[..], &["--expires-on", "2020-01-02"]].concat();
    let expired = printed(&run(&expired, &keys));
    let said = refused(&run(&["link", "inspect", expired.trim()], &keys));
    assert!(said.contains("expired on 2020-01-02"), "{said}");
}

#[test]
fn what_cannot_be_signed_is_refused_with_the_reason() {
    let keys = [("TRIBUTARY_LINK_KEYS", KEY)];
    let sign = |program: &str, link: &str, rest: &[&str]| {
        let numbers = ["link", "sign", "--program", program, "--partner", "1", "--link", link];
        run(&[&numbers[..], rest].concat(), &keys)
    };
    for (output, reason) in [
        (sign("16777216", "1", &[]), "24 bits"),
        (sign("1", "2147483648", &[]), "2147483648"),
        (sign("1", "1", &["--expires-on", "2019-01-01"]), "outside 2020-01-02"),
        (run(&SIGN, &[]), "TRIBUTARY_LINK_KEYS is not set"),
        (run(&SIGN, &[("TRIBUTARY_LINK_KEYS", "0:short")]), "TRIBUTARY_LINK_KEYS"),
    ] {
        let said = refused(&output);
        assert!(said.contains(reason), "{reason}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_mistake_of_the_settings_is_told_at_once_and_no_secret_is() {
    let wrong = [
        ("TRIBUTARY_ENV", "prod"),
        ("TRIBUTARY_BIND", "here"),
        ("TRIBUTARY_DB_POOL", "0"),
        ("TRIBUTARY_ROLES", "redirect,nonsense"),
        ("DATABASE_URL", "mysql://hush-1@localhost"),
        ("TRIBUTARY_LINK_KEYS", "hush-2"),
        ("TRIBUTARY_SECRETS_KEY", "hush-3"),
        ("TRIBUTARY_WEBHOOK_TOLERANCE_S", "-1"),
    ];
    let output = run(&["config", "check"], &wrong);
    let said = refused(&output);
    for (name, _) in wrong {
        assert!(said.contains(name), "{name} is not in {said}");
    }
    // What is missing is told in the same breath.
    for name in ["REDIS_URL", "TRIBUTARY_CLICK_KEYS"] {
        assert!(said.contains(&format!("{name} is not set")), "{said}");
    }
    assert!(said.contains("10 settings are wrong"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn good_settings_are_shown_without_their_secrets() {
    let example = printed(&run(&["config", "example"], &[]));
    assert!(example.contains("TRIBUTARY_LINK_KEYS"));
    let dev = [
        ("TRIBUTARY_ENV", "dev"),
        ("DATABASE_URL", "postgres://tributary:hush-1@localhost/tributary"),
        ("REDIS_URL", "redis://:hush-2@localhost"),
        ("TRIBUTARY_LINK_KEYS", KEY),
        ("TRIBUTARY_CLICK_KEYS", "0:dHJpYnV0YXJ5IGRldiBjbGljayBrZXksIG5vdCBzZWM="),
        ("TRIBUTARY_SECRETS_KEY", "dHJpYnV0YXJ5IGRldiBzZWNyZXRzIGtleSwgbm90IHM="),
        ("TRIBUTARY_DB_POOL", "3"),
    ];
    let shown = printed(&run(&["config", "check"], &dev));
    for line in
        ["DATABASE_URL=***  (set)", "TRIBUTARY_DB_POOL=3  (set)", "TRIBUTARY_LINK_KEYS=***  (set)"]
    {
        assert!(shown.lines().any(|l| l == line), "{line} is not in\n{shown}");
    }
    for secret in ["hush", "AAECAwQF", "dHJpYnV0"] {
        assert!(!shown.contains(secret), "{secret} is in\n{shown}");
    }
    // In production the keys that everybody knows are a mistake.
    let production: Vec<(&str, &str)> = dev[1..].to_vec();
    let said = refused(&run(&["config", "check"], &production));
    for name in ["TRIBUTARY_CLICK_KEYS", "TRIBUTARY_SECRETS_KEY"] {
        assert!(said.contains(&format!("{name} holds the well-known development key")), "{said}");
    }
}

#[test]
fn the_contract_is_printed_as_json_with_the_main_routes() {
    let document: Value = serde_json::from_str(&printed(&run(&["openapi"], &[]))).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    for (path, method) in [
        ("/v1/webhooks/{source_id}", "post"),
        ("/v1/programs", "post"),
        ("/v1/programs/{id}/plans", "post"),
        ("/v1/partners", "post"),
        ("/v1/links", "post"),
        ("/v1/sources", "post"),
        ("/v1/conversions", "get"),
        ("/v1/receipts/{id}", "get"),
        ("/v1/commissions/{id}/approve", "post"),
        ("/v1/partners/{id}/balance", "get"),
        ("/v1/api-keys", "post"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path} is not there");
    }
}

#[test]
fn every_command_explains_itself() {
    for words in [
        "",
        "dev",
        "serve",
        "migrate",
        "link",
        "link sign",
        "link inspect",
        "openapi",
        "config",
        "config check",
        "config example",
        "config table",
        "healthcheck",
        "with-engines",
    ] {
        let arguments: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let help = printed(&run(&arguments, &[]));
        assert!(
            help.contains(&format!("Usage: {}", ["tributary", words].join(" ").trim())),
            "{help}"
        );
        assert!(!help.trim_start().starts_with("Usage"), "{words} does not say what it is for");
    }
    // What is not a command is neither done nor taken for another: code 2 is clap's.
    for wrong in [&["nonsense"][..], &["link"], &["link", "sign"], &["config", "check", "--x"]] {
        let output = run(wrong, &[]);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty());
    }
}

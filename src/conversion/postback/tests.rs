//! Tables of what each profile makes of a call, and properties that hold for any query.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::ids::SourceId;

fn now() -> Timestamp {
    "2026-11-22T10:15:10Z".parse().unwrap()
}

fn terms(profile: &str) -> PostbackTerms {
    PostbackTerms { alias_profile: profile.to_owned(), ..PostbackTerms::default() }
}

fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned()
}

fn call(terms: &PostbackTerms, belief: Belief, query: &str) -> Result<Vec<Planned>, Refusal> {
    let postback = read(pairs(query), terms)?;
    plan(&postback, terms, belief, &Key::new([7; 32]), now())
}

fn told(planned: &[Planned]) -> String {
    planned.iter().fold(String::new(), |mut out, p| {
        let r = &p.report;
        let money = r.amount.map_or_else(|| "-".to_owned(), |m| m.to_string());
        let order = r.order_id.as_deref().unwrap_or("-");
        let click = r.click_id.as_deref().unwrap_or("-");
        let kind = r.message_type.as_str().trim_start_matches("conversion.");
        write!(out, "{kind} {} {order} {click} {money};", r.event).unwrap();
        out
    })
}

#[test]
fn a_path_is_separated_by_commas_and_may_be_longer_than_other_values() {
    let terms = terms("generic");
    let ids: Vec<String> = (10..30).map(|n| format!("{n}").repeat(22)).collect();
    let of = |path: &str| call(&terms, Belief::Key, &format!("event=lead&click_ids={path}"));
    let planned = of(&ids.join(",")).unwrap();
    assert_eq!(planned[0].report.click_ids, ids);
    assert_eq!(told(&planned), format!("created lead - {} -;", ids[19]));
    let refused = of(&format!("{},x", ids.join(","))).unwrap_err();
    assert_eq!(
        (refused.parameter.as_str(), refused.reason.as_str()),
        ("click_ids", "has 21 click ids; send the last 20 of them")
    );
    assert_eq!(of(&"x".repeat(1_401)).unwrap_err().parameter, "click_ids");
}

#[test]
fn each_profile_reads_its_own_names() {
    for (profile, query, expected) in [
        ("generic", "click_id=c&order_id=o&amount=9.90&currency=EUR", "created sale o c 9.90 EUR;"),
        (
            "tune",
            "transaction_id=c&adv_unique=o&amount=9.90&currency=EUR",
            "created sale o c 9.90 EUR;",
        ),
        ("tune", "transaction_id=c&goal_id=lead", "created lead - c -;"),
        (
            "everflow",
            "_ef_transaction_id=c&order_id=o&amount=1&currency=JPY",
            "created sale o c 1 JPY;",
        ),
        (
            "voluum",
            "cid=c&txid=o&payout=9.90&currency=EUR&et=renewal",
            "created renewal o c 9.90 EUR;",
        ),
        (
            "keitaro",
            "subid=c&tid=o&payout=9.90&currency=EUR&status=lead",
            "created sale o c 9.90 EUR;",
        ),
        (
            "keitaro",
            "subid=c&tid=o&revenue=9.90&currency=EUR&status=rebill",
            "created sale o c 9.90 EUR;",
        ),
        (
            "binom",
            "cnv_id=c&payout=9.90&cnv_currency=EUR&cnv_status=whatever",
            "created sale - c 9.90 EUR;",
        ),
        (
            "affise",
            "clickid=c&action_id=o&sum=9.90&currency=EUR&status=2",
            "created sale o c 9.90 EUR;",
        ),
        (
            "admitad",
            "admitad_uid=c&order_id=o&price=9.90&currency_code=EUR",
            "created sale o c 9.90 EUR;",
        ),
        ("awin", "cks=c&ref=o&amount=9.90&cr=EUR&tt=ss", "created sale o c 9.90 EUR;"),
        (
            "cj",
            "CJEVENT=c&OID=o&AMT1=1.10&QTY1=3&AMT2=2&CURRENCY=EUR",
            "created sale o c 5.30 EUR;",
        ),
    ] {
        let found = call(&terms(profile), Belief::Key, query);
        assert_eq!(found.map(|p| told(&p)), Ok(expected.to_owned()), "{profile} {query}");
    }
}

#[test]
fn only_a_signed_postback_approves() {
    let query = "order_id=o&amount=1&currency=EUR&status=approved";
    let by_key = call(&terms("generic"), Belief::Key, query).unwrap();
    assert_eq!(told(&by_key), "created sale o - 1.00 EUR;");
    let signed = call(&terms("generic"), Belief::Signed(now()), query).unwrap();
    assert_eq!(told(&signed), "created sale o - 1.00 EUR;approved sale o - 1.00 EUR;");
    let bare = call(&terms("generic"), Belief::Signed(now()), "order_id=o&status=1").unwrap();
    assert_eq!(told(&bare), "approved sale o - -;");
}

#[test]
fn a_status_moves_an_order_without_its_amount() {
    for (status, expected) in [
        ("rejected", "rejected sale o - -;"),
        ("FAKE", "rejected sale o - -;"),
        ("3", "rejected sale o - -;"),
        ("chargeback", "refunded sale o - -;"),
    ] {
        let query = format!("order_id=o&status={status}");
        let found = call(&terms("generic"), Belief::Key, &query).unwrap();
        assert_eq!(told(&found), expected, "{status}");
    }
    let refund = call(&terms("generic"), Belief::Key, "order_id=o&status=refunded").unwrap();
    assert_eq!(refund[0].report.refund_id.as_deref(), Some("postback"));
    assert_eq!(refund[0].report.refund_amount, None, "all of it");
}

#[test]
fn the_map_of_the_source_goes_before_everything() {
    let mut terms = terms("binom");
    terms.status_map.insert("paid out".to_owned(), "rejected".to_owned());
    terms.status_map.insert("sale".to_owned(), "pending".to_owned());
    terms.event_map.insert("upsell".to_owned(), "renewal".to_owned());
    let base = "cnv_id=c&payout=1&cnv_currency=EUR&cnv_status=";
    let found = call(&terms, Belief::Key, &format!("{base}paid%20out&event=upsell")).unwrap();
    assert_eq!(told(&found), "created renewal - c 1.00 EUR;rejected renewal - c 1.00 EUR;");
    let found = call(&terms, Belief::Signed(now()), &format!("{base}sale")).unwrap();
    assert_eq!(told(&found), "created sale - c 1.00 EUR;");
}

#[test]
fn an_unknown_status_is_pending_and_kept() {
    let found =
        call(&terms("generic"), Belief::Key, "order_id=o&amount=1&currency=EUR&status=so+so&x=1")
            .unwrap();
    let metadata = Value::from(found[0].report.metadata.clone());
    assert_eq!(metadata, serde_json::json!({"original_status": "so so", "x": "1"}));
}

#[test]
fn an_unmapped_event_is_told_and_not_guessed() {
    let found = call(&terms("generic"), Belief::Key, "order_id=o&event=upsell").unwrap();
    assert_eq!(found[0].report.event, "upsell");
    let read = read(pairs("order_id=o&event=upsell"), &terms("generic")).unwrap();
    assert_eq!(read.event, EventName::Unmapped("upsell".to_owned()));
}

#[test]
fn what_is_ambiguous_or_wrong_is_refused_by_its_name_and_never_repeated() {
    for (profile, query, parameter) in [
        ("generic", "order_id=SECRET&order_id=SECRET&amount=1&currency=EUR", "order_id"),
        ("keitaro", "tid=SECRET&order_id=o&payout=1&currency=EUR", "tid"),
        ("keitaro", "tid=o&payout=1&revenue=2&currency=EUR", "revenue"),
        ("keitaro", "subid=c&payout=1&currency=EUR&status=rebill", "tid"),
        ("keitaro", "tid=%7Btid%7D&payout=1&currency=EUR", "tid"),
        ("generic", "order_id=o&amount=1%2C5&currency=EUR", "amount"),
        ("generic", "order_id=o&amount=SECRET&currency=EUR", "amount"),
        ("generic", "order_id=o&amount=1e2&currency=EUR", "amount"),
        ("generic", "order_id=o&amount=-1&currency=EUR", "amount"),
        ("generic", "order_id=o&amount=1&currency=SECRET", "currency"),
        ("generic", "order_id=o&amount=1", "currency"),
        ("generic", "order_id=o", "amount"),
        ("generic", "amount=1&currency=EUR", "order_id"),
        ("generic", "order_id=a%0Ab&amount=1&currency=EUR", "order_id"),
        ("generic", "order_id=o&amount=1&currency=EUR&test=SECRET", "test"),
        ("cj", "OID=o&AMT1=SECRET&CURRENCY=EUR", "AMT1"),
        ("cj", "OID=o&AMT1=1&QTY1=-3&CURRENCY=EUR", "QTY1"),
        ("cj", "OID=o&AMT1=1", "CURRENCY"),
    ] {
        let refusal = call(&terms(profile), Belief::Key, query).unwrap_err();
        assert_eq!(refusal.parameter, parameter, "{query}: {refusal}");
        assert!(!refusal.to_string().contains("SECRET"), "{refusal}");
    }
    let many = "a=1&".repeat(PARAMETERS_MAX + 1);
    assert_eq!(call(&terms("generic"), Belief::Key, &many).unwrap_err().parameter, "query");
}

#[test]
fn a_repetition_has_the_same_id_and_another_amount_has_not() {
    let id =
        |query: &str| call(&terms("generic"), Belief::Key, query).unwrap()[0].message_id.clone();
    let first = id("order_id=o&amount=1.5&currency=EUR");
    assert_eq!(first, id("currency=EUR&amount=1.50&order_id=o&ts=1795342504&cachebuster=7"));
    assert_ne!(first, id("order_id=o&amount=2&currency=EUR"));
}

#[test]
fn the_canonical_text_holds_every_interpreted_field_in_order() {
    let source: SourceId = "src_01jd3v5e8n9q4r7t2w6x1y3z5b".parse().unwrap();
    let query = "tid=A-1&subid=c&x=9&ts=1795342504&key=K&payout=149.90&currency=EUR&sig=00";
    let postback = read(pairs(query), &terms("keitaro")).unwrap();
    assert_eq!(
        signature::canonical(source, &postback.fields),
        "currency=EUR\npayout=149.90\nsource_id=src_01jd3v5e8n9q4r7t2w6x1y3z5b\nsubid=c\n\
         tid=A-1\nts=1795342504"
    );
}

proptest! {
    #[test]
    fn no_change_of_an_interpreted_field_keeps_its_signature(
        values in proptest::collection::vec("[a-zA-Z0-9=&+ .]{1,12}", 4), changed in 0usize..4,
        other in "[a-zA-Z0-9=&+ .]{1,12}",
    ) {
        prop_assume!(values[changed] != other);
        let names = ["click_id", "order_id", "amount", "event"];
        let source = SourceId::new();
        let text = |values: &[String]| {
            let given = names.iter().map(|n| (*n).to_owned()).zip(values.iter().cloned());
            read(given, &terms("generic")).map(|p| signature::canonical(source, &p.fields))
        };
        let mut forged = values.clone();
        forged[changed] = other;
        prop_assert_ne!(text(&values), text(&forged));
    }
}

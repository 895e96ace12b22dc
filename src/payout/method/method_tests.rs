//! Tests of payout methods.

use super::*;
use crate::signing::Key;

fn document(json: serde_json::Value) -> MethodDocument {
    serde_json::from_value(json).unwrap()
}

#[test]
fn each_kind_is_read_and_masked() {
    let cases = [
        (
            serde_json::json!({"kind": "sepa", "holder": "Blog 42", "bic": "COBADEFFXXX",
                "iban": "DE89 3704 0044 0532 0130 00", "town": "Berlin", "country": "DE"}),
            "DE••••3000",
        ),
        (
            serde_json::json!({"kind": "paypal", "holder": "A", "email": "anna@blog.example"}),
            "a••••@blog.example",
        ),
        (serde_json::json!({"kind": "wise", "holder": "A", "recipient_id": "148393"}), "1••••"),
        (
            serde_json::json!({"kind": "ru_bank", "holder": "ООО «Ромашка»", "inn": "7707083893",
                "kpp": "773601001", "account": "40702810438000060473", "bik": "044525225",
                "corr_account": "30101810400000000225", "bank": "ПАО СБЕРБАНК"}),
            "40••••0473",
        ),
        (serde_json::json!({"kind": "manual", "holder": "A"}), "by hand"),
    ];
    for ((json, shown), kind) in cases.into_iter().zip(MethodKind::ALL) {
        let method = PayoutMethod::read(&document(json)).unwrap();
        assert_eq!((method.kind(), method.account_masked().as_str()), (kind, shown));
        assert_eq!(MethodKind::from_code(kind.code()), Some(kind));
        assert!(!format!("{method:?}").contains("0130"), "{method:?}");
    }
}

#[test]
fn every_mistake_is_told_at_its_field() {
    let cases = [
        (serde_json::json!({"kind": "cash", "holder": "A"}), vec!["/kind"]),
        (serde_json::json!({"kind": "sepa", "holder": " "}), vec!["/holder", "/iban"]),
        (
            serde_json::json!({"kind": "sepa", "holder": "A", "iban": "DE89370400440532013001",
                "bic": "x", "town": "Berlin"}),
            vec!["/bic", "/country", "/iban"],
        ),
        (serde_json::json!({"kind": "paypal", "holder": "A", "email": "a b@c.d"}), vec!["/email"]),
        (serde_json::json!({"kind": "wise", "holder": "A"}), vec!["/email"]),
        (
            serde_json::json!({"kind": "ru_bank", "holder": "A", "inn": "7707083892",
                "account": "40702810438000060473", "bik": "044525225",
                "corr_account": "30101810400000000226", "bank": "B"}),
            vec!["/inn", "/corr_account"],
        ),
        (
            serde_json::json!({"kind": "ru_bank", "holder": "A", "bik": "1"}),
            vec!["/inn", "/bik", "/bank"],
        ),
    ];
    for (json, expected) in cases {
        let wrong = PayoutMethod::read(&document(json.clone())).unwrap_err();
        let at: Vec<&str> = wrong.iter().map(|(pointer, _)| *pointer).collect();
        assert_eq!(at, expected, "{json}");
    }
}

#[test]
fn what_is_sealed_for_one_partner_does_not_open_for_another() {
    let sealer = Sealer::new(&Key::new([7; 32]));
    let json = serde_json::json!({"kind": "paypal", "holder": "A", "email": "anna@blog.example"});
    let sealed = seal(&sealer, b"one", &document(json));
    assert!(open(&sealer, b"one", &sealed).is_ok());
    assert_eq!(open(&sealer, b"two", &sealed), Err(Unreadable));
    assert!(!String::from_utf8_lossy(&sealed).contains("anna"));
}

#[test]
fn a_method_takes_the_currencies_of_its_scheme() {
    let (eur, rub): (Currency, Currency) = ("EUR".parse().unwrap(), "RUB".parse().unwrap());
    let takes = MethodKind::ALL.map(|kind| (kind.takes(eur), kind.takes(rub)));
    let both = (true, true);
    assert_eq!(takes, [(true, false), both, both, (false, true), both]);
}

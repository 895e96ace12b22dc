//! Golden files: every format to the byte.

use std::path::PathBuf;

use uuid::Uuid;

use super::*;
use crate::payout::method::MethodDocument;

fn method(json: serde_json::Value) -> PayoutMethod {
    let document: MethodDocument = serde_json::from_value(json).unwrap();
    PayoutMethod::read(&document).unwrap()
}

fn ruble(holder: &str) -> PayoutMethod {
    method(serde_json::json!({"kind": "ru_bank", "holder": holder, "inn": "7707083893",
        "kpp": "773601001", "account": "40702810438000060473", "bik": "044525225",
        "corr_account": "30101810400000000225", "bank": "ПАО СБЕРБАНК"}))
}

fn head(currency: &str, payer: Option<PayoutMethod>) -> FileHead {
    FileHead {
        batch_id: PayoutBatchId(Uuid::from_u128(7)),
        part: 1,
        period: "2026-10".to_owned(),
        program: "Кофе & Чай".to_owned(),
        payer,
        execution_on: "2026-11-16".parse().unwrap(),
        made_at: "2026-11-10T09:30:00".parse().unwrap(),
        currency: currency.parse().unwrap(),
    }
}

fn item(n: u128, partner: &str, minor: i64, currency: &str, method: PayoutMethod) -> FileItem {
    let money = |minor| Money::new(minor, currency.parse().unwrap());
    FileItem {
        payout_id: PayoutId(Uuid::from_u128(n)),
        partner: partner.to_owned(),
        tax_id: (n == 1).then(|| "7707083893".to_owned()),
        method: Some(method),
        amount: money(minor),
        net: money(minor),
        vat: money(0),
        withheld: money(0),
        document_no: (n == 1).then(|| "SB-2026-000001".to_owned()),
    }
}

fn sepa_head() -> FileHead {
    head(
        "EUR",
        Some(method(serde_json::json!({"kind": "sepa", "holder": "Laden Müller GmbH",
            "iban": "DE44500105175407324931", "bic": "INGDDEFFXXX"}))),
    )
}

fn sepa_items() -> Vec<FileItem> {
    let one = method(serde_json::json!({"kind": "sepa", "holder": "Иван Щербаков",
        "iban": "NL91ABNA0417164300", "bic": "ABNANL2A", "town": "Köln", "country": "DE"}));
    let two = method(serde_json::json!({"kind": "sepa", "holder": "A & B <Söhne>",
        "iban": "DE89370400440532013000"}));
    vec![item(1, "Иван", 123_450, "EUR", one), item(2, "A & B", 7, "EUR", two)]
}

/// Compares with the file kept beside the tests. What it should be is written anew where
/// `TRIBUTARY_GOLDEN` is set: then read the difference.
fn compare(name: &str, bytes: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if crate::config::environment("TRIBUTARY_GOLDEN").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(kept == bytes, "{name} is not\n{}", String::from_utf8_lossy(bytes));
}

#[test]
fn a_file_of_sepa_transfers_is_this_to_the_byte() {
    let file = write(FileFormat::Pain001, &sepa_head(), &sepa_items()).unwrap();
    let text = String::from_utf8(file.clone()).unwrap();
    assert!(text.contains("<CtrlSum>1234.57</CtrlSum>") && text.contains("<NbOfTxs>2</NbOfTxs>"));
    assert!(text.contains("<Nm>Ivan Shcherbakov</Nm>"), "{text}");
    assert!(text.contains("<EndToEndId>po-00000000000000000000000001</EndToEndId>"));
    assert_eq!(pain001::read_id("po-00000000000000000000000001"), "po_00000000000000000000000001");
    compare("pain001.xml", &file);
}

#[test]
fn a_file_of_russian_orders_is_this_to_the_byte_and_decodes() {
    let head = head("RUB", Some(ruble("ООО «Лавка»")));
    let mut items = vec![item(1, "Р", 1_234_567, "RUB", ruble("ИП Щербаков №1 → ńaïve 日本"))];
    items.push(FileItem {
        vat: Money::new(20_000, head.currency),
        ..item(2, "Б", 120_000, "RUB", ruble("ООО «Ромашка»"))
    });
    let file = write(FileFormat::OneC, &head, &items).unwrap();
    let (text, _, is_damaged) = encoding_rs::WINDOWS_1251.decode(&file);
    assert!(!is_damaged);
    assert!(
        text.starts_with("1CClientBankExchange\r\nВерсияФормата=1.03\r\nКодировка=Windows\r\n")
    );
    assert!(text.ends_with("КонецДокумента\r\nКонецФайла\r\n"));
    assert_eq!(text.matches("СекцияДокумент=Платежное поручение\r\n").count(), 2);
    assert!(text.contains("Сумма=12345.67\r\n") && text.contains("Дата=16.11.2026\r\n"), "{text}");
    // What windows-1251 does not have is transliterated, never written as an HTML reference.
    assert!(text.contains("Получатель1=ИП Щербаков №1 ") && text.contains("naive"), "{text}");
    assert!(!text.contains("&#"), "{text}");
    assert!(
        text.contains("В том числе НДС 200.00") && text.contains("НДС не облагается"),
        "{text}"
    );
    assert!(text.lines().all(|l| l.chars().count() <= 240), "{text}");
    compare("1c.txt", &file);
}

#[test]
fn files_of_services_are_these_to_the_byte() {
    let paypal =
        method(serde_json::json!({"kind": "paypal", "holder": "Ana", "email": "ana@b.example"}));
    let file =
        write(FileFormat::Paypal, &head("USD", None), &[item(1, "Ana", 123_450, "USD", paypal)]);
    assert_eq!(
        String::from_utf8(file.unwrap()).unwrap(),
        "ana@b.example,1234.50,USD,po_00000000000000000000000001,Кофе & Чай 2026-10,PAYPAL\r\n"
    );
    let known =
        method(serde_json::json!({"kind": "wise", "holder": "Ana, Lda", "recipient_id": "148393"}));
    let new = method(serde_json::json!({"kind": "wise", "holder": "Bo", "email": "bo@b.example"}));
    let items = [item(1, "Ana", 100, "GBP", known), item(2, "Bo", 250, "GBP", new)];
    assert_eq!(
        String::from_utf8(write(FileFormat::Wise, &head("GBP", None), &items).unwrap()).unwrap(),
        "recipientId,name,recipientEmail,recipientDetail,recipientType,sourceCurrency,\
         targetCurrency,amount,amountCurrency,paymentReference\r\n\
         148393,\"Ana, Lda\",,,INSTITUTION,GBP,GBP,1.00,target,po_00000000000000000000000001\r\n\
         ,Bo,bo@b.example,,PERSON,GBP,GBP,2.50,target,po_00000000000000000000000002\r\n"
    );
}

#[test]
fn the_plain_table_is_this_to_the_byte() {
    let file = write(FileFormat::Csv, &sepa_head(), &sepa_items()).unwrap();
    compare("payouts.csv", &file);
    let text = String::from_utf8(file).unwrap();
    assert!(
        text.lines().next().unwrap().starts_with("payout_id,partner,amount,currency,reference")
    );
    assert!(text.contains(",1234.50,EUR,") && text.contains(",DE89370400440532013000,"), "{text}");
}

#[test]
fn the_same_payments_give_the_same_workbook() {
    let make = || write(FileFormat::Xlsx, &sepa_head(), &sepa_items()).unwrap();
    let book = make();
    assert_eq!(book, make());
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(book)).unwrap();
    let sheet =
        std::io::read_to_string(archive.by_name("xl/worksheets/sheet1.xml").unwrap()).unwrap();
    assert!(sheet.contains("<v>1234.5</v>"), "amounts are numbers: {sheet}");
    let texts = std::io::read_to_string(archive.by_name("xl/sharedStrings.xml").unwrap()).unwrap();
    assert!(texts.contains("DE89370400440532013000"), "accounts are text: {texts}");
}

#[test]
fn a_payment_of_another_kind_or_a_missing_payer_writes_no_file() {
    let by_hand = || method(serde_json::json!({"kind": "manual", "holder": "A"}));
    for format in [FileFormat::Pain001, FileFormat::Paypal, FileFormat::Wise, FileFormat::OneC] {
        let is_ruble = format.payer_kind() == Some(MethodKind::RuBank);
        let payer = if is_ruble { Some(ruble("A")) } else { sepa_head().payer };
        let items = [item(1, "A", 1, "EUR", by_hand())];
        let refused = write(format, &head("EUR", payer), &items);
        assert!(matches!(refused, Err(FileError::Misplaced(_))), "{format:?}");
        assert!(!format.takes(Some(MethodKind::Manual)) && !format.takes(None));
        assert_eq!(FileFormat::from_code(format.code()), Some(format));
    }
    let refused = write(FileFormat::Pain001, &head("EUR", None), &sepa_items());
    assert!(matches!(refused, Err(FileError::NoPayer)));
}

#[test]
fn a_part_is_full_before_the_next_begins() {
    use FileFormat::{Csv, OneC, Pain001, Paypal, Wise, Xlsx};
    let limits = [
        (Pain001, 10_000),
        (Paypal, 5_000),
        (Wise, 1_000),
        (OneC, 10_000),
        (Csv, 1_000_000),
        (Xlsx, 1_000_000),
    ];
    assert_eq!(limits.len(), FileFormat::ALL.len());
    for (format, max) in limits {
        let cut = |n: usize| -> Vec<(usize, usize)> {
            parts(format, &vec![(); n]).map(|(number, part)| (number, part.len())).collect()
        };
        assert_eq!(cut(0), [], "{format:?}");
        assert_eq!(cut(1), [(1, 1)], "{format:?}");
        assert_eq!(cut(max), [(1, max)], "{format:?}");
        assert_eq!(cut(max + 1), [(1, max), (2, 1)], "{format:?}");
        assert_eq!(cut(2 * max + 1), [(1, max), (2, max), (3, 1)], "{format:?}");
    }
}

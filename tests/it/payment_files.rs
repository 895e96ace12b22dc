//! Payment files before judges that are not ours: the official schema, a decoder, the API of parts.

use std::process::Command;

use tributary::ids::{PayoutBatchId, PayoutId};
use tributary::money::Money;
use tributary::payout::file::{FileFormat, FileHead, FileItem, write};
use tributary::payout::method::{MethodDocument, PayoutMethod};

const NAMES: [&str; 12] = [
    "Müller & Söhne <GmbH>",
    "Иван Щербаков",
    "\"Quoted\" 'Name' ]]>",
    "//Slash//",
    "日本 株式会社",
    "Ελληνική ΑΕ",
    "a&amp;b",
    "\u{202e}right to left",
    "x",
    "O'Brien-Ångström + Co. (Ltd.), Nr. 1",
    "🦀🦀🦀",
    "................................................................................",
];

fn method(holder: &str) -> PayoutMethod {
    let document = MethodDocument {
        kind: "sepa".to_owned(),
        holder: holder.chars().take(70).collect(),
        iban: Some("NL91ABNA0417164300".to_owned()),
        town: Some(holder.chars().take(35).collect()),
        country: Some("NL".to_owned()),
        ..MethodDocument::default()
    };
    PayoutMethod::read(&document).unwrap()
}

/// Transfers with names that a file may not hold as they are.
fn hostile() -> Vec<u8> {
    let currency = "EUR".parse().unwrap();
    let items: Vec<FileItem> = NAMES
        .iter()
        .zip(1..)
        .map(|(name, minor)| FileItem {
            payout_id: PayoutId::new(),
            partner: (*name).to_owned(),
            tax_id: None,
            method: Some(method(name)),
            amount: Money::new(minor * 99_999, currency),
            net: Money::new(minor, currency),
            vat: Money::zero(currency),
            withheld: Money::zero(currency),
            document_no: None,
        })
        .collect();
    let head = FileHead {
        batch_id: PayoutBatchId::new(),
        part: 12,
        period: "2026-10".to_owned(),
        program: NAMES.concat(),
        payer: Some(method("Payer")),
        execution_on: "2026-11-16".parse().unwrap(),
        made_at: "2026-11-10T09:30:00".parse().unwrap(),
        currency,
    };
    write(FileFormat::Pain001, &head, &items).unwrap()
}

#[test]
fn transfers_are_valid_by_the_official_schema() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("hostile.xml");
    std::fs::write(&made, hostile()).unwrap();
    // What the judge must refuse, else it judges nothing.
    let broken = dir.path().join("broken.xml");
    let text = String::from_utf8(hostile()).unwrap();
    std::fs::write(&broken, text.replace("<ChrgBr>SLEV</ChrgBr>", "<ChrgBr>NONE</ChrgBr>"))
        .unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    let judge = |files: &[&std::path::Path]| {
        let mut run = Command::new("bash");
        run.arg("tests/oracles/pain001.sh").args(files).current_dir(root);
        let out = run.output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let golden = std::path::Path::new("tests/golden/pain001.xml");
    let (code, said) = judge(&[golden, &made]);
    if code == Some(3) {
        eprintln!("skipped: {said}");
        return;
    }
    assert_eq!((code, said.matches(": valid").count()), (Some(0), 2), "{said}");
    let (code, said) = judge(&[&broken]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("ChrgBr"), "{said}");
}

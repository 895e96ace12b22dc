//! Tests of results.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::ids::{LedgerTransactionId, PartnerId, PayoutBatchId, ProgramId};
use crate::ledger::posting::PayoutAmounts;

fn payout(state: PayoutState) -> Payout {
    let money = |minor| Money::new(minor, "EUR".parse().unwrap());
    Payout {
        program_id: ProgramId(Uuid::nil()),
        payout_id: PayoutId(Uuid::from_u128(1)),
        payout_batch_id: PayoutBatchId(Uuid::nil()),
        partner_id: PartnerId(Uuid::nil()),
        partner_name: "A".to_owned(),
        amounts: PayoutAmounts { net: money(123_450), vat: money(0), withheld: money(0) },
        method: None,
        account_masked: None,
        legal_type: None,
        vat_treatment: None,
        document_no: None,
        receipt_no: None,
        file: None,
        bank_label: None,
        state,
        bank_reference: None,
        failure_reason: None,
        paid_at: None,
        reserve_transaction_id: LedgerTransactionId(Uuid::nil()),
        pay_transaction_id: None,
    }
}

fn row(said: Said) -> ResultRow {
    ResultRow {
        line: 2,
        id: payout(PayoutState::Draft).payout_id.to_string(),
        said,
        status: "X".to_owned(),
        reference: Some("E2E-1".to_owned()),
        reason: None,
        amount: None,
    }
}

fn verdict(row: &ResultRow, payout: Option<&Payout>) -> (String, Option<PayoutAction>) {
    let decided = decide(row, payout, &BankLabel::main(), Timestamp::UNIX_EPOCH);
    (decided.verdict.verdict, decided.act.map(|(_, result)| result.action()))
}

#[test]
fn every_state_and_every_answer_have_their_verdict() {
    use PayoutState::*;
    use Said::{Failed as No, Open, Paid as Yes, Refunded as Again, Returned as Back};
    let done = [
        (Approved, Again, "failed"),
        (Processing, Again, "failed"),
        (Paid, Again, "returned"),
        (Failed, Again, "unchanged"),
        (Returned, Again, "unchanged"),
        (Approved, Yes, "paid"),
        (Approved, No, "failed"),
        (Processing, Yes, "paid"),
        (Processing, No, "failed"),
        (Paid, Back, "returned"),
        (Paid, Yes, "unchanged"),
        (Failed, No, "unchanged"),
        (Returned, Back, "unchanged"),
    ];
    for &state in PayoutState::ALL {
        for said in [Yes, No, Back, Again, Open] {
            let known = done.iter().find(|d| (d.0, d.1) == (state, said)).map(|d| d.2);
            let expected = if said == Open { "open" } else { known.unwrap_or("not_possible") };
            let (found, act) = verdict(&row(said), Some(&payout(state)));
            assert_eq!(found, expected, "{state:?} {said:?}");
            let acts = ["paid", "failed", "returned"].contains(&expected);
            assert_eq!(act.is_some(), acts, "{state:?} {said:?}: an open answer does nothing");
        }
    }
    assert_eq!(verdict(&row(Yes), None).0, "not_in_batch");
}

#[test]
fn an_amount_that_differs_is_not_believed() {
    for (amount, expected) in [
        ("1234.50", "paid"),
        ("-1234.50", "paid"),
        ("1,234.50", "paid"),
        ("1234.51", "amount_differs"),
        ("0", "amount_differs"),
        ("many", "amount_differs"),
    ] {
        let row = ResultRow { amount: Some(amount.to_owned()), ..row(Said::Paid) };
        assert_eq!(verdict(&row, Some(&payout(PayoutState::Processing))).0, expected, "{amount}");
    }
}

#[test]
fn each_form_is_read() {
    let own = "payout_id,status,reference,reason\r\npo_1,paid,R-1,\r\npo_2,Failed,,closed\r\npo_3,sent,,\r\n";
    let semicolons = "\u{feff}payout_id;status;reference\npo_1;paid;R-1\n";
    let paypal = "Recipient,Amount,Currency,Customer ID,Transaction ID,Status,Reason\n\
        a@b.c,12.00,USD,po_1,TX1,Completed,\na@b.c,1.00,USD,po_2,,Unclaimed,\n\
        a@b.c,1.00,USD,po_3,TX3,Returned,refused\n";
    let pain002 = r#"<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>
        <OrgnlGrpInfAndSts><GrpSts>PART</GrpSts></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts>
        <TxInfAndSts><OrgnlEndToEndId>po-1</OrgnlEndToEndId><TxSts>ACSC</TxSts><AcctSvcrRef>R-1</AcctSvcrRef>
        <OrgnlTxRef><Amt><InstdAmt Ccy="EUR">12.00</InstdAmt></Amt></OrgnlTxRef></TxInfAndSts>
        <TxInfAndSts><OrgnlEndToEndId>po-2</OrgnlEndToEndId><TxSts>RJCT</TxSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn>
        <AddtlInf>closed &amp; gone</AddtlInf></StsRsnInf></TxInfAndSts>
        <TxInfAndSts><OrgnlEndToEndId>po-3</OrgnlEndToEndId><TxSts>PDNG</TxSts></TxInfAndSts>
        </OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"#;
    use Said::{Failed, Open, Paid, Refunded};
    let cases: [(ResultFormat, &str, &[Said]); 4] = [
        (ResultFormat::Csv, own, &[Paid, Failed, Open]),
        (ResultFormat::Csv, semicolons, &[Paid]),
        (ResultFormat::Paypal, paypal, &[Paid, Open, Refunded]),
        (ResultFormat::Pain002, pain002, &[Paid, Failed, Open]),
    ];
    for (format, text, expected) in cases {
        let rows = read(format, text.as_bytes()).unwrap();
        let said: Vec<Said> = rows.iter().map(|r| r.said).collect();
        assert_eq!(said, expected, "{format:?}");
        assert_eq!(rows[0].id, "po_1");
        assert_eq!(ResultFormat::from_code(format.code()), Some(format));
    }
    let rows = read(ResultFormat::Pain002, pain002.as_bytes()).unwrap();
    assert_eq!(rows[1].reason.as_deref(), Some("AC04 closed & gone"));
    assert_eq!(
        (rows[0].amount.as_deref(), rows[0].reference.as_deref()),
        (Some("12.00"), Some("R-1"))
    );
}

#[test]
fn a_statement_tells_of_payouts_alone() {
    let id = |n: u128| PayoutId(Uuid::from_u128(n)).to_string().replace('_', "-");
    let entry = |status: &str, direction: &str, details: &str| {
        format!(
            "<Ntry><Amt Ccy=\"EUR\">99.00</Amt><CdtDbtInd>{direction}</CdtDbtInd>{status}\
             <AcctSvcrRef>S-1</AcctSvcrRef><NtryDtls>{details}</NtryDtls></Ntry>"
        )
    };
    let details = |id: &str, more: &str| {
        format!("<TxDtls><Refs><EndToEndId>{id}</EndToEndId></Refs>{more}</TxDtls>")
    };
    let amount = "<AmtDtls><TxAmt><Amt Ccy=\"EUR\">12.00</Amt></TxAmt></AmtDtls>";
    let back = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>closed</AddtlInf></RtrInf>";
    let (plain, nested) = ("<Sts>BOOK</Sts>", "<Sts><Cd>BOOK</Cd></Sts>");
    let both = [details(&id(1), amount), details("NOTPROVIDED", ""), details(&id(2), "")].concat();
    let text = format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><Stmt>\
         <Bal><Amt Ccy=\"EUR\">1.00</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>{}{}{}{}\
         </Stmt></BkToCstmrStmt></Document>",
        entry(nested, "DBIT", &both),
        entry(plain, "CRDT", &details(&id(3), back)),
        entry("<Sts>PDNG</Sts>", "DBIT", &details(&id(4), "")),
        // Money that comes in with our id and is no return: somebody must look.
        entry(plain, "CRDT", &details(&id(5), "")),
    );
    let rows = read(ResultFormat::Camt, text.as_bytes()).unwrap();
    let told: Vec<_> = rows.iter().map(|r| (r.id.replace('_', "-"), r.said)).collect();
    use Said::{Open, Paid, Returned};
    let expected = [Paid, Paid, Returned, Open, Open];
    assert_eq!(told, (1..).map(id).zip(expected).collect::<Vec<_>>());
    assert_eq!(rows[0].amount.as_deref(), Some("12.00"));
    assert_eq!((rows[1].amount.as_deref(), rows[1].reference.as_deref()), (None, Some("S-1")));
    assert_eq!(rows[2].reason.as_deref(), Some("AC04 closed"));
}

fn id(n: u128) -> String {
    PayoutId(Uuid::from_u128(n)).to_string()
}

#[test]
fn the_history_of_wise_tells_of_payouts_alone() {
    let head = "ID,Status,Direction,\"Created on\",\"Finished on\",\"Source name\",\
        \"Source amount (after fees)\",\"Source currency\",\"Target name\",\
        \"Target amount (after fees)\",\"Target currency\",\"Exchange rate\",Reference,Batch,Note";
    let line = |id: &str, status: &str, reference: &str| {
        format!(
            "TRANSFER-{id},{status},OUT,2026-11-16,2026-11-17,Shop,12.50,EUR,Blog,12.00,EUR,1.0,\
             {reference},7,"
        )
    };
    let lines = [
        head.to_owned(),
        line("1", "COMPLETED", &id(1)),
        line("2", "CANCELLED", &id(2)),
        line("3", "REFUNDED", &id(3)),
        line("4", "PROCESSING", &id(4)),
        line("5", "COMPLETED", "rent"),
    ];
    let rows = read(ResultFormat::Wise, lines.join("\n").as_bytes()).unwrap();
    let told: Vec<_> = rows.iter().map(|r| (r.id.clone(), r.said)).collect();
    use Said::{Failed, Open, Paid, Refunded};
    assert_eq!(told, (1..).map(id).zip([Paid, Failed, Refunded, Open]).collect::<Vec<_>>());
    assert_eq!(rows[0].reference.as_deref(), Some("TRANSFER-1"));
    assert_eq!(rows[0].amount.as_deref(), Some("12.00"), "what the partner got, without fees");
}

#[test]
fn a_statement_of_a_russian_bank_tells_of_payouts_alone() {
    let ours = "40702810900000000001";
    let document = |n: u32, parties: [&str; 2], dates: [&str; 2], purpose: &str| {
        format!(
            "СекцияДокумент=Платежное поручение\r\nНомер={n}\r\nДата=16.11.2026\r\nСумма=1200.00\r\n\
             ПлательщикСчет={}\r\nДатаСписано={}\r\nПолучательСчет={}\r\nДатаПоступило={}\r\n\
             НазначениеПлатежа={purpose}\r\nКонецДокумента\r\n",
            parties[0], dates[0], parties[1], dates[1],
        )
    };
    let theirs = "40802810100000000002";
    let (out, back, day) = ([ours, theirs], [theirs, ours], "17.11.2026");
    let text = |encoding: &str| {
        [
            format!(
                "1CClientBankExchange\r\nВерсияФормата=1.03\r\nКодировка={encoding}\r\nРасчСчет={ours}\r\n\
                 СекцияРасчСчет\r\nНачальныйОстаток=0.00\r\nРасчСчет={ours}\r\nКонецРасчСчет\r\n"
            ),
            document(1, out, [day, ""], &format!("{} Вознаграждение за 2026-10.", id(1))),
            document(2, back, ["", day], &format!("Возврат: счет закрыт. ({})", id(2))),
            document(3, out, ["", ""], &format!("{} Вознаграждение", id(3))),
            // Both dates, as some banks write between their own clients: it is a debit of ours.
            document(4, out, [day, day], &format!("{} Вознаграждение", id(4))),
            document(5, out, [day, ""], "Аренда за ноябрь"),
            "КонецФайла\r\n".to_owned(),
        ]
        .concat()
    };
    let encoded = [
        ("Windows", encoding_rs::WINDOWS_1251),
        ("DOS", encoding_rs::IBM866),
        ("UTF-8", encoding_rs::UTF_8),
    ];
    use Said::{Open, Paid, Refunded};
    for (name, encoding) in encoded {
        // IBM866 has no encoder in the crate: each letter's place is looked up.
        let bytes: Vec<u8> = match name {
            "DOS" => text(name).chars().map(|c| to_dos(encoding, c)).collect(),
            _ => encoding.encode(&text(name)).0.into_owned(),
        };
        let rows = read(ResultFormat::OneC, &bytes).unwrap();
        let told: Vec<_> = rows.iter().map(|r| (r.id.clone(), r.said)).collect();
        let expected = (1..).map(id).zip([Paid, Refunded, Open, Paid]).collect::<Vec<_>>();
        assert_eq!(told, expected, "{name}");
        assert_eq!(rows[0].reference.as_deref(), Some("1 17.11.2026"));
        assert!(rows[1].reason.as_deref().unwrap().starts_with("Возврат"), "{rows:?}");
    }
    for (bytes, why) in [
        (
            "payout_id,status\n",
            "line 1 cannot be read: the first line of such a file is 1CClientBankExchange",
        ),
        (
            "1CClientBankExchange\nСекцияДокумент=x\n",
            "line 2 cannot be read: the document has no end",
        ),
    ] {
        assert_eq!(read(ResultFormat::OneC, bytes.as_bytes()).unwrap_err().to_string(), why);
    }
}

fn to_dos(encoding: &'static encoding_rs::Encoding, c: char) -> u8 {
    let is_it = |byte: &u8| encoding.decode_without_bom_handling(&[*byte]).0.starts_with(c);
    (0..=255).find(is_it).unwrap()
}

#[test]
fn what_cannot_be_read_says_why() {
    let cases: [(ResultFormat, &[u8], &str); 6] = [
        (ResultFormat::Csv, b"\xff\xfe", "the file is not UTF-8 text"),
        (ResultFormat::Csv, b"", "the file has no column payout_id; its header row must name it"),
        (
            ResultFormat::Csv,
            b"payout_id\npo_1\n",
            "the file has no column status; its header row must name it",
        ),
        (ResultFormat::Csv, b"payout_id,status\n", "the file has no row"),
        (
            ResultFormat::Paypal,
            b"Status\nCompleted\n",
            "the file has no column customer id; its header row must name it",
        ),
        (ResultFormat::Pain002, b"<a><b>", "line 1 cannot be read: it ends too early"),
    ];
    for (format, bytes, why) in cases {
        assert_eq!(read(format, bytes).unwrap_err().to_string(), why);
    }
    let uneven = read(ResultFormat::Csv, b"payout_id,status\npo_1,paid,more\n").unwrap_err();
    assert!(matches!(uneven, UnreadableFile::BadLine { line: 2, .. }), "{uneven}");
}

proptest! {
    #[test]
    fn no_file_makes_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a-z;,\"\n]{0,80}") {
        for format in ResultFormat::ALL {
            drop(read(format, &bytes));
            drop(read(format, text.as_bytes()));
        }
    }
}

//! What a statement says, to the byte.

use chrono_tz::Tz;

use super::*;
use crate::ids::{ProgramId, UserId};
use crate::ledger::period::Month;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn october() -> ClosedPeriod {
    let month: Month = "2026-10".parse().unwrap();
    let (starts_at, ends_at) = month.bounds(Tz::UTC);
    ClosedPeriod {
        program_id: ProgramId(uuid::Uuid::from_u128(1)),
        month,
        starts_at,
        ends_at,
        after_sequence: 10,
        last_sequence: 20,
        chain_hash: [7; 32],
        closed_by: UserId(uuid::Uuid::from_u128(2)),
        closed_at: at("2026-11-03T08:00:00Z"),
    }
}

fn heading() -> Heading {
    Heading {
        number: number(&october(), 123),
        partner_id: PartnerId(uuid::Uuid::from_u128(3)),
        partner_name: "=Blog <42> & \"Söhne\"".to_owned(),
        program_name: "Shop".to_owned(),
        time_zone: "UTC".to_owned(),
        currency: "EUR".parse().unwrap(),
        pending_opening_minor: 500,
        opening_minor: -100,
    }
}

fn line(code: Code, side: Side, amount_minor: i64) -> Line {
    Line {
        transaction: LedgerTransactionId(uuid::Uuid::from_u128(4)),
        effective_at: at("2026-10-05T10:00:00Z"),
        recorded_at: at("2026-10-05T10:00:01Z"),
        code,
        reference: format!("{}:x", code.text()),
        order_id: None,
        side,
        amount_minor,
    }
}

fn lines() -> Vec<Line> {
    use Side::{Payable, Pending};
    let mut late = line(Code::Accrue, Pending, 1_000);
    late.effective_at = at("2026-09-30T23:59:59Z");
    late.order_id = Some("A-1".to_owned());
    vec![
        late,
        line(Code::Approve, Pending, -700),
        line(Code::Approve, Payable, 700),
        line(Code::Clawback, Payable, -50),
        line(Code::PayoutReserve, Payable, -400),
        line(Code::PayoutFail, Payable, 400),
    ]
}

#[test]
fn balances_roll_forward_over_the_lines() {
    let statement = write(heading(), &october(), &lines()).unwrap();
    assert_eq!((statement.pending_closing_minor, statement.closing_minor), (800, 550));
    let json = to_json(&statement.document).unwrap();
    for (key, expected) in [
        ("statement", "ST-2026-10-000123"),
        ("opening", "-1.00"),
        ("accrued", "10.00"),
        ("approved", "7.00"),
        ("clawed_back", "0.50"),
        ("set_aside", "0.00"),
        ("closing", "5.50"),
        ("pending_closing", "8.00"),
        ("to", "2026-11-01T00:00:00.000000Z"),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    assert_eq!(json["entries"].as_array().unwrap().len(), 6);
    assert_eq!(
        (&json["entries"][0]["late"], &json["entries"][1]["late"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn same_entries_are_the_same_bytes() {
    let twice = [(); 2].map(|()| write(heading(), &october(), &lines()).unwrap().document);
    assert_eq!(twice[0], twice[1]);
    assert!(twice[0].ends_with('\n') && twice[0].lines().count() == 7);
}

#[test]
fn a_page_holds_no_markup_of_strangers() {
    let statement = write(heading(), &october(), &lines()).unwrap();
    let page = to_html(&statement.document, "ab12").unwrap();
    assert!(page.contains("=Blog &lt;42&gt; &amp; &quot;Söhne&quot;"), "{page}");
    assert!(
        page.contains("ST-2026-10-000123") && page.contains("5.50 EUR") && page.contains("ab12")
    );
    assert!(page.contains("2026-09-30 (late)"), "{page}");
    assert!(!page.contains("<script"));
}

#[test]
fn what_does_not_fit_is_no_statement() {
    let heading = Heading { opening_minor: i64::MAX, ..heading() };
    assert_eq!(write(heading, &october(), &[line(Code::Bonus, Side::Payable, 1)]), None);
}

//! Bodies of partners and enrollments: what is refused, and where.

use super::*;

fn enrollment() -> Enrollment {
    let body = json!({"program_id": ProgramId::new(), "min_payout": "20.00", "owner": "Anna"});
    let body: NewEnrollmentBody = serde_json::from_value(body).unwrap();
    body.into_enrollment(PartnerId::new(), "EUR".parse().unwrap(), Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn an_enrollment_is_active_and_of_rank_c_unless_said_otherwise() {
    let e = enrollment();
    assert_eq!((e.status.as_str(), e.rank.as_str()), ("active", "C"));
    assert_eq!(e.min_payout_minor, Some(2000));
}

#[test]
fn null_clears_and_absence_keeps() {
    let eur = "EUR".parse().unwrap();
    let mut e = enrollment();
    let changes = json!({"min_payout": null, "rank": "A"});
    serde_json::from_value::<EnrollmentChanges>(changes).unwrap().apply(&mut e, eur).unwrap();
    assert_eq!((e.min_payout_minor, e.rank.as_str()), (None, "A"));
    assert_eq!(e.owner.as_deref(), Some("Anna"));
    for (changes, pointer) in [
        (json!({"rank": "E"}), "/rank"),
        (json!({"status": "gone"}), "/status"),
        (json!({"owner": " "}), "/owner"),
        (json!({"min_payout": "-1"}), "/min_payout"),
    ] {
        let changes: EnrollmentChanges = serde_json::from_value(changes).unwrap();
        let problem = changes.apply(&mut enrollment(), eur).unwrap_err();
        assert_eq!(problem.errors()[0].pointer, pointer);
    }
}

#[test]
fn a_partner_with_a_wrong_kind_country_or_address_is_refused() {
    for (body, pointer) in [
        (json!({"name": "A", "kind": "friend"}), "/kind"),
        (json!({"name": "A", "kind": "dealer", "country": "de"}), "/country"),
        (json!({"name": "A", "kind": "dealer", "email": "nobody"}), "/email"),
        (json!({"name": "A", "slug": "Ä", "kind": "dealer"}), "/slug"),
    ] {
        let body: NewPartnerBody = serde_json::from_value(body).unwrap();
        let problem = body.into_partner(Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(problem.errors()[0].pointer, pointer);
    }
}

//! What a mail says, in which order, and that nothing typed by strangers gets out of its place.

use proptest::prelude::*;

use super::*;

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn decline(name: &str, amount: &str) -> ActivityDeclined {
    ActivityDeclined {
        partner_id: format!("pt_{name}"),
        partner_name: name.to_owned(),
        severity: "critical".to_owned(),
        since: "2026-11-02".parse().unwrap(),
        share_lost_percent: 83,
        lost_commission_next_28d: amount.to_owned(),
        currency: "EUR".to_owned(),
        possible_cause: "technical".to_owned(),
        remedy: "Repair the links.".to_owned(),
        case_id: Some("ca_1".to_owned()),
    }
}

fn digest(partners: &[(&str, &str)]) -> Digest {
    Digest {
        program: "Shop".to_owned(),
        day: "2026-11-22".parse().unwrap(),
        currency: eur(),
        incident: None,
        entries: partners.iter().filter_map(|(n, a)| of_notice(decline(n, a))).collect(),
    }
}

#[test]
fn the_subject_counts_partners_and_money() {
    for (partners, en, ru) in [
        (
            &[("a", "400.00"), ("b", "12.00"), ("c", "0")][..],
            "Tributary: 3 partners declining, EUR 412.00 at stake (2026-11-22)",
            "Tributary: активность упала у 3 партнёров, под угрозой EUR 412.00 (2026-11-22)",
        ),
        (
            &[("a", "1.50")],
            "Tributary: 1 partner declining, EUR 1.50 at stake (2026-11-22)",
            "Tributary: активность упала у 1 партнёра, под угрозой EUR 1.50 (2026-11-22)",
        ),
    ] {
        assert_eq!(digest(partners).write(Locale::En).unwrap().subject, en);
        assert_eq!(digest(partners).write(Locale::Ru).unwrap().subject, ru);
    }
    assert_eq!(words::partners(11, Locale::Ru), "11 партнёров");
    assert_eq!(words::partners(21, Locale::Ru), "21 партнёра");
}

#[test]
fn an_empty_day_has_no_mail_and_an_incident_alone_has_one() {
    assert_eq!(digest(&[]).write(Locale::En), None);
    let incident = Digest { incident: Some("All fell.".to_owned()), ..digest(&[]) };
    let mail = incident.write(Locale::En).unwrap();
    assert_eq!(
        mail.subject,
        "Tributary: incident, 0 partners declining, EUR 0.00 at stake (2026-11-22)"
    );
}

#[test]
fn incidents_come_first_and_partners_by_money() {
    let mut all = digest(&[("cheap", "1.00"), ("dear", "300.00"), ("mid", "20.00")]);
    all.incident = Some("The whole network is at 30 %.".to_owned());
    let mail = all.write(Locale::En).unwrap();
    for text in [&mail.plain, &mail.html] {
        let places: Vec<_> = ["whole network", "dear (", "mid (", "cheap ("]
            .iter()
            .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} in {text}")))
            .collect();
        assert!(places.is_sorted(), "{places:?} {text}");
    }
}

#[test]
fn the_text_reads_like_this() {
    let mail = digest(&[("Blog 42", "300.00")]).write(Locale::En).unwrap();
    assert_eq!(
        mail.plain,
        "Shop\n\
         Tributary: 1 partner declining, EUR 300.00 at stake (2026-11-22)\n\
         \n\
         1. Blog 42 (critical, new): EUR 300.00 at stake\n   \
            83 % of its clicks lost since 2026-11-02; possible cause: technical.\n   \
            Repair the links.\n   \
            Case ca_1\n"
    );
    let russian = digest(&[("Блог", "300.00")]).write(Locale::Ru).unwrap().plain;
    assert!(russian.contains("Блог (критично, новое): под угрозой EUR 300.00"), "{russian}");
    assert!(russian.contains("Исправьте названные ссылки"), "{russian}");
}

#[test]
fn a_long_list_is_cut_and_says_so() {
    let names: Vec<String> = (0..53).map(|n| format!("p{n}")).collect();
    let partners: Vec<_> = names.iter().map(|name| (name.as_str(), "1.00")).collect();
    let mail = digest(&partners).write(Locale::En).unwrap();
    assert!(mail.plain.contains("\n50. ") && !mail.plain.contains("\n51. "));
    assert!(mail.plain.ends_with("3 more in the report activity-decline.\n"));
    assert!(mail.subject.contains("53 partners"));
}

#[test]
fn a_notice_with_an_amount_that_is_none_is_left_out() {
    for amount in ["", "much", "1.234", "-1.00"] {
        assert_eq!(of_notice(decline("a", amount)), None, "{amount:?}");
    }
}

proptest! {
    #[test]
    fn a_name_stays_in_its_place(name in "[\\PC\\n\\r<>&\"']{1,40}") {
        let mail = digest(&[(&name, "1.00")]).write(Locale::En).unwrap();
        prop_assert_eq!(mail.plain.lines().count(), 7);
        let usual = digest(&[("x", "1.00")]).write(Locale::En).unwrap();
        for c in ['<', '>', '"'] {
            prop_assert_eq!(mail.html.matches(c).count(), usual.html.matches(c).count());
        }
    }
}

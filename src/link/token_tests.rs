//! Tests of link tokens: published vectors, and every way to bend a token.

use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = {
    let mut key = [0; 32];
    let mut i = 0;
    while i < 32 {
        key[i] = i as u8;
        i += 1;
    }
    key
};
/// Published: program 2002, partner 1001, link 42, no expiry, key = bytes 0..31, kid 0.
const VECTOR: &str = "IAAH0gAAA-kAAAAqAADrXPuyciKMnhETizQKyxLY";
/// Published: the same partner's link 2^31 + 7, epoch 1 of the same root key.
const MINTED_VECTOR: &str = "QAAH0gAAA-mAAAAHAACjUNTYuPLME4CFXEEBPDI1";

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 22).unwrap()
}

fn keys() -> LinkKeys {
    LinkKeys { issued: KeyRing::single(KEY), mint: Some(KeyRing::single(KEY)) }
}

fn epochs(current: u16, previous: Option<u16>) -> Option<MintEpochs> {
    Some(MintEpochs { current, previous })
}

fn token() -> LinkToken {
    LinkToken {
        program: ProgramNo(2002),
        partner: PartnerNo(1001),
        link: LinkNo(42),
        expires_on: None,
    }
}

/// Says what a text is, which is the same for who remembers one link and for who remembers this one.
fn check(text: impl AsRef<[u8]>) -> Result<LinkToken, TokenError> {
    let text = text.as_ref();
    let said = LinkToken::verify(&keys(), text, today(), |_, _| epochs(1, None));
    let mut links = ProvenLinks::new(keys());
    for text in [VECTOR.as_bytes(), text] {
        let _ = links.verify(text, today(), |_, _| epochs(1, None));
    }
    assert_eq!(links.verify(text, today(), |_, _| epochs(1, None)), said);
    said
}

#[test]
fn published_vectors_are_signed_and_verified() {
    assert_eq!(token().sign(&keys().issued).unwrap(), VECTOR);
    assert_eq!(check(VECTOR), Ok(token()));

    let ring = KeyRing::parse("3:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=").unwrap();
    let last = NaiveDate::from_ymd_opt(2027, 12, 31);
    let dated = LinkToken { expires_on: last, ..token() }.sign(&ring).unwrap();
    assert_eq!(dated, "IwAH0gAAA-kAAAAqC2l3I7ivZ_27MtegrF-bYo_h");

    let mint = mint_key(&keys().issued, ProgramNo(2002), PartnerNo(1001), 1);
    assert_eq!(mint.key.bytes()[..4], [0x11, 0x8d, 0xef, 0x7b]);
    let link = LinkNo((1 << 31) + 7);
    assert_eq!(mint.sign(link, None).unwrap(), MINTED_VECTOR);
    assert_eq!(check(MINTED_VECTOR), Ok(LinkToken { link, ..token() }));
    let next = mint_key(&keys().issued, ProgramNo(2002), PartnerNo(1001), 2);
    assert_eq!(next.sign(link, last).unwrap(), "QAAH0gAAA-mAAAAHC2mgHZTG2hzUyAJnS1FijIzP");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    for vector in [VECTOR, MINTED_VECTOR] {
        let bytes = decode(vector.as_bytes()).unwrap();
        for bit in 0..BYTES * 8 {
            let mut bent = bytes;
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(check(URL_SAFE_NO_PAD.encode(bent)).is_err(), "bit {bit} of {vector}");
        }
        for len in 0..TOKEN_LEN {
            assert_eq!(check(&vector[..len]), Err(TokenError::Malformed), "{len} characters");
        }
        for c in 0..=255u8 {
            for at in 0..TOKEN_LEN {
                let mut bent = vector.as_bytes().to_vec();
                let same = std::mem::replace(&mut bent[at], c) == c;
                assert_eq!(check(&bent).is_ok(), same, "{c:#x} at {at}");
            }
        }
    }
}

#[test]
fn other_spellings_are_refused() {
    let standard = VECTOR.replace('-', "+").replace('_', "/");
    assert_ne!(standard, VECTOR);
    let cases = [
        standard,
        format!("{VECTOR}="),
        format!("{VECTOR}A"),
        format!("{VECTOR} "),
        format!(" {}", &VECTOR[1..]),
        format!("{}==", &VECTOR[..38]),
        VECTOR.replace('-', "%2D"),
    ];
    for text in cases {
        assert_eq!(check(&text), Err(TokenError::Malformed), "{text}");
    }
    assert_eq!(check(VECTOR.to_lowercase()), Err(TokenError::Malformed), "its version is 4");
}

#[test]
fn a_link_works_through_its_last_day_and_the_signature_is_checked_first() {
    let last = today();
    let text = LinkToken { expires_on: Some(last), ..token() }.sign(&keys().issued).unwrap();
    let on = |day, text: &str| LinkToken::verify(&keys(), text, day, |_, _| None);
    assert!(on(last, &text).is_ok());
    let next = last.succ_opt().unwrap();
    assert_eq!(on(next, &text), Err(TokenError::Expired(last)));
    let forged = format!("{}A", &text[..39]);
    assert_eq!(on(next, &forged), Err(TokenError::BadMac));
}

#[test]
fn what_was_proven_still_expires_and_can_be_revoked() {
    let mut links = ProvenLinks::new(keys());
    let dated = LinkToken { expires_on: Some(today()), ..token() };
    let text = dated.sign(&keys().issued).unwrap();
    let never = |_, _| panic!("a link of ours has no epoch");
    assert_eq!(links.verify(&text, today(), never), Ok(dated));
    let tomorrow = today() + Days::new(1);
    assert_eq!(links.verify(&text, tomorrow, never), Err(TokenError::Expired(today())));
    assert!(links.verify(MINTED_VECTOR, today(), |_, _| epochs(1, None)).is_ok());
    let revoked = links.verify(MINTED_VECTOR, today(), |_, _| epochs(2, None));
    assert_eq!(revoked, Err(TokenError::BadMac));
}

#[test]
fn keys_rotate_and_a_removed_key_kills_its_links() {
    let old = token().sign(&keys().issued).unwrap();
    let with = |issued: &str| LinkKeys { issued: KeyRing::parse(issued).unwrap(), mint: None };
    let k0 = "0:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let k1 = "1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let both = with(&format!("{k0},{k1}"));
    let new = token().sign(&both.issued).unwrap();
    let check = |keys: &LinkKeys, text: &str| LinkToken::verify(keys, text, today(), |_, _| None);
    assert_eq!((check(&both, &old), check(&both, &new)), (Ok(token()), Ok(token())));
    assert_eq!(check(&with(k1), &old), Err(TokenError::UnknownKid(0)));
    assert_eq!(check(&with(k1), MINTED_VECTOR), Err(TokenError::UnknownKid(0)), "minting is off");
}

#[test]
fn raising_the_epoch_revokes_minted_links_after_the_overlap() {
    let with = |e| LinkToken::verify(&keys(), MINTED_VECTOR, today(), |_, _| e);
    assert!(with(epochs(1, None)).is_ok());
    assert!(with(epochs(2, Some(1))).is_ok());
    assert_eq!(with(epochs(2, None)), Err(TokenError::BadMac));
    assert_eq!(with(None), Err(TokenError::BadMac));
}

#[test]
fn a_partner_key_signs_for_nobody_else_and_not_in_the_range_of_the_service() {
    let mut mint = mint_key(&keys().issued, ProgramNo(2002), PartnerNo(1001), 1);
    assert_eq!(mint.sign(LinkNo(42), None), Err(Unsignable::LinkOutOfRange(LinkNo(42))));
    // A dishonest minter writes what he likes: the verifier refuses all of it.
    let small = token().seal(MINTED, 0, &mint.key, MINTED_DOMAIN).unwrap();
    assert_eq!(check(small), Err(TokenError::Malformed));
    let high = LinkToken { link: FIRST_MINTED, ..token() };
    let by_us = high.seal(ISSUED, 0, keys().issued.newest().1, ISSUED_DOMAIN).unwrap();
    assert_eq!(check(by_us), Err(TokenError::Malformed), "nor do we sign in the partner's range");
    let as_issued = token().seal(ISSUED, 0, &mint.key, ISSUED_DOMAIN).unwrap();
    assert_eq!(check(as_issued), Err(TokenError::BadMac));
    mint.partner = PartnerNo(1002);
    assert_eq!(check(mint.sign(FIRST_MINTED, None).unwrap()), Err(TokenError::BadMac));
    (mint.partner, mint.program) = (PartnerNo(1001), ProgramNo(2003));
    assert_eq!(check(mint.sign(FIRST_MINTED, None).unwrap()), Err(TokenError::BadMac));
}

#[test]
fn what_does_not_fit_is_not_signed() {
    let ring = keys().issued;
    let sign = |t: LinkToken| t.sign(&ring);
    let program = ProgramNo(1 << 24);
    assert_eq!(sign(LinkToken { program, ..token() }), Err(Unsignable::ProgramTooLarge(program)));
    assert_eq!(
        sign(LinkToken { link: FIRST_MINTED, ..token() }),
        Err(Unsignable::LinkOutOfRange(FIRST_MINTED))
    );
    let dated =
        |y, m, d| sign(LinkToken { expires_on: NaiveDate::from_ymd_opt(y, m, d), ..token() });
    assert!(dated(2020, 1, 1).is_err(), "day 0 means never");
    assert!(dated(2020, 1, 2).is_ok());
    assert!(dated(2199, 6, 6).is_ok());
    assert!(dated(2199, 6, 7).is_err());
}

#[test]
fn a_damaged_text_still_says_whose_it_claims_to_be() {
    let (program, partner) = (Some(ProgramNo(2002)), Some(PartnerNo(1001)));
    let all = Claimed { kid: Some(0), program, partner };
    let cases = [
        (VECTOR.to_owned(), all),
        (VECTOR[..39].to_owned(), all),
        (format!("{VECTOR}).html"), all),
        (VECTOR[..11].to_owned(), all),
        (VECTOR[..10].to_owned(), Claimed { partner: None, ..all }),
        (format!("{}%C2%BB", &VECTOR[..6]), Claimed { partner: None, ..all }),
        (VECTOR[..5].to_owned(), Claimed::default()),
        (VECTOR.to_lowercase(), Claimed::default()),
        ("русский".to_owned(), Claimed::default()),
        (String::new(), Claimed::default()),
    ];
    for (text, expected) in cases {
        assert_eq!(claimed(&text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn any_token_round_trips(
        program in 0u32..1 << 24, partner: u32, link in 0u32..1 << 31, days in 0u64..65536,
    ) {
        let expires_on = (days > 0).then(|| DAY_ZERO + Days::new(days));
        let token = LinkToken {
            program: ProgramNo(program), partner: PartnerNo(partner), link: LinkNo(link), expires_on,
        };
        let text = token.sign(&keys().issued).unwrap();
        prop_assert_eq!(text.len(), TOKEN_LEN);
        prop_assert!(text.starts_with(|c: char| ('I'..='P').contains(&c)));
        let claim = claimed(&text);
        prop_assert_eq!((claim.program, claim.partner), (Some(token.program), Some(token.partner)));
        prop_assert_eq!(LinkToken::verify(&keys(), &text, DAY_ZERO, |_, _| None), Ok(token));
    }

    #[test]
    fn no_other_bytes_pass(text in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(check(&text).is_err());
        claimed(&text);
    }
}

//! What the authority can sign, and what is kept of it.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall fail the test")]

use hayloft_api::join::{ListedMember, Member, TrustList};
use hayloft_pki::{
    Authority, Chain, HOST_CERTIFICATE_LIFE, Identity, Keypair, LiveIdentity, LiveTrust, Strangers, Trust,
    server_config, should_renew,
};
use jiff::{SignedDuration, Timestamp};

fn authority(cluster: &str) -> Authority {
    Authority::create(
        cluster.parse().unwrap(),
        &[1; 32],
        &[2; 32],
        "2026-01-01T00:00:00Z".parse().unwrap(),
    )
    .unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn an_authority_reads_back_with_the_same_pin_and_signs_on() {
    let first = authority("commons");
    let again = Authority::from_record(&first.to_record()).unwrap();
    assert_eq!(again.pin(), first.pin());
    assert_eq!(again.root_pem(), first.root_pem());
    let key = Keypair::from_seed(&[9; 32]).unwrap().public();
    let now = at("2026-02-01T00:00:00Z");
    assert_eq!(
        again.issue(&Member::Coordinator, &key, now).unwrap(),
        first.issue(&Member::Coordinator, &key, now).unwrap()
    );
}

#[test]
fn debug_output_of_an_authority_shows_no_private_key() {
    let authority = authority("commons");
    let shown = format!("{authority:?} {:?}", authority.to_record());
    for line in [
        authority.to_record().root_key,
        authority.to_record().intermediate_key,
    ] {
        let body = line.expose().lines().nth(1).unwrap().to_owned();
        assert!(!shown.contains(&body));
    }
}

#[test]
fn a_certificate_is_valid_for_days_and_a_little_before_it_was_made() {
    let now = at("2026-02-01T00:00:00Z");
    let key = Keypair::from_seed(&[9; 32]).unwrap().public();
    let facts = authority("commons")
        .issue(&Member::Coordinator, &key, now)
        .unwrap()
        .facts()
        .unwrap();
    assert_eq!(facts.key, key);
    assert_eq!(facts.not_before, now - SignedDuration::from_hours(1));
    assert_eq!(facts.not_after, now + HOST_CERTIFICATE_LIFE);
}

#[test]
fn a_certificate_is_renewed_early_and_when_the_clock_is_before_it() {
    let (from, until) = (at("2026-02-01T00:00:00Z"), at("2026-02-07T00:00:00Z"));
    assert!(!should_renew(from, until, at("2026-02-02T23:00:00Z")));
    assert!(should_renew(from, until, at("2026-02-03T01:00:00Z")));
    assert!(should_renew(from, until, at("2026-01-31T00:00:00Z")));
    assert!(should_renew(from, until, at("2026-03-01T00:00:00Z")));
}

#[test]
fn an_intermediate_is_replaced_before_it_ends_and_certificates_never_outlive_it() {
    let authority = authority("commons");
    assert!(!authority.intermediate_is_due(at("2026-06-01T00:00:00Z")).unwrap());
    let late = at("2027-12-30T00:00:00Z");
    assert!(authority.intermediate_is_due(late).unwrap());
    let key = Keypair::from_seed(&[9; 32]).unwrap().public();
    let end = authority
        .issue(&Member::Coordinator, &key, late)
        .unwrap()
        .facts()
        .unwrap()
        .not_after;
    assert!(end < late + HOST_CERTIFICATE_LIFE);
    let pin = authority.pin();
    let renewed = authority.with_new_intermediate(&[3; 32], late).unwrap();
    assert!(!renewed.intermediate_is_due(late).unwrap());
    assert_eq!(renewed.pin(), pin);
    // A clock that went back before the authority was made.
    assert!(
        renewed
            .issue(&Member::Coordinator, &key, at("2020-01-01T00:00:00Z"))
            .is_err()
    );
}

#[test]
fn a_key_and_a_certificate_of_another_key_make_no_identity() {
    let key = Keypair::from_seed(&[9; 32]).unwrap();
    let other = Keypair::from_seed(&[8; 32]).unwrap();
    let chain = authority("commons")
        .issue(&Member::Coordinator, &other.public(), at("2026-02-01T00:00:00Z"))
        .unwrap();
    assert!(Identity::new(&key, chain.clone()).is_err());
    assert!(Identity::new(&other, chain).is_ok());
}

#[test]
fn what_is_no_certificate_is_refused() {
    for bad in [
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(Chain::from_pem(bad).is_err(), "{bad}");
    }
}

/// The authority's own keys, misused: names of another cluster under this one's root.
#[test]
fn the_authority_of_one_cluster_cannot_vouch_for_names_of_another() {
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::server::ParsedCertificate;

    let mut record = authority("commons").to_record();
    let honest = Trust::new(&TrustList {
        cluster: "commons".parse().unwrap(),
        roots: vec![record.root.clone()],
        members: vec![],
    });
    assert!(honest.is_ok());
    record.cluster = "other".parse().unwrap();
    let misused = Authority::from_record(&record).unwrap();
    let key = Keypair::from_seed(&[9; 32]).unwrap();
    let now = at("2026-02-01T00:00:00Z");
    let chain = misused.issue(&Member::Coordinator, &key.public(), now).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain.certificates()[2].clone()).unwrap();
    let leaf: &CertificateDer<'_> = &chain.certificates()[0];
    let error = rustls::client::verify_server_cert_signed_by_trust_anchor(
        &ParsedCertificate::try_from(leaf).unwrap(),
        &roots,
        &chain.certificates()[1..2],
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().unsigned_abs())),
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .all,
    )
    .unwrap_err();
    assert!(error.to_string().contains("NameConstraintViolation"), "{error}");
}

#[test]
fn a_door_needs_nothing_but_an_identity_and_a_list() {
    let authority = authority("commons");
    let key = Keypair::from_seed(&[9; 32]).unwrap();
    let chain = authority
        .issue(&Member::Coordinator, &key.public(), at("2026-02-01T00:00:00Z"))
        .unwrap();
    let trust = Trust::new(&TrustList {
        cluster: "commons".parse().unwrap(),
        roots: vec![authority.root_pem()],
        members: vec![ListedMember {
            key: key.public(),
            member: Member::Coordinator,
            door: None,
        }],
    })
    .unwrap();
    let identity = LiveIdentity::new(Identity::new(&key, chain).unwrap());
    assert!(server_config(identity, LiveTrust::new(trust), Strangers::Refused).is_ok());
}

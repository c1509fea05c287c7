//! Who gets through a handshake, with rustls at both ends and no network between.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "what fails in a test shall fail the test"
)]

use std::sync::Arc;

use hayloft_api::ClusterName;
use hayloft_api::join::{HostKey, ListedMember, Member, TrustList};
use hayloft_pki::{
    Authority, Chain, Identity, Keypair, LiveIdentity, LiveTrust, Peer, Pin, Standing, Strangers, Trust,
    client_config, joining_config, server_config, server_name,
};
use jiff::{SignedDuration, Timestamp};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, ServerConfig, ServerConnection};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    // rustls reads the clock itself.
    #[expect(clippy::disallowed_methods, reason = "the handshake reads the same clock")]
    Timestamp::now()
}

fn cluster() -> ClusterName {
    "commons".parse().unwrap()
}

fn host(name: &str) -> Member {
    Member::Host(name.parse().unwrap())
}

fn authority(seed: u8) -> Authority {
    Authority::create(cluster(), &[seed; 32], &[seed + 1; 32], now() - DAY * 60).unwrap()
}

fn list(authorities: &[&Authority], members: &[(HostKey, Member)]) -> TrustList {
    TrustList {
        cluster: cluster(),
        roots: authorities.iter().map(|authority| authority.root_pem()).collect(),
        members: members
            .iter()
            .map(|(key, member)| ListedMember {
                key: *key,
                member: member.clone(),
                door: None,
            })
            .collect(),
    }
}

fn live(list: &TrustList) -> Arc<LiveTrust> {
    LiveTrust::new(Trust::new(list).unwrap())
}

fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32]).unwrap()
}

fn identity(key: &Keypair, chain: Chain) -> Arc<LiveIdentity> {
    LiveIdentity::new(Identity::new(key, chain).unwrap())
}

/// Both ends of an open connection, or what the first to object said.
fn shake(
    client: ClientConfig,
    server: ServerConfig,
    whom: &Member,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(Arc::new(client), server_name(whom, &cluster()).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut there = wire.as_slice();
        while !there.is_empty() {
            server.read_tls(&mut there).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut back = wire.as_slice();
        while !back.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

/// A coordinator with its door and a host that dials it.
struct Scene {
    authority: Authority,
    coordinator: Keypair,
    paris: Keypair,
}

impl Scene {
    fn new() -> Self {
        Self {
            authority: authority(1),
            coordinator: key(10),
            paris: key(11),
        }
    }

    fn members(&self) -> Vec<(HostKey, Member)> {
        vec![
            (self.coordinator.public(), Member::Coordinator),
            (self.paris.public(), host("paris-1")),
        ]
    }

    fn trust(&self) -> Arc<LiveTrust> {
        live(&list(&[&self.authority], &self.members()))
    }

    fn door(&self, trust: &Arc<LiveTrust>, strangers: Strangers) -> ServerConfig {
        let chain = self
            .authority
            .issue(&Member::Coordinator, &self.coordinator.public(), now())
            .unwrap();
        server_config(identity(&self.coordinator, chain), Arc::clone(trust), strangers).unwrap()
    }

    fn dial(&self, chain: Chain, trust: &Arc<LiveTrust>) -> ClientConfig {
        client_config(identity(&self.paris, chain), Arc::clone(trust)).unwrap()
    }

    fn paris_chain(&self, at: Timestamp) -> Chain {
        self.authority
            .issue(&host("paris-1"), &self.paris.public(), at)
            .unwrap()
    }
}

fn peer(server: &ServerConnection) -> Peer {
    Peer::of(&server.peer_certificates().unwrap()[0], now()).unwrap()
}

#[test]
fn a_listed_host_and_the_coordinator_know_each_other_over_tls_1_3() {
    let scene = Scene::new();
    let trust = scene.trust();
    let (client, server) = shake(
        scene.dial(scene.paris_chain(now()), &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    )
    .unwrap();
    assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let peer = peer(&server);
    assert_eq!(peer.standing, Standing::Valid);
    assert_eq!(trust.peer(&peer.key), Some(host("paris-1")));
}

#[test]
fn a_listed_host_gets_in_with_an_expired_certificate_and_the_door_can_tell() {
    let scene = Scene::new();
    let trust = scene.trust();
    let old = scene.paris_chain(now() - DAY * 30);
    let (_, server) = shake(
        scene.dial(old, &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    )
    .unwrap();
    assert_eq!(peer(&server).standing, Standing::Expired);
}

#[test]
fn a_certificate_from_a_clock_that_is_ahead_gets_in_and_the_door_can_tell() {
    let scene = Scene::new();
    let trust = scene.trust();
    let (_, server) = shake(
        scene.dial(scene.paris_chain(now() + DAY), &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    )
    .unwrap();
    assert_eq!(peer(&server).standing, Standing::NotYet);
}

#[test]
fn a_host_that_was_taken_off_the_list_is_refused_though_its_certificate_is_valid() {
    let scene = Scene::new();
    let theirs = scene.trust();
    let ours = live(&list(&[&scene.authority], &scene.members()[..1]));
    let refused = shake(
        scene.dial(scene.paris_chain(now()), &theirs),
        scene.door(&ours, Strangers::LetIn),
        &Member::Coordinator,
    );
    assert!(refused.unwrap_err().to_string().contains("Revoked"));
}

#[test]
fn an_open_connection_of_a_host_belongs_to_nobody_once_the_host_is_off_the_list() {
    let scene = Scene::new();
    let trust = scene.trust();
    let (_, server) = shake(
        scene.dial(scene.paris_chain(now()), &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    )
    .unwrap();
    let peer = peer(&server);
    trust.replace(Trust::new(&list(&[&scene.authority], &scene.members()[..1])).unwrap());
    assert_eq!(trust.peer(&peer.key), None);
}

#[test]
fn no_session_can_be_resumed_past_the_list() {
    let scene = Scene::new();
    let trust = scene.trust();
    let door = Arc::new(scene.door(&trust, Strangers::Refused));
    let dial = scene.dial(scene.paris_chain(now()), &trust);
    shake(dial.clone(), (*door).clone(), &Member::Coordinator).unwrap();
    trust.replace(Trust::new(&list(&[&scene.authority], &scene.members()[..1])).unwrap());
    assert!(shake(dial, (*door).clone(), &Member::Coordinator).is_err());
}

#[test]
fn a_certificate_of_another_authority_is_refused_though_the_key_is_listed() {
    let scene = Scene::new();
    let trust = scene.trust();
    let foreign = authority(5)
        .issue(&host("paris-1"), &scene.paris.public(), now())
        .unwrap();
    let refused = shake(
        scene.dial(foreign, &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    );
    assert!(refused.unwrap_err().to_string().contains("UnknownIssuer"));
}

#[test]
fn a_certificate_with_another_ones_name_is_refused() {
    let scene = Scene::new();
    let trust = scene.trust();
    let wrong = scene
        .authority
        .issue(&Member::Coordinator, &scene.paris.public(), now())
        .unwrap();
    let refused = shake(
        scene.dial(wrong, &trust),
        scene.door(&trust, Strangers::Refused),
        &Member::Coordinator,
    );
    assert!(refused.is_err());
}

#[test]
fn a_host_that_answers_in_the_coordinators_place_is_refused() {
    let scene = Scene::new();
    let trust = scene.trust();
    let door = server_config(
        identity(&scene.paris, scene.paris_chain(now())),
        Arc::clone(&trust),
        Strangers::Refused,
    )
    .unwrap();
    let refused = shake(
        scene.dial(scene.paris_chain(now()), &trust),
        door,
        &Member::Coordinator,
    );
    assert!(refused.unwrap_err().to_string().contains("not valid for name"));
}

#[test]
fn a_stranger_is_let_in_without_a_name_only_where_a_door_says_so() {
    let scene = Scene::new();
    let trust = scene.trust();
    let pin = scene.authority.pin();
    let (_, server) = shake(
        joining_config(pin).unwrap(),
        scene.door(&trust, Strangers::LetIn),
        &Member::Coordinator,
    )
    .unwrap();
    assert!(server.peer_certificates().is_none());
    assert!(
        shake(
            joining_config(pin).unwrap(),
            scene.door(&trust, Strangers::Refused),
            &Member::Coordinator,
        )
        .is_err()
    );
}

#[test]
fn one_who_joins_refuses_a_coordinator_under_another_root_than_the_pinned_one() {
    let scene = Scene::new();
    let trust = scene.trust();
    for pin in [authority(5).pin(), Pin::from_bytes([0; 32])] {
        let refused = shake(
            joining_config(pin).unwrap(),
            scene.door(&trust, Strangers::LetIn),
            &Member::Coordinator,
        );
        assert!(refused.unwrap_err().to_string().contains("UnknownIssuer"));
    }
}

#[test]
fn one_who_joins_refuses_a_member_that_poses_as_the_coordinator() {
    let scene = Scene::new();
    let trust = scene.trust();
    let door = server_config(
        identity(&scene.paris, scene.paris_chain(now())),
        Arc::clone(&trust),
        Strangers::LetIn,
    )
    .unwrap();
    assert!(
        shake(
            joining_config(scene.authority.pin()).unwrap(),
            door,
            &Member::Coordinator
        )
        .is_err()
    );
}

#[test]
fn a_root_that_is_only_shown_without_having_signed_does_not_satisfy_the_pin() {
    let scene = Scene::new();
    let trust = scene.trust();
    // A thief shows the true root beside a chain of its own.
    let thief = authority(5);
    let chain = thief
        .issue(&Member::Coordinator, &scene.coordinator.public(), now())
        .unwrap();
    let shown = Chain::from_pem(&(chain.to_pem() + &scene.authority.root_pem())).unwrap();
    let door = server_config(identity(&scene.coordinator, shown), trust, Strangers::LetIn).unwrap();
    assert!(
        shake(
            joining_config(scene.authority.pin()).unwrap(),
            door,
            &Member::Coordinator
        )
        .is_err()
    );
}

#[test]
fn while_the_authority_is_replaced_old_and_new_certificates_and_tokens_work() {
    let scene = Scene::new();
    let next = scene.authority.bridge_to(authority(5), now()).unwrap();
    let next = Authority::from_record(&next.to_record()).unwrap();
    let both = live(&list(&[&scene.authority, &next], &scene.members()));
    let renewed = next
        .issue(&Member::Coordinator, &scene.coordinator.public(), now())
        .unwrap();
    let door = || {
        server_config(
            identity(&scene.coordinator, renewed.clone()),
            Arc::clone(&both),
            Strangers::LetIn,
        )
        .unwrap()
    };
    shake(
        scene.dial(scene.paris_chain(now()), &both),
        door(),
        &Member::Coordinator,
    )
    .unwrap();
    // A host that has not heard of the new root yet gets over the bridge.
    shake(
        scene.dial(scene.paris_chain(now()), &scene.trust()),
        door(),
        &Member::Coordinator,
    )
    .unwrap();
    for pin in [scene.authority.pin(), next.pin()] {
        shake(joining_config(pin).unwrap(), door(), &Member::Coordinator).unwrap();
    }
    let only_new = live(&list(&[&next], &scene.members()));
    let new_door = server_config(
        identity(&scene.coordinator, renewed.clone()),
        only_new,
        Strangers::LetIn,
    )
    .unwrap();
    assert!(
        shake(
            scene.dial(scene.paris_chain(now()), &both),
            new_door,
            &Member::Coordinator
        )
        .is_err()
    );
}

#[test]
fn a_renewed_certificate_is_shown_from_the_next_handshake_on() {
    let scene = Scene::new();
    let trust = scene.trust();
    let live = identity(&scene.paris, scene.paris_chain(now() - DAY * 30));
    let dial = client_config(Arc::clone(&live), Arc::clone(&trust)).unwrap();
    let door = scene.door(&trust, Strangers::Refused);
    let (_, server) = shake(dial.clone(), door.clone(), &Member::Coordinator).unwrap();
    assert_eq!(peer(&server).standing, Standing::Expired);
    live.replace(Identity::new(&scene.paris, scene.paris_chain(now())).unwrap());
    let (_, server) = shake(dial, door, &Member::Coordinator).unwrap();
    assert_eq!(peer(&server).standing, Standing::Valid);
}

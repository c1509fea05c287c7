use std::collections::BTreeMap;
use std::future::ready;

use hayloft_api::agent::{AdminAddress, DataState, DiskReport, HostReport};
use hayloft_api::document::Role;
use hayloft_api::{Bytes, NodeId};
use hayloft_pki::{Chain, Pin};
use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::*;
use crate::AgentLink;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn now() -> Timestamp {
    "2026-03-04T05:06:07Z".parse().unwrap()
}

const DOCUMENT: &str = "
apiVersion: hayloft.dev/v1alpha1
kind: CacheCluster
metadata: { name: commons }
spec:
  garage: { replicationFactor: 3 }
  hosts:
    - { name: paris-1, zone: paris, roles: [storage, gateway], pledge: 1Ti, address: paris-1.example.org }
    - { name: lille-1, zone: lille, roles: [storage], pledge: 1Ti }
    - { name: brest-1, zone: brest, roles: [storage], pledge: 1Ti }
  admission: { maxPledge: 2Ti, zones: [paris, lyon, lille, brest] }
";

struct Scene {
    dir: tempfile::TempDir,
    admissions: Admissions,
    document: watch::Sender<Document>,
    links: watch::Sender<Links>,
    /// The agents' ends of their links.
    agents: BTreeMap<HostName, watch::Sender<HostReport>>,
}

async fn open(
    dir: &tempfile::TempDir,
    document: &watch::Sender<Document>,
    links: &watch::Sender<Links>,
) -> Admissions {
    Admissions::open(AdmissionConfig {
        store: Store::open(&dir.path().join("store.sqlite"), [1; 32])
            .await
            .unwrap(),
        document: document.subscribe(),
        links: links.subscribe(),
        seed: [2; 32],
        now: now(),
    })
    .await
    .unwrap()
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let document = watch::channel(Document::from_yaml(DOCUMENT).unwrap()).0;
        let links = watch::channel(Links::new()).0;
        Self {
            admissions: open(&dir, &document, &links).await,
            dir,
            document,
            links,
            agents: BTreeMap::new(),
        }
    }

    async fn token(&self, limits: TokenLimits) -> JoinToken {
        let addresses = vec!["cache.example.org:3900".to_owned()];
        let (_, text) = self
            .admissions
            .create_token(addresses, &limits, now())
            .await
            .unwrap();
        text.expose().parse().unwrap()
    }

    async fn join(&self, ask: &JoinAsk) -> JoinAnswer {
        let dial = |names: Vec<HostName>| ready(names.iter().map(|name| reached(name.as_str())).collect());
        self.admissions.join(ask, now(), dial).await.unwrap()
    }

    /// The agent of a host dials in.
    fn connect(&mut self, name: &str, id: u8) {
        let name: HostName = name.parse().unwrap();
        let (sender, report) = watch::channel(report(&name, id));
        self.links.send_modify(|links| {
            let link = AgentLink {
                desired: watch::channel(None).0,
                report,
                questions: mpsc::channel(1).0,
            };
            links.insert(name.clone(), link);
        });
        self.agents.insert(name, sender);
    }
}

fn report(name: &HostName, id: u8) -> HostReport {
    HostReport {
        host: name.clone(),
        seq: 1,
        generation: None,
        garage_id: NodeId::from_public_key([id; 32]),
        garage_version: None,
        garage_waiting: None,
        rpc_addr: String::new(),
        s3_addr: String::new(),
        admin: AdminAddress::Url(String::new()),
        gateway_addr: None,
        link_addr: None,
        units: Vec::new(),
        disk: None,
        layout: None,
        data: DataState::Fresh,
        blocks: None,
        promise: None,
        rolled_back: None,
        clock: now(),
    }
}

fn reached(name: &str) -> Dialled {
    Dialled {
        member: name.parse().unwrap(),
        address: "203.0.113.9:3901".into(),
        failed: None,
    }
}

fn limits(uses: u32) -> TokenLimits {
    TokenLimits {
        uses,
        expires: now() + DAY,
        roles: vec![Role::Storage, Role::Gateway],
        zone: None,
        max_pledge: None,
        name: None,
    }
}

fn facts(name: &str, id: u8) -> JoinFacts {
    JoinFacts {
        name: name.parse().unwrap(),
        owner: None,
        zone: "lyon".parse().unwrap(),
        roles: vec![Role::Storage],
        pledge: Some(Bytes::gib(100)),
        uplink: None,
        disk: DiskReport {
            data_available: 200 << 30,
            data_total: 300 << 30,
        },
        held: 0,
        garage_id: NodeId::from_public_key([id; 32]),
        garage_version: Some("2.5.0".into()),
        replication_factor: None,
        address: format!("{name}.example.org:3902"),
        rpc_address: format!("{name}.example.org:3901"),
        clock: now(),
        dialled: Vec::new(),
    }
}

/// The host with this name and number asks with this token.
fn ask(token: &JoinToken, name: &str, id: u8) -> JoinAsk {
    JoinAsk {
        token: token.id,
        secret: token.secret(),
        request: CertificateRequest::write(&key(id)).unwrap(),
        facts: facts(name, id),
    }
}

fn key(id: u8) -> Keypair {
    Keypair::from_seed(&[id; 32]).unwrap()
}

fn welcome(answer: JoinAnswer) -> Welcome {
    match answer {
        JoinAnswer::Welcome(welcome) => *welcome,
        other => panic!("{other:?}"),
    }
}

fn refusals(answer: JoinAnswer) -> Vec<JoinRefusal> {
    match answer {
        JoinAnswer::Refused { refusals } => refusals,
        other => panic!("{other:?}"),
    }
}

fn checks(answer: JoinAnswer) -> Vec<Check> {
    refusals(answer).iter().map(|refusal| refusal.check).collect()
}

#[tokio::test]
async fn a_host_with_a_good_token_gets_a_certificate_of_its_key_and_the_list() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let welcome = welcome(scene.join(&ask(&token, "lyon-1", 7)).await);
    assert_eq!(welcome.member, Member::Host("lyon-1".parse().unwrap()));
    let chain = Chain::from_pem(&welcome.chain).unwrap();
    assert_eq!(chain.facts().unwrap().key, key(7).public());
    assert!(Identity::new(&key(7), chain).is_ok());
    assert_eq!(
        scene.admissions.trust().peer(&key(7).public()),
        Some(welcome.member)
    );
    assert_eq!(*scene.admissions.list().borrow(), welcome.trust);
}

#[tokio::test]
async fn twenty_hosts_that_race_for_three_uses_get_three() {
    let scene = Scene::new().await;
    let token = scene.token(limits(3)).await;
    let asks: Vec<_> = (1..=20).map(|n| ask(&token, &format!("h-{n}"), n)).collect();
    let answers = futures::future::join_all(asks.iter().map(|ask| {
        let dial = |names: Vec<HostName>| ready(names.iter().map(|name| reached(name.as_str())).collect());
        scene.admissions.join(ask, now(), dial)
    }))
    .await;
    let mut welcomed = 0;
    for answer in answers {
        match answer.unwrap() {
            JoinAnswer::Welcome(_) => welcomed += 1,
            other => assert_eq!(checks(other), [Check::Token]),
        }
    }
    assert_eq!(welcomed, 3);
    let tokens = scene.admissions.tokens().await.unwrap();
    assert_eq!((tokens[0].used, tokens[0].hosts.len()), (3, 3));
}

#[tokio::test]
async fn two_stores_on_one_file_spend_no_use_twice() {
    let scene = Scene::new().await;
    let other = open(&scene.dir, &scene.document, &scene.links).await;
    let token = scene.token(limits(3)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 1..=20 {
        let store = if n % 2 == 0 {
            scene.admissions.store.clone()
        } else {
            other.store.clone()
        };
        let (id, facts) = (token.id, facts(&format!("h-{n}"), n));
        tasks.spawn(async move {
            store
                .spend(id, key(n).public(), &facts, Standing::In, false, now())
                .await
                .unwrap()
        });
    }
    let spent = tasks.join_all().await;
    assert_eq!(spent.iter().filter(|spent| **spent == Spent::Now).count(), 3);
}

#[tokio::test]
async fn a_join_is_repeated_with_the_same_key_without_spending_the_token_twice() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let ask_one = ask(&token, "lyon-1", 7);
    for _ in 0..3 {
        welcome(scene.join(&ask_one).await);
    }
    // Also by a coordinator that was started again, after the token has expired, and with facts that have changed.
    let again = open(&scene.dir, &scene.document, &scene.links).await;
    let mut later = ask_one;
    later.facts.disk.data_available = 0;
    let answer = again
        .join(&later, now() + DAY * 2, |_| ready(Vec::new()))
        .await
        .unwrap();
    welcome(answer);
    assert_eq!(again.tokens().await.unwrap()[0].used, 1);
    assert_eq!(
        checks(scene.join(&ask(&token, "lyon-2", 8)).await),
        [Check::Token]
    );
}

#[tokio::test]
async fn a_host_that_joined_does_not_become_another_with_the_same_key() {
    let scene = Scene::new().await;
    let token = scene.token(limits(2)).await;
    welcome(scene.join(&ask(&token, "lyon-1", 7)).await);
    assert_eq!(
        checks(scene.join(&ask(&token, "lyon-2", 7)).await),
        [Check::Duplicate]
    );
    let second = scene.token(limits(1)).await;
    assert_eq!(
        checks(scene.join(&ask(&second, "lyon-1", 7)).await),
        [Check::Duplicate]
    );
    assert_eq!(
        scene
            .admissions
            .tokens()
            .await
            .unwrap()
            .iter()
            .map(|token| token.used)
            .sum::<u32>(),
        1
    );
}

#[tokio::test]
async fn wrong_expired_and_revoked_tokens_are_refused_each_with_what_to_do() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let mut guessed = ask(&token, "lyon-1", 7);
    guessed.secret = Secret::new("00".repeat(32));
    let wrong_secret = refusals(scene.join(&guessed).await);
    guessed.token = TokenId::from_bytes([9; 8]);
    assert_eq!(
        refusals(scene.join(&guessed).await),
        wrong_secret,
        "which part was wrong is not told"
    );
    let late = scene
        .admissions
        .join(&ask(&token, "lyon-1", 7), now() + DAY, |_| ready(Vec::new()))
        .await
        .unwrap();
    let late = refusals(late);
    scene.admissions.revoke_token(token.id, now()).await.unwrap();
    let revoked = refusals(scene.join(&ask(&token, "lyon-1", 7)).await);
    let mut forged = ask(&token, "lyon-1", 7);
    forged.request = "hello".into();
    let forged = refusals(scene.join(&forged).await);
    let said: Vec<_> = [wrong_secret, late, revoked, forged]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(said.join("\n"));
    assert!(scene.admissions.hosts().await.unwrap().is_empty());
    let none = scene
        .admissions
        .revoke_token(TokenId::from_bytes([9; 8]), now())
        .await;
    assert!(matches!(none, Err(AdmissionError::NoToken(_))));
}

#[tokio::test]
async fn the_store_holds_no_secret_of_a_token() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let ask = ask(&token, "lyon-1", 7);
    welcome(scene.join(&ask).await);
    scene.admissions.store.close().await;
    let secret = token.secret();
    for entry in std::fs::read_dir(scene.dir.path()).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        let raw = hex::decode(secret.expose()).unwrap();
        assert!(!content.windows(raw.len()).any(|window| window == raw));
        let text = secret.expose().as_bytes();
        assert!(!content.windows(text.len()).any(|window| window == text));
    }
    assert!(!format!("{ask:?}").contains(secret.expose()));
}

#[tokio::test]
async fn a_token_without_use_for_anybody_is_not_made() {
    let scene = Scene::new().await;
    let addresses = || vec!["cache.example.org:3900".to_owned()];
    let named = TokenLimits {
        name: Some("paris-1".parse().unwrap()),
        ..limits(2)
    };
    let expired = TokenLimits {
        expires: now(),
        ..limits(1)
    };
    let idle = TokenLimits {
        roles: vec![],
        ..limits(1)
    };
    for bad in [limits(0), expired, idle, named] {
        let made = scene.admissions.create_token(addresses(), &bad, now()).await;
        assert!(matches!(made, Err(AdmissionError::Limits(_))), "{bad:?}");
    }
    let nowhere = scene.admissions.create_token(vec![], &limits(1), now()).await;
    assert!(matches!(nowhere, Err(AdmissionError::Token(_))));
}

#[tokio::test]
async fn where_the_document_says_so_a_person_approves() {
    let scene = Scene::new().await;
    scene
        .document
        .send_modify(|document| document.spec.admission.approval = Approval::Manual);
    let token = scene.token(limits(2)).await;
    let asked = ask(&token, "lyon-1", 7);
    for _ in 0..2 {
        let JoinAnswer::Wait { why } = scene.join(&asked).await else {
            panic!("it was let in");
        };
        assert!(why.contains(&key(7).public().to_string()), "{why}");
    }
    assert_eq!(scene.admissions.trust().peer(&key(7).public()), None);
    let name = "lyon-1".parse().unwrap();
    scene.admissions.approve(&name, now()).await.unwrap();
    welcome(scene.join(&asked).await);
    assert_eq!(scene.admissions.tokens().await.unwrap()[0].used, 1);
    assert!(scene.admissions.approve(&name, now()).await.is_err());
    let JoinAnswer::Wait { .. } = scene.join(&ask(&token, "lyon-2", 8)).await else {
        panic!("it was let in");
    };
    scene
        .admissions
        .put_out(&"lyon-2".parse().unwrap(), now())
        .await
        .unwrap();
    assert_eq!(
        checks(scene.join(&ask(&token, "lyon-2", 8)).await),
        [Check::Person]
    );
}

#[tokio::test]
async fn one_who_was_put_out_is_off_the_list_at_once_and_for_ever() {
    let scene = Scene::new().await;
    let token = scene.token(limits(2)).await;
    let asked = ask(&token, "lyon-1", 7);
    welcome(scene.join(&asked).await);
    let mut list = scene.admissions.list();
    list.mark_unchanged();
    scene
        .admissions
        .put_out(&"lyon-1".parse().unwrap(), now())
        .await
        .unwrap();
    assert!(list.has_changed().unwrap());
    let public = key(7).public();
    assert_eq!(scene.admissions.trust().peer(&public), None);
    let request = RenewAsk {
        request: asked.request.clone(),
    };
    let renewed = scene.admissions.renew(public, &request, now()).await;
    assert!(matches!(renewed, Err(AdmissionError::Stranger)));
    assert_eq!(checks(scene.join(&asked).await), [Check::Person]);
    let again = open(&scene.dir, &scene.document, &scene.links).await;
    assert_eq!(again.trust().peer(&public), None);
    // The name is free for another key.
    welcome(scene.join(&ask(&token, "lyon-1", 8)).await);
}

#[tokio::test]
async fn a_member_renews_its_own_key_only_and_whatever_the_clock_says_of_the_old_certificate() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let asked = ask(&token, "lyon-1", 7);
    welcome(scene.join(&asked).await);
    let month_later = now() + DAY * 30;
    let request = RenewAsk {
        request: asked.request,
    };
    let chain = scene
        .admissions
        .renew(key(7).public(), &request, month_later)
        .await
        .unwrap();
    assert!(Chain::from_pem(&chain).unwrap().facts().unwrap().not_after > month_later + DAY);
    let other = RenewAsk {
        request: CertificateRequest::write(&key(8)).unwrap(),
    };
    let stolen = scene.admissions.renew(key(7).public(), &other, now()).await;
    assert!(matches!(stolen, Err(AdmissionError::Stranger)));
}

#[tokio::test]
async fn members_and_the_joiner_must_reach_each_other() {
    let mut scene = Scene::new().await;
    let token = scene.token(limits(9)).await;
    welcome(scene.join(&ask(&token, "lyon-1", 7)).await);
    scene.connect("lyon-1", 7);
    let mut asked = ask(&token, "lyon-2", 8);
    let JoinAnswer::Dial { members } = scene.join(&asked).await else {
        panic!("it was not asked to dial");
    };
    assert_eq!(
        members,
        [("lyon-1".parse().unwrap(), "lyon-1.example.org:3902".to_owned())]
    );
    assert_eq!(
        scene.admissions.tokens().await.unwrap()[0].used,
        1,
        "nothing is spent before"
    );
    asked.facts.dialled = vec![Dialled {
        failed: Some("connection refused".into()),
        ..reached("lyon-1")
    }];
    let outward = refusals(scene.join(&asked).await);
    asked.facts.dialled = vec![reached("lyon-1")];
    let dial = |names: Vec<HostName>| {
        let failed = |name: &HostName| Dialled {
            failed: Some("it did not answer within 5 s".into()),
            ..reached(name.as_str())
        };
        ready(names.iter().map(failed).collect())
    };
    let inward = refusals(scene.admissions.join(&asked, now(), dial).await.unwrap());
    let nobody = scene
        .admissions
        .join(&asked, now(), |_| ready(Vec::new()))
        .await
        .unwrap();
    let said: Vec<_> = [outward, inward, refusals(nobody)]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect();
    insta::assert_snapshot!(said.join("\n"));
    welcome(scene.join(&asked).await);
}

#[tokio::test]
async fn a_declared_host_that_is_down_is_replaced_by_one_with_a_token_for_its_name() {
    let mut scene = Scene::new().await;
    let named = || TokenLimits {
        name: Some("paris-1".parse().unwrap()),
        ..limits(1)
    };
    let declared = |token: &JoinToken, id| {
        let mut asked = ask(token, "paris-1", id);
        asked.facts.zone = "paris".parse().unwrap();
        asked
    };
    let first = scene.token(named()).await;
    welcome(scene.join(&declared(&first, 7)).await);
    scene.connect("paris-1", 7);
    let second = scene.token(named()).await;
    assert_eq!(
        checks(scene.join(&declared(&second, 8)).await),
        [Check::Duplicate]
    );
    scene.agents.clear();
    welcome(scene.join(&declared(&second, 8)).await);
    let trust = scene.admissions.trust();
    assert_eq!(trust.peer(&key(7).public()), None);
    assert_eq!(
        trust.peer(&key(8).public()),
        Some(Member::Host("paris-1".parse().unwrap()))
    );
}

#[tokio::test]
async fn the_authority_is_replaced_without_shutting_anybody_out() {
    let scene = Scene::new().await;
    let token = scene.token(limits(2)).await;
    let asked = ask(&token, "lyon-1", 7);
    let before = welcome(scene.join(&asked).await);
    assert!(matches!(
        scene.admissions.finish_rotation(now()).await,
        Err(RotationError::NotUnderWay)
    ));
    let later = now() + MINUTE;
    scene.admissions.begin_rotation(later).await.unwrap();
    assert!(matches!(
        scene.admissions.begin_rotation(later).await,
        Err(RotationError::UnderWay)
    ));
    let roots = scene.admissions.list().borrow().roots.clone();
    assert_eq!(roots.len(), 2);
    assert!(roots.contains(&before.trust.roots[0]));
    let refused = scene.admissions.finish_rotation(later).await.unwrap_err();
    assert!(refused.to_string().starts_with("lyon-1 still show"), "{refused}");
    // A coordinator that starts anew goes on with it.
    let again = open(&scene.dir, &scene.document, &scene.links).await;
    let request = RenewAsk {
        request: asked.request,
    };
    let chain = again.renew(key(7).public(), &request, later).await.unwrap();
    assert!(Pin::of(&key(7).public()) != token.pin && chain.contains("CERTIFICATE"));
    again.finish_rotation(later).await.unwrap();
    let list = again.list().borrow().clone();
    assert_eq!(list.roots.len(), 1);
    assert_ne!(list.roots[0], before.trust.roots[0]);
    assert_eq!(
        again.trust().peer(&key(7).public()),
        Some(Member::Host("lyon-1".parse().unwrap()))
    );
    assert!(again.tokens().await.unwrap()[0].revoked.is_some());
}

#[tokio::test]
async fn a_coordinator_that_runs_for_years_goes_on_giving_certificates_of_a_whole_week() {
    let scene = Scene::new().await;
    let token = scene.token(limits(1)).await;
    let asked = ask(&token, "lyon-1", 7);
    let before = welcome(scene.join(&asked).await);
    let request = RenewAsk {
        request: asked.request,
    };
    for years in 1..=5 {
        let later = now() + DAY * 365 * years;
        let renewed = scene.admissions.renew(key(7).public(), &request, later).await;
        let facts = Chain::from_pem(&renewed.unwrap()).unwrap().facts().unwrap();
        assert_eq!(
            facts.not_after.duration_since(later),
            DAY * 7,
            "after {years} years"
        );
    }
    assert_eq!(scene.admissions.list().borrow().roots, before.trust.roots);
}

#[tokio::test]
async fn hosts_that_joined_undeclared_are_in_the_document_that_is_followed() {
    let scene = Scene::new().await;
    let token = scene.token(limits(2)).await;
    welcome(scene.join(&ask(&token, "lyon-1", 7)).await);
    welcome(scene.join(&ask(&token, "lyon-2", 8)).await);
    scene
        .admissions
        .put_out(&"lyon-2".parse().unwrap(), now())
        .await
        .unwrap();
    let until: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    let admissions = &scene.admissions;
    let away = |name: &str, until| {
        let name: HostName = name.parse().unwrap();
        async move { admissions.expect_away(&name, until).await }
    };
    away("lyon-1", Some(until)).await.unwrap();
    assert!(away("lyon-2", Some(until)).await.is_err(), "it was put out");
    let hosts = scene.admissions.hosts().await.unwrap();
    let document = with_admitted(&scene.document.borrow(), &hosts);
    let names: Vec<_> = document
        .spec
        .hosts
        .iter()
        .map(|host| host.name.as_str())
        .collect();
    assert_eq!(names, ["paris-1", "lille-1", "brest-1", "lyon-1"]);
    let joined = &document.spec.hosts[3];
    assert_eq!(joined.address.as_deref(), Some("lyon-1.example.org"));
    assert_eq!(joined.pledge, Some(Bytes::gib(100)));
    assert_eq!(joined.away.as_ref().map(|away| away.until), Some(until));
    away("lyon-1", None).await.unwrap();
    let back = with_admitted(&document, &scene.admissions.hosts().await.unwrap());
    assert_eq!(back.spec.hosts[3].away, joined.away, "what is declared wins");
    let hosts = scene.admissions.hosts().await.unwrap();
    assert_eq!(
        with_admitted(&scene.document.borrow(), &hosts).spec.hosts[3].away,
        None
    );
    Document::from_yaml(&document.to_yaml().unwrap()).unwrap();
}

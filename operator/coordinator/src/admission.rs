//! Who belongs: join tokens, the judge of those who ask, certificates, and the list that every door trusts.
//!
//! A host is let in once for its key: whoever asks again with the same key gets the same answer, so a join that was cut off
//! anywhere is repeated, and its token is spent once. Being let in gives a certificate and the list of who belongs, nothing
//! else: every secret comes later, over a link that only the key's owner can open.

mod address;
mod declared;
mod judge;
mod rotation;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};

use hayloft_api::document::Approval;
use hayloft_api::join::{
    Admission as Standing, Admitted, Check, Dialled, HostKey, JoinAnswer, JoinAsk, JoinFacts, JoinRefusal,
    ListedMember, Member, RenewAsk, TokenId, TokenLimits, TokenSummary, TrustList, Welcome,
};
use hayloft_api::{Document, HostName, Secret};
use hayloft_pki::{
    Authority, AuthorityError, CertificateRequest, Identity, JoinToken, KeyError, Keypair, LiveTrust,
    RequestError, TlsError, TokenError, Trust, TrustError, is_secret_of,
};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use crate::coordinator::Links;
use crate::store::{KeptAuthority, Spent, Store, StoreError};
use judge::{Known, Ours};

pub use declared::with_admitted;
pub use rotation::{AuthorityState, RotationError};
pub use routes::routes;

/// The authority's place in the store.
const AUTHORITY: &str = "authority";
/// The place of the coordinator's own key.
const OWN_KEY: &str = "coordinator-key";

/// Why admission failed: not a refusal, which is an answer.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The store.
    #[error("the coordinator's store failed")]
    Store(#[from] StoreError),
    /// The authority.
    #[error("the cluster's certificate authority cannot be used")]
    Authority(#[from] AuthorityError),
    /// A key.
    #[error("the coordinator's own key cannot be used")]
    Key(#[from] KeyError),
    /// The list.
    #[error("the list of trusted keys cannot be made")]
    Trust(#[from] TrustError),
    /// TLS.
    #[error("the coordinator's own certificate cannot be used")]
    Tls(#[from] TlsError),
    /// A token that cannot be.
    #[error("the join token cannot be made")]
    Token(#[from] TokenError),
    /// Limits that let nobody in.
    #[error("{0}")]
    Limits(&'static str),
    /// A request for a certificate.
    #[error("the certificate cannot be renewed")]
    Request(#[from] RequestError),
    /// One who does not belong asks to renew.
    #[error("this key does not belong to the cluster (any more): join again with a new token")]
    Stranger,
    /// No such host.
    #[error("no host {name} {how}; `hayloft host list` shows who asked to join")]
    NoHost {
        /// The name.
        name: HostName,
        /// How it should stand.
        how: &'static str,
    },
    /// No such token.
    #[error("there is no join token {0}; `hayloft token list` shows all")]
    NoToken(TokenId),
}

/// What admission needs.
pub struct AdmissionConfig {
    /// The coordinator's store.
    pub store: Store,
    /// The document in force.
    pub document: watch::Receiver<Document>,
    /// The agents that are connected.
    pub links: watch::Receiver<Links>,
    /// 32 bytes of true randomness, other ones at each start.
    pub seed: [u8; 32],
    /// Now.
    pub now: Timestamp,
}

/// Decides who belongs.
pub struct Admissions {
    store: Store,
    document: watch::Receiver<Document>,
    links: watch::Receiver<Links>,
    authority: RwLock<Arc<Signers>>,
    key: Keypair,
    random: std::sync::Mutex<StdRng>,
    trust: Arc<LiveTrust>,
    list: watch::Sender<TrustList>,
    /// Held while the list is read from the store and put in force, so that an older one never overtakes a newer one.
    listing: tokio::sync::Mutex<()>,
    /// Held while the authority is changed by what it was, so that no change is lost.
    rotating: tokio::sync::Mutex<()>,
}

/// The authority that signs, and the roots of those before it.
struct Signers {
    current: Authority,
    former: Vec<String>,
    since: Timestamp,
}

impl Signers {
    fn from_kept(kept: KeptAuthority) -> Result<Self, AuthorityError> {
        Ok(Self {
            current: Authority::from_record(&kept.current)?,
            former: kept.former,
            since: kept.since,
        })
    }

    fn roots(&self) -> Vec<String> {
        let mut roots = vec![self.current.root_pem()];
        roots.extend(self.former.iter().cloned());
        roots
    }
}

impl Admissions {
    /// Opens what is kept; makes the authority and the coordinator's key when there are none yet.
    ///
    /// # Errors
    /// When the store fails, or what is kept is damaged.
    pub async fn open(config: AdmissionConfig) -> Result<Self, AdmissionError> {
        let AdmissionConfig {
            store,
            document,
            links,
            seed,
            now,
        } = config;
        let mut random = StdRng::from_seed(seed);
        let cluster = document.borrow().metadata.name.clone();
        let signers = match kept_authority(&store).await? {
            Some(kept) => Signers::from_kept(kept)?,
            None => Signers {
                current: Authority::create(cluster, &bytes(&mut random), &bytes(&mut random), now)?,
                former: Vec::new(),
                since: now,
            },
        };
        keep_authority(&store, &signers).await?;
        let key = match store.own_secret(OWN_KEY).await? {
            Some(pem) => Keypair::from_pem(&Secret::new(pem))?,
            None => {
                let key = Keypair::from_seed(&bytes(&mut random))?;
                store.put_own_secret(OWN_KEY, key.to_pem().expose()).await?;
                key
            }
        };
        let list = list_of(&store, &signers, &key).await?;
        let admissions = Self {
            store,
            document,
            links,
            authority: RwLock::new(Arc::new(signers)),
            key,
            random: std::sync::Mutex::new(random),
            trust: LiveTrust::new(Trust::new(&list)?),
            list: watch::channel(list).0,
            listing: tokio::sync::Mutex::new(()),
            rotating: tokio::sync::Mutex::new(()),
        };
        admissions.renew_intermediate(now).await?;
        Ok(admissions)
    }

    /// Whom the coordinator's door trusts; follows every change by itself.
    pub fn trust(&self) -> Arc<LiveTrust> {
        self.trust.clone()
    }

    /// The same list, for the agents.
    pub fn list(&self) -> watch::Receiver<TrustList> {
        self.list.subscribe()
    }

    /// The coordinator's own identity, newly signed.
    ///
    /// # Errors
    /// When the clock is unusable.
    pub fn own_identity(&self, now: Timestamp) -> Result<Identity, AdmissionError> {
        let chain = self
            .signers()
            .current
            .issue(&Member::Coordinator, &self.key.public(), now)?;
        Ok(Identity::new(&self.key, chain)?)
    }

    /// Makes a token. `addresses` are where the coordinator's door is to be found. The token is told now and never again:
    /// only a hash of its secret is kept.
    ///
    /// # Errors
    /// When the limits let nobody in, no address is given, or the store fails.
    pub async fn create_token(
        &self,
        addresses: Vec<String>,
        limits: &TokenLimits,
        now: Timestamp,
    ) -> Result<(TokenId, Secret), AdmissionError> {
        if limits.uses == 0 {
            return Err(AdmissionError::Limits("a join token needs at least one use"));
        }
        if limits.expires <= now {
            return Err(AdmissionError::Limits(
                "a join token that expires at once lets nobody in",
            ));
        }
        if limits.roles.is_empty() {
            return Err(AdmissionError::Limits("a join token needs at least one role"));
        }
        if limits.name.is_some() && limits.uses > 1 {
            return Err(AdmissionError::Limits(
                "a join token for one named host has one use",
            ));
        }
        let (id, secret) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            let mut id = [0; 8];
            random.fill_bytes(&mut id);
            (TokenId::from_bytes(id), bytes(&mut random))
        };
        let signers = self.signers();
        let cluster = signers.current.cluster().clone();
        let token = JoinToken::new(cluster, addresses, signers.current.pin(), id, &secret)?;
        self.store.put_token(id, &token.hash(), limits, now).await?;
        Ok((id, token.to_text()))
    }

    /// All tokens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tokens(&self) -> Result<Vec<TokenSummary>, AdmissionError> {
        let tokens = self.store.tokens().await?;
        Ok(tokens.into_iter().map(|token| token.summary).collect())
    }

    /// Revokes a token. Hosts that it let in stay.
    ///
    /// # Errors
    /// When there is no such token, or the store fails.
    pub async fn revoke_token(&self, id: TokenId, now: Timestamp) -> Result<(), AdmissionError> {
        if self.store.revoke_token(id, now).await? {
            Ok(())
        } else {
            Err(AdmissionError::NoToken(id))
        }
    }

    /// All hosts that were let in, wait, or were put out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn hosts(&self) -> Result<Vec<Admitted>, AdmissionError> {
        let admitted = self.store.admitted().await?;
        Ok(admitted.into_iter().map(|(host, _)| host).collect())
    }

    /// Lets a host in that waits for a person's word.
    ///
    /// # Errors
    /// When none with that name waits, or the store fails.
    pub async fn approve(&self, name: &HostName, now: Timestamp) -> Result<(), AdmissionError> {
        self.shift(
            name,
            &[Standing::Waiting],
            Standing::In,
            "waits for approval",
            now,
        )
        .await
    }

    /// Takes a host off the list, or refuses one that waits. At every door that has heard of it, its next request is refused.
    /// It never comes back with the same key.
    ///
    /// # Errors
    /// When no host with that name belongs or waits, or the store fails.
    pub async fn put_out(&self, name: &HostName, now: Timestamp) -> Result<(), AdmissionError> {
        let from = [Standing::Waiting, Standing::In, Standing::Leaving];
        self.shift(name, &from, Standing::Out, "belongs or waits", now)
            .await
    }

    /// Lets a host give its data away, after which it is to be put out; or takes that back.
    ///
    /// # Errors
    /// When no such host belongs, or the store fails.
    pub async fn let_leave(
        &self,
        name: &HostName,
        leaves: bool,
        now: Timestamp,
    ) -> Result<(), AdmissionError> {
        let (from, to) = if leaves {
            (Standing::In, Standing::Leaving)
        } else {
            (Standing::Leaving, Standing::In)
        };
        self.shift(name, &[from], to, "stays or leaves", now).await
    }

    /// Notes until when a host is expected to be away; `None`: it is back.
    ///
    /// # Errors
    /// When no such host belongs, or the store fails.
    pub async fn expect_away(&self, name: &HostName, until: Option<Timestamp>) -> Result<(), AdmissionError> {
        if self.store.put_away(name, until).await? {
            return Ok(());
        }
        let name = name.clone();
        Err(AdmissionError::NoHost { name, how: "belongs" })
    }

    /// Takes over where hosts that are connected say that they are reached now. Gives those that moved, with their new doors.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow_addresses(&self, links: &Links) -> Result<Vec<(HostName, String)>, AdmissionError> {
        let said: BTreeMap<HostName, (String, String)> = links
            .iter()
            .filter_map(|(name, link)| {
                let report = link.report.borrow();
                let (_, door) = report.s3_addr.split_once('@')?;
                Some((name.clone(), (door.to_owned(), report.rpc_addr.clone())))
            })
            .collect();
        let stays = {
            let list = self.list.borrow();
            let listed = |listed: &ListedMember| match &listed.member {
                Member::Host(name) => said
                    .get(name)
                    .is_none_or(|(door, _)| listed.door.as_ref() == Some(door)),
                Member::Coordinator => true,
            };
            list.members.iter().all(listed)
        };
        if stays {
            return Ok(Vec::new());
        }
        let mut moved = Vec::new();
        for host in self
            .hosts()
            .await?
            .into_iter()
            .filter(|host| host.standing.belongs())
        {
            let Some((door, rpc)) = said.get(&host.facts.name) else {
                continue;
            };
            if host.facts.address == *door {
                continue;
            }
            let facts = JoinFacts {
                address: door.clone(),
                rpc_address: rpc.clone(),
                ..host.facts
            };
            self.store.put_admitted_facts(host.key, &facts).await?;
            moved.push((facts.name, facts.address));
        }
        self.relist().await?;
        Ok(moved)
    }

    async fn shift(
        &self,
        name: &HostName,
        from: &[Standing],
        to: Standing,
        how: &'static str,
        now: Timestamp,
    ) -> Result<(), AdmissionError> {
        if !self.store.move_admitted(name, from, to, now).await? {
            let name = name.clone();
            return Err(AdmissionError::NoHost { name, how });
        }
        self.relist().await
    }

    /// Answers one who asks to join. `dial` lets the members with these names dial the joiner; what came of it is judged, and
    /// it is called only for one whose token is good.
    ///
    /// # Errors
    /// When the store fails. A refusal is an answer.
    pub async fn join<F, R>(
        &self,
        ask: &JoinAsk,
        now: Timestamp,
        dial: F,
    ) -> Result<JoinAnswer, AdmissionError>
    where
        F: FnOnce(Vec<HostName>) -> R,
        R: Future<Output = Vec<Dialled>>,
    {
        let refused = |refusals| Ok(JoinAnswer::Refused { refusals });
        let Ok(CertificateRequest { key }) = CertificateRequest::read(&ask.request) else {
            return refused(vec![bad_proof()]);
        };
        let token = self.store.token(ask.token).await?;
        let Some(token) = token.filter(|token| is_secret_of(&ask.secret, &token.hash)) else {
            return refused(vec![unknown_token()]);
        };
        if let Some(known) = self.store.admitted_key(key).await? {
            return self.answer_known(&known, ask, now).await;
        }
        if let Some(refusal) = spent(&token.summary, now) {
            return refused(vec![refusal]);
        }
        let members = self.known().await?;
        let document = self.document.borrow().clone();
        let ours = Ours {
            now,
            document: &document,
            members: &members,
        };
        let refusals = judge::before_dialling(key, &ask.facts, &token.summary.limits, ours);
        if !refusals.is_empty() {
            return refused(refusals);
        }
        let tried = ours.who_tries(key);
        let missing =
            |(name, _): &(HostName, String)| !ask.facts.dialled.iter().any(|dialled| dialled.member == *name);
        if tried.iter().any(missing) {
            return Ok(JoinAnswer::Dial { members: tried });
        }
        let inward = if tried.is_empty() {
            Vec::new()
        } else {
            dial(tried.iter().map(|(name, _)| name.clone()).collect()).await
        };
        let refusals = judge::reach(&tried, &ask.facts, &inward);
        if !refusals.is_empty() {
            return refused(refusals);
        }
        let standing = match document.spec.admission.approval {
            Approval::Automatic => Standing::In,
            Approval::Manual => Standing::Waiting,
        };
        let replaces = ours.replaces(key, &ask.facts);
        let spent_now = self
            .store
            .spend(ask.token, key, &ask.facts, standing, replaces, now)
            .await?;
        match spent_now {
            Spent::Now | Spent::Before => {}
            Spent::None => return refused(vec![used_up()]),
            Spent::NameTaken => return refused(vec![name_taken(&ask.facts)]),
        }
        self.relist().await?;
        match self.store.admitted_key(key).await? {
            Some(known) => self.answer_known(&known, ask, now).await,
            None => refused(vec![unknown_token()]),
        }
    }

    /// The answer to one whose key spent a use before.
    async fn answer_known(
        &self,
        known: &Admitted,
        ask: &JoinAsk,
        now: Timestamp,
    ) -> Result<JoinAnswer, AdmissionError> {
        if known.token != ask.token || known.facts.name != ask.facts.name {
            return Ok(JoinAnswer::Refused {
                refusals: vec![other_before(known)],
            });
        }
        Ok(match known.standing {
            Standing::Waiting => JoinAnswer::Wait {
                why: format!(
                    "{0} waits for approval: somebody who runs this cluster says `hayloft host approve {0}`, after comparing \
                     the key {1}",
                    known.facts.name, known.key
                ),
            },
            Standing::Out => JoinAnswer::Refused {
                refusals: vec![put_out(known)],
            },
            Standing::In | Standing::Leaving => {
                let member = Member::Host(known.facts.name.clone());
                let signers = self.signers();
                let chain = signers.current.issue(&member, &known.key, now)?.to_pem();
                self.store.put_signed_by(known.key, signers.current.pin()).await?;
                JoinAnswer::Welcome(Box::new(Welcome {
                    member,
                    chain,
                    trust: self.list.borrow().clone(),
                }))
            }
        })
    }

    /// Renews the certificate of a member, whose key the connection was opened with; also one whose certificate has expired.
    /// Gives the chain in PEM.
    ///
    /// # Errors
    /// When the key is not on the list, the request is for another one, or the store fails.
    pub async fn renew(
        &self,
        key: HostKey,
        ask: &RenewAsk,
        now: Timestamp,
    ) -> Result<String, AdmissionError> {
        let request = CertificateRequest::read(&ask.request)?;
        let member = self.trust.peer(&key).filter(|_| request.key == key);
        let member = member.ok_or(AdmissionError::Stranger)?;
        self.renew_intermediate(now).await?;
        let signers = self.signers();
        let chain = signers.current.issue(&member, &key, now)?;
        self.store.put_signed_by(key, signers.current.pin()).await?;
        Ok(chain.to_pem())
    }

    fn signers(&self) -> Arc<Signers> {
        self.authority
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts the list in force as the store has it now.
    async fn relist(&self) -> Result<(), AdmissionError> {
        let _one = self.listing.lock().await;
        let list = list_of(&self.store, &self.signers(), &self.key).await?;
        self.trust.replace(Trust::new(&list)?);
        self.list.send_if_modified(|old| {
            let changed = *old != list;
            *old = list;
            changed
        });
        Ok(())
    }

    /// The hosts that belong, as the store and their agents tell of them.
    async fn known(&self) -> Result<Vec<Known>, AdmissionError> {
        let admitted = self.store.admitted().await?;
        let links = self.links.borrow().clone();
        let connected = |name: &HostName| {
            links
                .get(name)
                .filter(|link| link.report.has_changed().is_ok())
                .map(|link| link.report.borrow().garage_id)
        };
        let mut known: Vec<Known> = admitted
            .into_iter()
            .filter(|(host, _)| host.standing != Standing::Out)
            .map(|(host, _)| {
                let garage_id = connected(&host.facts.name);
                Known {
                    key: Some(host.key),
                    up: garage_id.is_some(),
                    garage_id: garage_id.or(Some(host.facts.garage_id)),
                    address: Some(host.facts.address),
                    name: host.facts.name,
                }
            })
            .collect();
        for name in links.keys() {
            if let (Some(id), false) = (connected(name), known.iter().any(|host| host.name == *name)) {
                known.push(Known {
                    name: name.clone(),
                    key: None,
                    garage_id: Some(id),
                    address: None,
                    up: true,
                });
            }
        }
        Ok(known)
    }
}

fn bytes(random: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    bytes
}

pub(crate) async fn kept_authority(store: &Store) -> Result<Option<KeptAuthority>, StoreError> {
    let Some(text) = store.own_secret(AUTHORITY).await? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| StoreError::Damaged {
            what: "the certificate authority".to_owned(),
        })
}

async fn keep_authority(store: &Store, signers: &Signers) -> Result<(), StoreError> {
    let kept = KeptAuthority {
        current: signers.current.to_record(),
        former: signers.former.clone(),
        since: signers.since,
    };
    let text = serde_json::to_string(&kept).map_err(|_| StoreError::Damaged {
        what: "the certificate authority".to_owned(),
    })?;
    store.put_own_secret(AUTHORITY, &text).await
}

async fn list_of(store: &Store, signers: &Signers, own: &Keypair) -> Result<TrustList, StoreError> {
    let mut members = vec![ListedMember {
        key: own.public(),
        member: Member::Coordinator,
        door: None,
    }];
    members.extend(
        store
            .admitted()
            .await?
            .into_iter()
            .filter(|(host, _)| host.standing.belongs())
            .map(|(host, _)| ListedMember {
                key: host.key,
                member: Member::Host(host.facts.name),
                door: Some(host.facts.address),
            }),
    );
    Ok(TrustList {
        cluster: signers.current.cluster().clone(),
        roots: signers.roots(),
        members,
    })
}

fn refusal(check: Check, why: impl Into<String>, remedy: impl Into<String>) -> JoinRefusal {
    JoinRefusal {
        check,
        why: why.into(),
        remedy: remedy.into(),
    }
}

fn bad_proof() -> JoinRefusal {
    refusal(
        Check::Token,
        "the proof that this host holds its key is not good",
        "join again; if it stays so, use the same version of Hayloft here and there",
    )
}

/// Also for a wrong secret: whoever guesses is not told which part was right.
fn unknown_token() -> JoinRefusal {
    refusal(
        Check::Token,
        "the coordinator knows no such join token",
        "ask whoever runs the cluster for a new one, from `hayloft token create`",
    )
}

fn used_up() -> JoinRefusal {
    refusal(
        Check::Token,
        "this join token is spent: as many hosts came with it as it was made for",
        "ask for another one, or for one with more `--uses`",
    )
}

fn spent(token: &TokenSummary, now: Timestamp) -> Option<JoinRefusal> {
    if token.revoked.is_some() {
        Some(refusal(
            Check::Token,
            "this join token was revoked",
            "ask for another one",
        ))
    } else if token.limits.expires <= now {
        Some(refusal(
            Check::Token,
            format!(
                "this join token expired at {}",
                token.limits.expires.strftime("%Y-%m-%d %H:%MZ")
            ),
            "ask for another one",
        ))
    } else if token.used >= token.limits.uses {
        Some(used_up())
    } else {
        None
    }
}

fn name_taken(facts: &JoinFacts) -> JoinRefusal {
    refusal(
        Check::Duplicate,
        format!("another host took the name {} just now", facts.name),
        "take another `--name`",
    )
}

fn other_before(known: &Admitted) -> JoinRefusal {
    refusal(
        Check::Duplicate,
        format!(
            "this host joined before, as {} and with the token {}",
            known.facts.name, known.token
        ),
        "use that name and token to go on, or join with an empty `--dir` to be a new host",
    )
}

fn put_out(known: &Admitted) -> JoinRefusal {
    refusal(
        Check::Person,
        format!(
            "{} was refused or put out, and its key stays refused",
            known.facts.name
        ),
        "ask for a new token, and join with an empty `--dir`",
    )
}

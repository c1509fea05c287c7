//! TLS between gateways: version 1.3 only, both sides show a certificate of the same authority. The files are looked at
//! again while the gateway runs, so that certificates are renewed without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hayloft_store::Digest;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(2);
/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The files of a gateway's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFiles {
    /// The gateway's certificate and whatever lies between it and the authority (PEM).
    pub cert: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// The authority that signs the certificates of all gateways of the bucket, and of nobody else (PEM).
    pub ca: PathBuf,
}

/// Why links cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no certificate or key.
    #[error("{} does not hold {expected} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// No other gateway would let this one in.
    #[error(
        "the certificate in {} is not signed by the authority in {}: have the authority sign one",
        cert.display(),
        ca.display()
    )]
    Foreign {
        /// The certificate's file.
        cert: PathBuf,
        /// The authority's.
        ca: PathBuf,
    },
    /// Certificate, key and authority cannot be used.
    #[error("the link's certificate, key and authority cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The authority cannot be used.
    #[error("the link's authority cannot be used")]
    Authority(#[source] rustls::server::VerifierBuilderError),
    /// The client cannot be made.
    #[error("the client for links cannot be made")]
    Client(#[source] reqwest::Error),
}

/// What links are made with; follows the files. Cheap to clone.
#[derive(Clone)]
pub struct LinkTls {
    files: LinkFiles,
    now: Arc<RwLock<Arc<Loaded>>>,
}

struct Loaded {
    stamp: Digest,
    client: reqwest::Client,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for LinkTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl LinkTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(files: LinkFiles) -> Result<Self, TlsError> {
        let loaded = load(&files, &Contents::read(&files)?)?;
        Ok(Self {
            files,
            now: Arc::new(RwLock::new(Arc::new(loaded))),
        })
    }

    /// Follows the files until it is dropped. What cannot be used is said in the log, and the old is used on.
    pub async fn watch(self) {
        let mut refused = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let tls = self.clone();
            let known = refused;
            let looked = tokio::task::spawn_blocking(move || tls.look(known)).await;
            match looked {
                Ok(Ok(true)) => tracing::info!("the link's certificate was renewed"),
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err((stamp, error))) => {
                    refused = stamp;
                    tracing::warn!(
                        error = super::super::error::sentence(&error),
                        "the link's new certificate is not used"
                    );
                }
            }
        }
    }

    /// Takes what the files hold now, when it is new.
    fn look(&self, refused: Option<Digest>) -> Result<bool, (Option<Digest>, TlsError)> {
        // A file may be being replaced; it is looked at again.
        let Ok(contents) = Contents::read(&self.files) else {
            return Ok(false);
        };
        let stamp = contents.stamp();
        if stamp == self.loaded().stamp || refused == Some(stamp) {
            return Ok(false);
        }
        let loaded = load(&self.files, &contents).map_err(|error| (Some(stamp), error))?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(true)
    }

    /// What other gateways are asked with.
    pub(super) fn client(&self) -> reqwest::Client {
        self.loaded().client.clone()
    }

    /// How connections of other gateways are accepted now.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded().server)
    }

    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Contents {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    ca: Vec<u8>,
}

impl Contents {
    fn read(files: &LinkFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            cert: read(&files.cert)?,
            key: read(&files.key)?.into(),
            ca: read(&files.ca)?,
        })
    }

    fn stamp(&self) -> Digest {
        let all = [self.cert.as_slice(), self.key.as_slice(), self.ca.as_slice()];
        let digests: Vec<u8> = all.iter().flat_map(|part| *Digest::of(part).as_bytes()).collect();
        Digest::of(&digests)
    }
}

fn load(files: &LinkFiles, contents: &Contents) -> Result<Loaded, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates(&files.cert, &contents.cert)?;
    let authority = certificates(&files.ca, &contents.ca)?;
    let key = || {
        PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| TlsError::Pem {
            path: files.key.clone(),
            expected: "a private key",
        })
    };
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate).map_err(TlsError::Unusable)?;
    }
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
        .build()
        .map_err(TlsError::Authority)?;
    if let Some((leaf, between)) = chain.split_first()
        && let Err(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) = verifier.verify_client_cert(leaf, between, UnixTime::now())
    {
        // Whether it has run out is for the others to say, by their clocks.
        return Err(TlsError::Foreign {
            cert: files.cert.clone(),
            ca: files.ca.clone(),
        });
    }
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key()?)
        .map_err(TlsError::Unusable)?;
    let protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    server.alpn_protocols.clone_from(&protocols);
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key()?)
        .map_err(TlsError::Unusable)?;
    client.alpn_protocols = protocols;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(client)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
        .map_err(TlsError::Client)?;
    Ok(Loaded {
        stamp: contents.stamp(),
        client,
        server: Arc::new(server),
    })
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(TlsError::Pem {
            path: path.to_owned(),
            expected: "a certificate",
        });
    }
    Ok(certificates)
}

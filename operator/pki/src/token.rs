//! Join tokens: `hlj1.<payload>.<checksum>`.
//!
//! The payload is base64url without padding of: the secret (32 bytes), the pin (32), the id (8), and then texts, each a byte
//! of length and UTF-8: the cluster's name and at least one address. The checksum is base64url of the first five bytes of the
//! SHA-256 of all before it but the dot: whoever mistypes a token is told so before anything is sent.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hayloft_api::join::TokenId;
use hayloft_api::{ClusterName, Secret};
use zeroize::Zeroizing;

use crate::pin::Pin;

const VERSION: &str = "hlj1";
/// A longer text is no token.
const LONGEST: usize = 4096;
/// So many addresses are taken.
const ADDRESSES: usize = 8;

/// Why a text is no join token. Never shows any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("this is no join token: one begins with `hlj1.`; `hayloft token create` prints one")]
    Other,
    /// Of a later format.
    #[error("this join token was made by a newer Hayloft; install that version here too")]
    Newer,
    /// Cut off.
    #[error("this join token is not whole: it has three parts with dots between; copy all of it")]
    Cut,
    /// A slip.
    #[error("a character of this join token is wrong or missing: its checksum does not fit; copy it again")]
    Typo,
    /// The checksum fits and the rest makes no sense.
    #[error("this join token says nothing that this version understands; have a new one made")]
    Malformed,
    /// It would be unusable.
    #[error("a join token needs 1 to 8 addresses, each `host:port` of at most 255 characters")]
    Addresses,
}

/// What lets a host into a cluster. It shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster.
    pub cluster: ClusterName,
    /// `host:port` at which the coordinator's door may be found, the best first.
    pub addresses: Vec<String>,
    /// By which the coordinator is known.
    pub pin: Pin,
    /// Which token it is. Not secret.
    pub id: TokenId,
    secret: Zeroizing<[u8; 32]>,
}

impl JoinToken {
    /// A token of these; `secret` are 32 random bytes.
    ///
    /// # Errors
    /// When there is no address, too many, or one that is no `host:port`.
    pub fn new(
        cluster: ClusterName,
        addresses: Vec<String>,
        pin: Pin,
        id: TokenId,
        secret: &[u8; 32],
    ) -> Result<Self, TokenError> {
        let good = |address: &String| address.len() <= 255 && is_address(address);
        if addresses.is_empty() || addresses.len() > ADDRESSES || !addresses.iter().all(good) {
            return Err(TokenError::Addresses);
        }
        Ok(Self {
            cluster,
            addresses,
            pin,
            id,
            secret: Zeroizing::new(*secret),
        })
    }

    /// The whole token, for the one who shall join.
    pub fn to_text(&self) -> Secret {
        let mut payload = Zeroizing::new(Vec::with_capacity(256));
        payload.extend_from_slice(self.secret.as_slice());
        payload.extend_from_slice(self.pin.as_bytes());
        payload.extend_from_slice(self.id.as_bytes());
        for text in std::iter::once(self.cluster.as_str()).chain(self.addresses.iter().map(String::as_str)) {
            // All texts are of at most 255 bytes: the name by its rule, the addresses by `new`.
            payload.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            payload.extend_from_slice(text.as_bytes());
        }
        let body = Zeroizing::new(format!(
            "{VERSION}.{}",
            Zeroizing::new(URL_SAFE_NO_PAD.encode(payload.as_slice())).as_str()
        ));
        Secret::new(format!("{}.{}", body.as_str(), checksum(&body)))
    }

    /// What the coordinator gets to see.
    pub fn secret(&self) -> Secret {
        Secret::new(hex::encode(self.secret.as_slice()))
    }

    /// What the coordinator keeps of it. The secret is 256 random bits, so one fast hash is enough.
    pub fn hash(&self) -> String {
        hash_of(&self.secret())
    }
}

/// The hash of a secret as [`JoinToken::secret`] gives it, in hex.
fn hash_of(secret: &Secret) -> String {
    hex::encode(digest(&SHA256, secret.expose().as_bytes()).as_ref())
}

/// Whether this is the secret whose hash was kept. Takes equally long for every wrong one.
pub fn is_secret_of(secret: &Secret, hash: &str) -> bool {
    verify_slices_are_equal(hash_of(secret).as_bytes(), hash.as_bytes()).is_ok()
}

fn is_address(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else {
        return false;
    };
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(name),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn checksum(body: &str) -> String {
    let digest = digest(&SHA256, body.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_ref().get(..5).unwrap_or_default())
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Reads a token. Spaces and line breaks, which mail programs put in, do not count.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > LONGEST {
            return Err(TokenError::Other);
        }
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let version = text.split('.').next().unwrap_or_default();
        if version != VERSION {
            let newer = version
                .strip_prefix("hlj")
                .is_some_and(|n| n.parse::<u32>().is_ok());
            return Err(if newer {
                TokenError::Newer
            } else {
                TokenError::Other
            });
        }
        let (body, given) = match text.rsplit_once('.') {
            Some((body, given)) if body.len() > VERSION.len() + 1 && !given.is_empty() => (body, given),
            _ => return Err(TokenError::Cut),
        };
        if checksum(body) != given {
            return Err(TokenError::Typo);
        }
        let payload = body.get(VERSION.len() + 1..).unwrap_or_default();
        let payload = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(payload)
                .map_err(|_| TokenError::Malformed)?,
        );
        read(&payload).ok_or(TokenError::Malformed)
    }
}

fn read(payload: &[u8]) -> Option<JoinToken> {
    let (secret, rest) = payload.split_first_chunk::<32>()?;
    let (pin, rest) = rest.split_first_chunk::<32>()?;
    let (id, mut rest) = rest.split_first_chunk::<8>()?;
    let mut texts = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (text, after) = after.split_at_checked(usize::from(*length))?;
        texts.push(str::from_utf8(text).ok()?.to_owned());
        rest = after;
    }
    let mut texts = texts.into_iter();
    let cluster = texts.next()?.parse().ok()?;
    JoinToken::new(
        cluster,
        texts.collect(),
        Pin::from_bytes(*pin),
        TokenId::from_bytes(*id),
        secret,
    )
    .ok()
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({} for {})", self.id, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken::new(
            "commons".parse().unwrap(),
            vec!["cache.example.org:3900".into(), "[2001:db8::1]:3900".into()],
            Pin::from_bytes([0xaa; 32]),
            TokenId::from_bytes([0xbb; 8]),
            &[0xcc; 32],
        )
        .unwrap()
    }

    #[test]
    fn what_each_slip_is_told() {
        let text = token().to_text();
        let text = text.expose();
        let read = |text: &str| text.parse::<JoinToken>().unwrap_err();
        assert_eq!(read(""), TokenError::Other);
        assert_eq!(read("hello"), TokenError::Other);
        assert_eq!(read(&text.replacen("hlj1", "hlj2", 1)), TokenError::Newer);
        assert_eq!(read("hlj1.abc"), TokenError::Cut);
        assert_eq!(read("hlj1."), TokenError::Cut);
        assert_eq!(read(&text[..text.len() - 1]), TokenError::Typo);
        assert_eq!(read(&text[..text.len() - 9]), TokenError::Cut);
        assert_eq!(read(&"hlj1.".repeat(2000)), TokenError::Other);
        let empty = format!("hlj1.AAAA.{}", checksum("hlj1.AAAA"));
        assert_eq!(read(&empty), TokenError::Malformed);
    }

    #[test]
    fn a_token_that_a_mail_program_broke_into_lines_is_read() {
        let text = token().to_text();
        let broken: Vec<_> = text
            .expose()
            .as_bytes()
            .chunks(40)
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        assert_eq!(format!(" {}\n", broken.join("\r\n")).parse(), Ok(token()));
    }

    #[test]
    fn only_the_secret_itself_fits_the_hash_that_is_kept() {
        let token = token();
        assert!(is_secret_of(&token.secret(), &token.hash()));
        assert!(!is_secret_of(&Secret::new("cc".repeat(31)), &token.hash()));
        assert!(!token.hash().contains(token.secret().expose()));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        assert_eq!(
            format!("{:?}", token()),
            "JoinToken(bbbbbbbbbbbbbbbb for commons)"
        );
    }

    #[test]
    fn addresses_that_nobody_could_dial_are_refused() {
        for bad in [
            "",
            "host",
            "host:",
            "host:0",
            "host:70000",
            ":80",
            "[host]:80",
            "a b:80",
            "http://a:80",
        ] {
            let made = JoinToken::new(
                "commons".parse().unwrap(),
                vec![bad.into()],
                Pin::from_bytes([0; 32]),
                TokenId::from_bytes([0; 8]),
                &[0; 32],
            );
            assert_eq!(made, Err(TokenError::Addresses), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_token_reads_back(
            secret: [u8; 32], pin: [u8; 32], id: [u8; 8],
            cluster in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
            addresses in prop::collection::vec(("[a-z]{1,20}\\.example", 1u16..), 1..8),
        ) {
            let token = JoinToken::new(
                cluster.parse().unwrap(),
                addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect(),
                Pin::from_bytes(pin),
                TokenId::from_bytes(id),
                &secret,
            )
            .unwrap();
            prop_assert_eq!(token.to_text().expose().parse::<JoinToken>(), Ok(token));
        }

        #[test]
        fn no_single_slip_goes_unnoticed(at in 0usize..1000, by in 1u8..63) {
            const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let text = token().to_text();
            let mut bytes = text.expose().as_bytes().to_vec();
            let at = at % bytes.len();
            let old = ALPHABET.iter().position(|c| *c == bytes[at]);
            bytes[at] = ALPHABET[old.map_or(0, |old| (old + usize::from(by)) % ALPHABET.len())];
            let slip = String::from_utf8(bytes).unwrap();
            prop_assert!(slip.parse::<JoinToken>().is_err());
        }

        #[test]
        fn two_characters_that_changed_places_are_noticed(at in 0usize..1000) {
            let text = token().to_text();
            let mut bytes = text.expose().as_bytes().to_vec();
            let at = at % (bytes.len() - 1);
            prop_assume!(bytes[at] != bytes[at + 1]);
            bytes.swap(at, at + 1);
            let swapped = String::from_utf8(bytes).unwrap();
            prop_assert!(swapped.parse::<JoinToken>().is_err());
        }

        #[test]
        fn no_text_makes_reading_fail_otherwise(text in "(hlj1\\.)?[A-Za-z0-9_.-]{0,80}") {
            let _ = text.parse::<JoinToken>();
        }
    }
}

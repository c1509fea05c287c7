//! What the file says of the other gateways on the bucket.

use std::net::SocketAddr;

use url::Url;

use super::file;
use super::load::ConfigError;
use crate::depot::{LinkFiles, Naming, PeerConfig, Rule};

/// The other gateways, and this one's link to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// What the others call this one.
    pub name: Option<String>,
    /// Where other gateways reach it.
    pub listen: SocketAddr,
    /// Certificate, key and authority.
    pub files: LinkFiles,
    /// The others.
    pub peers: Vec<PeerConfig>,
    /// Who is named the committer.
    pub naming: Naming,
}

pub(super) fn fleet(
    link: Option<file::Link>,
    gateways: Vec<file::Gateway>,
    committer: Option<file::Committer>,
    epoch_floor: Option<u64>,
) -> Result<Option<FleetConfig>, ConfigError> {
    let refuse = |field: &str, given: String, allowed| ConfigError::Value {
        field: field.to_owned(),
        given,
        allowed,
    };
    let rule = match committer {
        None => Rule::Auto,
        Some(file::Committer::Flag(true)) => Rule::Yes,
        Some(file::Committer::Flag(false)) => Rule::No,
        Some(file::Committer::Word(word)) if word == "auto" => Rule::Auto,
        Some(file::Committer::Word(word)) => {
            return Err(refuse("committer", word, "give auto, true or false"));
        }
    };
    let Some(link) = link else {
        if !gateways.is_empty() {
            let given = format!("{} gateways", gateways.len());
            return Err(refuse(
                "gateways",
                given,
                "give link, too: where this gateway listens, and its certificate",
            ));
        }
        if rule == Rule::No {
            return Err(refuse(
                "committer",
                "false".to_owned(),
                "a gateway without link is alone, and must order changes itself",
            ));
        }
        if let Some(floor) = epoch_floor {
            return Err(refuse("epochFloor", floor.to_string(), "it needs link"));
        }
        return Ok(None);
    };
    let file::Link {
        name,
        listen,
        cert_file,
        key_file,
        ca_file,
    } = link;
    let listen = listen.parse().map_err(|_| {
        refuse(
            "link.listen",
            listen.clone(),
            "give an IP address and a port, such as 0.0.0.0:8443",
        )
    })?;
    let mut peers: Vec<PeerConfig> = Vec::with_capacity(gateways.len());
    for (index, file::Gateway { name, url }) in gateways.into_iter().enumerate() {
        let parsed = Url::parse(&url).ok().filter(|url| {
            url.scheme() == "https" && url.has_host() && url.path() == "/" && url.query().is_none()
        });
        let Some(parsed) = parsed else {
            return Err(refuse(
                &format!("gateways[{index}].url"),
                url,
                "give a URL such as https://lyon.example.org:8443",
            ));
        };
        if peers.iter().any(|peer| peer.name == name || peer.url == parsed) {
            return Err(refuse(
                &format!("gateways[{index}]"),
                name,
                "name each other gateway once",
            ));
        }
        peers.push(PeerConfig { name, url: parsed });
    }
    Ok(Some(FleetConfig {
        name,
        listen,
        files: LinkFiles {
            cert: cert_file,
            key: key_file,
            ca: ca_file,
        },
        peers,
        naming: Naming {
            committer: rule,
            epoch_floor: epoch_floor.unwrap_or(0),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> file::Link {
        serde_yaml::from_str(
            "{ name: paris, listen: '0.0.0.0:8443', certFile: /c.pem, keyFile: /k.pem, caFile: /ca.pem }",
        )
        .unwrap()
    }

    fn others(text: &str) -> Vec<file::Gateway> {
        serde_yaml::from_str(text).unwrap()
    }

    fn committer(text: &str) -> Option<file::Committer> {
        Some(serde_yaml::from_str(text).unwrap())
    }

    #[test]
    fn a_file_that_names_others_is_read_whole() {
        let lyon = others("[{ name: lyon, url: 'https://lyon.example.org:8443' }]");
        let config = fleet(Some(link()), lyon, committer("true"), Some(7))
            .unwrap()
            .unwrap();
        assert_eq!(config.name.as_deref(), Some("paris"));
        assert_eq!(config.listen.port(), 8443);
        assert_eq!(config.peers[0].url.as_str(), "https://lyon.example.org:8443/");
        let naming = Naming {
            committer: Rule::Yes,
            epoch_floor: 7,
        };
        assert_eq!(config.naming, naming);
        let config = fleet(Some(link()), vec![], committer("auto"), None)
            .unwrap()
            .unwrap();
        assert_eq!(config.naming, Naming::default());
    }

    #[test]
    fn without_a_link_a_gateway_is_alone() {
        assert!(fleet(None, vec![], None, None).unwrap().is_none());
        assert!(fleet(None, vec![], committer("true"), None).unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_field() {
        let lyon = || others("[{ name: lyon, url: 'https://lyon.example.org:8443' }]");
        let twice = others(
            "[{ name: lyon, url: 'https://lyon.example.org:8443' }, { name: lyon, url: 'https://x.example.org' }]",
        );
        let plain = others("[{ name: lyon, url: 'http://lyon.example.org:8443' }]");
        let given = [
            ("gateways:", fleet(None, lyon(), None, None)),
            ("committer:", fleet(None, vec![], committer("false"), None)),
            ("epochFloor:", fleet(None, vec![], None, Some(3))),
            (
                "committer:",
                fleet(Some(link()), lyon(), committer("maybe"), None),
            ),
            ("gateways[1]:", fleet(Some(link()), twice, None, None)),
            ("gateways[0].url:", fleet(Some(link()), plain, None, None)),
        ];
        for (field, given) in given {
            let said = given.unwrap_err().to_string();
            assert!(said.starts_with(field), "{said}");
        }
    }
}

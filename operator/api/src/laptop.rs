//! The document of `hayloft up` when none is given.

use crate::document::{
    AdmissionSpec, ApiVersion, CacheSpec, GarageSpec, GatewaySpec, HostSpec, HostState, Kind, Metadata,
    RebalanceSpec, Role, Spec,
};
use crate::{Bytes, Document, NameError, Percent};

impl Document {
    /// `hosts` hosts `host-1` … in as many zones, each lending `pledge`; the first is also the gateway; one public
    /// cache, `main`. Three hosts and more keep three copies, fewer keep one.
    ///
    /// # Errors
    /// Never: the names are made here and are valid.
    pub fn laptop(hosts: u8, pledge: Bytes) -> Result<Self, NameError> {
        let hosts = hosts.max(1);
        let replication_factor = if hosts >= 3 { 3 } else { 1 };
        let host = |n: u8| -> Result<HostSpec, NameError> {
            Ok(HostSpec {
                name: format!("host-{n}").parse()?,
                owner: None,
                zone: format!("zone-{n}").parse()?,
                roles: if n == 1 {
                    vec![Role::Storage, Role::Gateway]
                } else {
                    vec![Role::Storage]
                },
                pledge: Some(pledge),
                address: None,
                state: HostState::Active,
                away: None,
                uplink: None,
            })
        };
        Ok(Self {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::CacheCluster,
            metadata: Metadata {
                name: "laptop".parse()?,
            },
            spec: Spec {
                // Losing the last seconds to a power cut is fine where all copies share one disk anyway.
                garage: GarageSpec {
                    replication_factor,
                    fsync: false,
                    zone_redundancy: Some(replication_factor),
                    quota: None,
                },
                hosts: (1..=hosts).map(host).collect::<Result<_, _>>()?,
                pools: Vec::new(),
                admission: AdmissionSpec::default(),
                // The disk belongs to its owner's other things too, and is often nearly full; `up` tells when it gets low.
                rebalance: RebalanceSpec {
                    reserve: Percent::new(1),
                    ..RebalanceSpec::default()
                },
                gateway: GatewaySpec::default(),
                caches: vec![CacheSpec {
                    name: "main".parse()?,
                    public: true,
                    priority: 30,
                    store_dir: "/nix/store".to_owned(),
                    retention: None,
                    upstream_keys: vec!["cache.nixos.org-1".to_owned()],
                }],
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_for_a_laptop_keep_all_rules() {
        for hosts in [1, 2, 3, 4, 5, 9] {
            let document = Document::laptop(hosts, Bytes::gib(10)).unwrap();
            crate::rules::check(&document).unwrap();
            assert_eq!(
                Document::from_yaml(&document.to_yaml().unwrap()).unwrap(),
                document
            );
        }
    }

    #[test]
    fn three_hosts_keep_three_copies_in_three_zones() {
        insta::assert_snapshot!(Document::laptop(3, Bytes::gib(10)).unwrap().to_yaml().unwrap());
    }
}

use hayloft_api::Secret;
use hayloft_api::agent::HostDesired;

use super::*;
use crate::launch::tests::{PORTS, desired, places};
use crate::launch::{Places, Secrets, units};
use crate::systemd::{Account, admin_socket};

fn on_systemd() -> Places {
    Places {
        dir: "/var/lib/hayloft/agent".into(),
        admin_socket: admin_socket(),
        garage: "/opt/hayloft/garage-2.5.0/bin/garage".into(),
        ..places()
    }
}

fn rendered(desired: &HostDesired) -> Vec<Rendered> {
    units(desired, &on_systemd(), PORTS, Secrets::Credentials)
        .unwrap()
        .iter()
        .map(|unit| render(unit, &Account::name_for(unit.name), None).unwrap())
        .collect()
}

#[test]
fn the_services_of_a_host_with_both_roles() {
    for rendered in rendered(&desired()) {
        insta::assert_snapshot!(rendered.name.to_string(), rendered.service);
        if let Some(socket) = &rendered.socket {
            insta::assert_snapshot!(format!("{}_socket", rendered.name), socket);
        }
    }
}

#[test]
fn garages_configuration_names_its_secrets_where_systemd_puts_them() {
    let units = units(&desired(), &on_systemd(), PORTS, Secrets::Credentials).unwrap();
    let config = units[0]
        .files
        .iter()
        .find(|file| file.path.ends_with("garage.toml"));
    let text = String::from_utf8(config.unwrap().content.to_vec()).unwrap();
    assert!(
        text.contains("\"/run/credentials/hayloft-garage.service/rpc-secret\""),
        "{text}"
    );
    assert!(text.contains("\"/run/hayloft-garage/admin.sock\""), "{text}");
}

#[test]
fn no_secret_stands_in_a_unit_file() {
    for rendered in rendered(&desired()) {
        assert!(!format!("{rendered:?}").contains("hush"));
    }
}

#[test]
fn a_fingerprint_changes_with_all_that_asks_for_a_restart_and_with_nothing_else() {
    let before = rendered(&desired());
    let mut changed = desired();
    if let Some(gateway) = &mut changed.gateway {
        gateway.s3.endpoints = vec!["http://127.0.0.1:5002".into()];
    }
    let elsewhere = rendered(&changed);
    assert_eq!(before[1].fingerprint, elsewhere[1].fingerprint);
    assert_eq!(before[1].service, elsewhere[1].service);
    assert_ne!(before[1].live, elsewhere[1].live);
    if let (Some(garage), Some(gateway)) = (&mut changed.garage, &mut changed.gateway) {
        garage.rpc_secret = Secret::new("hush-other");
        gateway.listen = "0.0.0.0:8081".into();
    }
    let others = rendered(&changed);
    assert_ne!(before[0].fingerprint, others[0].fingerprint);
    assert_ne!(before[1].fingerprint, others[1].fingerprint);

    let unit = &units(&desired(), &on_systemd(), PORTS, Secrets::Credentials).unwrap()[1];
    let built = |stamp| render(unit, "hayloft-gateway", stamp).unwrap().fingerprint;
    assert_ne!(built(Some("one")), built(Some("another")));
}

#[test]
fn what_a_unit_file_would_misread_is_refused() {
    let mut units = units(&desired(), &on_systemd(), PORTS, Secrets::Credentials).unwrap();
    for program in ["/opt/my garage", "/opt/%h", "garage", "/opt/a\nUser=root"] {
        units[0].launch.program = program.into();
        let refused = render(&units[0], "hayloft-garage", None);
        assert!(matches!(refused, Err(RenderError::Word { .. })), "{program}");
    }
}

#[test]
fn a_unit_is_given_neither_the_agents_folder_nor_files_outside_of_its_own() {
    let mut units = units(&desired(), &on_systemd(), PORTS, Secrets::Credentials).unwrap();
    let gateway = units.pop().unwrap();
    let mut greedy = gateway.clone();
    greedy.folders.push("/var/lib/hayloft".into());
    assert!(matches!(
        render(&greedy, "x", None),
        Err(RenderError::AgentsFolder { .. })
    ));
    let mut homeless = gateway.clone();
    homeless.files[1].path = "/var/lib/hayloft/agent/elsewhere".into();
    homeless.files[1].seen = homeless.files[1].path.clone();
    assert!(matches!(
        render(&homeless, "x", None),
        Err(RenderError::Homeless { .. })
    ));
    let mut exposed = gateway.clone();
    exposed.files[0].path = "/var/lib/hayloft/agent/gateway/cluster.key".into();
    assert!(matches!(
        render(&exposed, "x", None),
        Err(RenderError::Exposed { .. })
    ));
    let mut named = gateway;
    named.door = Some("localhost:8080".into());
    assert!(matches!(render(&named, "x", None), Err(RenderError::Door { .. })));
}

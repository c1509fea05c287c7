//! Machines that have no IPv4.

use crate::town::{COORDINATOR, Community, MEMBERS};

#[test]
fn machines_that_speak_ipv6_alone_keep_a_cache_together() {
    let Some(community) = Community::new() else { return };
    community.speak_ipv6_alone();
    let (_, key) = &community.bring_up();
    let path = community.build("first");
    community.push("h2", &path);
    for gateway in MEMBERS {
        community.pull(gateway, key, &path);
    }
    // A machine is away and comes back.
    community.sh("h2", "systemctl stop hayloft-agent hayloft-garage");
    let second = community.build("second");
    community.push("h3", &second);
    community.sh("h2", "systemctl start hayloft-agent");
    community.until_whole();
    community.pull("h2", key, &second);
    let used = community.sh(COORDINATOR, "ip -4 addr show dev host0");
    assert!(!used.contains("inet "), "{used}");
}

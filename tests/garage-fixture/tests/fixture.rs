//! The fixture itself: it comes up, loses a node, and leaves nothing behind.

use hayloft_garage_fixture::Garage;

fn alive(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_come_up_and_a_killed_one_comes_back() {
    let mut garage = Garage::start(3).await.unwrap();
    assert_eq!(garage.endpoints().len(), 3);
    let pid = garage.pid(1).unwrap();
    garage.kill(1).unwrap();
    assert!(!alive(pid));
    garage.restart(1).await.unwrap();
    let pids: Vec<u32> = (0..3).filter_map(|i| garage.pid(i)).collect();
    assert!(pids.iter().all(|pid| alive(*pid)));
    drop(garage);
    assert!(!pids.iter().any(|pid| alive(*pid)));
}

use hayloft_api::NodeId;
use hayloft_api::agent::{AdminAddress, DataState, HostReport, UnitReport, UnitState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

fn host(n: u8) -> HostName {
    format!("host-{n}").parse().unwrap()
}

fn id(n: u8) -> NodeId {
    NodeId::from_public_key([n; 32])
}

/// A member that has started with empty metadata: it is well, and knows of no layout.
async fn newborn() -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serves = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    (address, serves)
}

async fn serve(mut socket: TcpStream) {
    let mut asked = Vec::new();
    loop {
        let mut some = [0; 4096];
        let Ok(read @ 1..) = socket.read(&mut some).await else {
            return;
        };
        asked.extend_from_slice(some.get(..read).unwrap_or_default());
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&asked).into_owned();
        asked.clear();
        let body = match text.split(' ').nth(1).unwrap_or_default() {
            "/v2/GetClusterStatus" => r#"{"layoutVersion":0,"nodes":[]}"#,
            "/v2/GetClusterLayout" => {
                r#"{"version":0,"roles":[],"parameters":{"zoneRedundancy":"maximum"},"partitionSize":0,
                    "stagedRoleChanges":[],"stagedParameters":null}"#
            }
            "/v2/GetClusterHealth" => {
                r#"{"status":"unavailable","knownNodes":1,"connectedNodes":1,"storageNodes":0,"storageNodesUp":0,
                    "partitions":256,"partitionsQuorum":0,"partitionsAllOk":0}"#
            }
            "/health" => "well",
            _ => "null",
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        if socket
            .write_all(format!("{head}{body}").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

/// A coordinator's memory of one host whose Garage runs.
async fn memory_of(dir: &std::path::Path, address: String, remembered: &[(u8, Remembered)]) -> Memory {
    let now = Timestamp::UNIX_EPOCH;
    let store = Store::open(&dir.join(format!("store-{}.sqlite", remembered.len())), [1; 32])
        .await
        .unwrap();
    for (n, host_then) in remembered {
        store.put_host(&host(*n), host_then).await.unwrap();
    }
    let mut memory = Memory::load(&store, now).await.unwrap();
    let report = HostReport {
        host: host(1),
        seq: 1,
        generation: None,
        garage_id: id(1),
        garage_version: None,
        garage_waiting: None,
        rpc_addr: String::new(),
        s3_addr: String::new(),
        admin: AdminAddress::Url(address),
        gateway_addr: None,
        link_addr: None,
        units: vec![UnitReport {
            name: GARAGE_UNIT.to_owned(),
            state: UnitState::Running { pid: 7 },
            restarts: 0,
            last_error: None,
        }],
        disk: None,
        layout: None,
        data: DataState::Fresh,
        blocks: None,
        promise: None,
        rolled_back: None,
        clock: now,
    };
    memory.heard.insert(
        host(1),
        Heard {
            report,
            at: now,
            agent: true,
        },
    );
    memory
}

fn had_role(n: u8) -> Remembered {
    Remembered {
        id: id(n),
        zone: None,
        had_role: true,
        left: None,
    }
}

#[tokio::test]
async fn a_member_that_knows_no_layout_is_not_believed_where_there_was_one() {
    let dir = tempfile::tempdir().unwrap();
    let (address, serves) = newborn().await;
    let token = Secret::new("0");
    let now = Timestamp::UNIX_EPOCH;
    // Of a new cluster nothing else can be said, and a first layout is made from it.
    let mut memory = memory_of(dir.path(), address.clone(), &[]).await;
    let looked = look(&mut memory, &token, "GK", now).await.unwrap().unwrap();
    assert_eq!(looked.facts.layout.version, 0);
    // Host 1 lost its metadata and came back before host 2, which is still down.
    let mut memory = memory_of(dir.path(), address, &[(2, had_role(2))]).await;
    let refused = look(&mut memory, &token, "GK", now).await.unwrap_err();
    assert_eq!(refused, "host-1 has not heard of the layout yet");
    assert_eq!(memory.through, None, "nor is it asked first from now on");
    serves.abort();
}

//! Hosts that join by token, keep a cluster together, and go.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hayloft_e2e::attic_wire::Attic;
use hayloft_e2e::community::{Community, all_up};
use hayloft_e2e::process::eventually;
use hayloft_e2e::traffic::{pull, push};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_joined_by_one_token_serve_clients_while_any_one_of_them_or_the_coordinator_is_away()
-> Result<()> {
    let mut community = Community::of(3)?;
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    pull(&attic, 1).await?;

    // Nothing of it is seen by who may not: keys, and what is in the folder.
    for file in [
        "host.key",
        "identity.pem",
        "trust.json",
        "agent.json",
        "ledger.json",
        "rpc-secret",
    ] {
        let mode = std::fs::metadata(community.host_dir(2).join(file))?.permissions();
        ensure!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o077 == 0,
            "{file} is open to others"
        );
    }

    // A host is away, as its owner said: its Garage, its door and its agent.
    let away = community.ask(&["host", "away", "h2", "--for", "2h", "--yes"])?;
    ensure!(away.contains("nobody misses h2"), "{away}");
    community.kill_agent(2)?;
    community
        .until("its absence is expected", |status| {
            let conditions = status["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter().any(|condition| {
                    condition["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("h2, whose absence is announced until"))
                })
            })
        })
        .await?;
    push(&attic, 2).await?;
    pull(&attic, 1).await?;
    community.start_agent(2)?;
    community.until("whole again", |status| all_up(status, 3)).await?;

    // The coordinator is away. Hosts go on, and come up without it.
    community.kill_coordinator()?;
    push(&attic, 3).await?;
    community.kill_agent(3)?;
    community.start_agent(3)?;
    eventually(
        "host 3 serves without a coordinator",
        Duration::from_secs(60),
        async || std::net::TcpStream::connect(format!("{}:3901", community.address(3))).is_ok(),
    )
    .await?;
    pull(&attic, 2).await?;
    community.start_coordinator()?;
    community.until("whole again", |status| all_up(status, 3)).await?;
    push(&attic, 4).await?;
    for seed in 1..=4 {
        pull(&attic, seed).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_as_many_as_it_says_and_only_whom_it_is_for() -> Result<()> {
    let community = Community::found(2, "automatic")?;
    let refused = |outcome: Result<String>, words: &str| -> Result<()> {
        match outcome {
            Ok(_) => anyhow::bail!("it was let in, and should have been told: {words}"),
            Err(error) => {
                ensure!(
                    format!("{error:#}").contains(words),
                    "{error:#} does not say: {words}"
                );
                Ok(())
            }
        }
    };
    // Six want two places at once.
    let token = community.token.clone();
    let racing: Vec<_> = (1..=6)
        .map(|n| community.joining(n, &token, &[]))
        .collect::<Result<_>>()?;
    let mut inside = Vec::new();
    for (n, child) in (1_u8..).zip(racing) {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!said.contains(&token), "the token is shown");
        if output.status.success() {
            inside.push(n);
        } else {
            ensure!(said.contains("spent"), "{said}");
        }
    }
    ensure!(inside.len() == 2, "{inside:?} were let in");
    // Whoever is in may ask again; it spends nothing.
    community.join(inside[0], &token, &[])?;

    let mut altered = token.clone();
    let at = altered.len() / 2;
    let other = if altered.as_bytes()[at] == b'A' { "B" } else { "A" };
    altered.replace_range(at..=at, other);
    refused(community.join(10, &altered, &[]), "checksum")?;

    let short = community.ask(&["token", "create", "--ttl", "1s"])?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    refused(community.join(11, short.trim(), &[]), "expired")?;

    let revoked = community.ask(&["token", "create"])?;
    let listed: Value = serde_json::from_str(&community.ask(&["token", "list", "-o", "json"])?)?;
    let newest = listed.as_array().into_iter().flatten().find(|token| {
        token["used"] == 0 && token["limits"]["expires"].as_str() > listed[0]["limits"]["expires"].as_str()
    });
    let id = newest
        .and_then(|token| token["id"].as_str())
        .unwrap_or_default()
        .to_owned();
    community.ask(&["token", "revoke", &id])?;
    refused(community.join(12, revoked.trim(), &[]), "revoked")?;

    let bound = community.ask(&[
        "token",
        "create",
        "--name",
        "h13",
        "--zone",
        "lyon",
        "--max-pledge",
        "1Gi",
    ])?;
    refused(community.join(14, bound.trim(), &[]), "for the host h13 alone")?;
    refused(community.join(13, bound.trim(), &[]), "zone lyon")?;
    refused(
        community.join(13, bound.trim(), &["--zone", "lyon", "--pledge", "900Ti"]),
        "at most",
    )?;
    community.join(13, bound.trim(), &["--zone", "lyon"])?;
    refused(community.join(15, "hlj1.nonsense", &[]), "token")?;
    let log = community.logged("coordinator");
    ensure!(
        !log.contains(token.rsplit('.').nth(1).unwrap_or(&token)),
        "a token is in the log"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_waits_for_a_persons_word_where_the_document_says_so() -> Result<()> {
    let community = Community::found(1, "manual")?;
    let token = community.token.clone();
    let joining = community.joining(1, &token, &[])?;
    eventually("the host waits", Duration::from_secs(30), async || {
        community.ask(&["host", "approve", "h1"]).is_ok()
    })
    .await?;
    let output = joining.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success() && said.contains("hayloft host approve h1"),
        "{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_put_out_is_let_in_nowhere() -> Result<()> {
    let mut community = Community::of(4)?;
    let token = community.token.clone();
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    community.until("whole", |status| all_up(status, 4)).await?;
    push(&attic, 1).await?;
    let before = std::fs::read_to_string(community.host_dir(1).join("rpc-secret"))?;
    eventually("it serves clients", Duration::from_secs(60), async || {
        Stolen::of(&community, 4).is_ok()
    })
    .await?;
    let stolen = Stolen::of(&community, 4)?;
    eventually("all that it knows works", Duration::from_secs(60), async || {
        stolen.s3(&community, 1).is_ok_and(|status| status == 200)
            && stolen.admin(&community, 1).is_ok_and(|status| status == 200)
    })
    .await?;
    community.ask(&["host", "evict", "h4", "--yes"])?;
    community
        .until("three are left", |status| all_up(status, 3))
        .await?;
    eventually("the secret is another one", Duration::from_secs(90), async || {
        std::fs::read_to_string(community.host_dir(1).join("rpc-secret")).is_ok_and(|now| now != before)
    })
    .await?;
    eventually("it is told", Duration::from_secs(60), async || {
        let log = community.logged("h4");
        log.contains("does not belong") || log.contains("CertificateRevoked")
    })
    .await?;
    community
        .until("nothing that it knew is in use", |status| {
            status["secrets"]["knownTo"].as_array().is_some_and(Vec::is_empty)
        })
        .await?;

    // It can neither read nor write nor call, by anything that it ever knew.
    let known = std::fs::read_to_string(community.host_dir(4).join("rpc-secret"))?;
    ensure!(known == before, "the evicted host was told the new secret");
    for n in 1..=3 {
        let (s3, admin) = (stolen.s3(&community, n)?, stolen.admin(&community, n)?);
        ensure!(
            s3 == 403 && admin == 403,
            "host {n} lets it in: S3 {s3}, admin {admin}"
        );
        let gateway = Attic::new(&format!("http://{}:8080", community.address(n)), Some(&secret))?;
        let pushed = push(&gateway, 9).await.err().map(|error| format!("{error:#}"));
        ensure!(
            pushed
                .as_ref()
                .is_some_and(|error| error.contains("401") || error.contains("403")),
            "a token that it could make is good at host {n}: {pushed:?}"
        );
    }
    // Its Garage, which starts with what it was told before, is not taken for a member by any other.
    community.kill_agent(4)?;
    community.start_agent(4)?;
    eventually("its Garage runs", Duration::from_secs(60), async || {
        stolen.admin(&community, 4).is_ok_and(|status| status == 200)
    })
    .await?;
    for n in 1..=3 {
        let seen = community.cluster_of(n)?;
        let nodes = seen["nodes"].as_array().cloned().unwrap_or_default();
        let up = nodes.iter().filter(|node| node["isUp"] == true).count();
        ensure!(up == 3, "host {n} sees {seen}");
    }
    community.kill_agent(4)?;
    // Nor does its token let it in with its key.
    let error = community
        .join(4, &token, &[])
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(error.contains("put out"), "{error}");
    // The others' clients get a new token, and go on.
    let renewed = renewed_token(&community, &secret).await?;
    let (url, _) = community.client().await?;
    let attic = Attic::new(&url, Some(&renewed))?;
    push(&attic, 2).await?;
    pull(&attic, 1).await?;
    pull(&attic, 2).await
}

/// What a host knows that runs Garage and a gateway.
struct Stolen {
    key: String,
    admin_token: String,
}

impl Stolen {
    fn of(community: &Community, n: u8) -> Result<Self> {
        let dir = community.host_dir(n);
        let ledger: Value = serde_json::from_slice(&std::fs::read(dir.join("ledger.json"))?)?;
        let text = |path: &str| {
            ledger
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("no {path} in {ledger}"))
        };
        Ok(Self {
            key: format!(
                "{}:{}",
                text("/gateway/s3/accessKeyId")?,
                text("/gateway/s3/secretAccessKey")?
            ),
            admin_token: text("/garage/adminToken")?,
        })
    }

    /// Lists the bucket at a host's own S3 port; the status.
    fn s3(&self, community: &Community, n: u8) -> Result<u16> {
        let url = format!("http://{}/hayloft?list-type=2", community.s3_addr(n)?);
        curl(&[
            "--aws-sigv4",
            "aws:amz:garage:s3",
            "--user",
            &self.key,
            "-H",
            "x-amz-content-sha256: UNSIGNED-PAYLOAD",
            &url,
        ])
    }

    /// Asks a host's Garage about the cluster; the status.
    fn admin(&self, community: &Community, n: u8) -> Result<u16> {
        let socket = community.host_dir(n).join("admin.sock");
        let bearer = format!("Authorization: Bearer {}", self.admin_token);
        let socket = socket.display().to_string();
        curl(&[
            "--unix-socket",
            &socket,
            "-H",
            &bearer,
            "http://garage/v2/GetClusterStatus",
        ])
    }
}

/// The status of a request.
fn curl(args: &[&str]) -> Result<u16> {
    let output = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10"])
        .args(args)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_comes_back_on_another_disk_from_the_kit_that_a_host_keeps() -> Result<()> {
    let mut community = Community::of(3)?;
    let token = community.token.clone();
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    let key = recovery_key(&community)?;
    let kit = community.host_dir(2).join("recovery.kit");
    eventually("a host keeps a kit", Duration::from_secs(90), async || {
        kit.exists()
    })
    .await?;
    // The bucket has it too, and another host's gateway gets it from there.
    let fetched = community.dir().with_file_name("fetched.kit");
    eventually("the bucket holds a kit", Duration::from_secs(60), async || {
        let fetch = community.hayloft().and_then(|mut hayloft| {
            hayloft.args(["recovery", "fetch", "--out"]).arg(&fetched);
            Ok(hayloft.arg("--dir").arg(community.host_dir(3)).output()?)
        });
        fetch.is_ok_and(|output| output.status.success())
    })
    .await?;
    ensure!(
        std::fs::read(&fetched)? == std::fs::read(&kit)?,
        "the bucket holds another kit than hosts do"
    );

    // Its machine is lost.
    community.kill_coordinator()?;
    std::fs::remove_dir_all(community.dir())?;
    push(&attic, 2).await?;
    community.restore(&fetched, &key)?;
    community.start_coordinator()?;
    community.until("whole again", |status| all_up(status, 3)).await?;
    // It decides: a fourth host gets in with a new token, and the old one is void.
    ensure!(
        community.join(4, &token, &[]).is_err(),
        "a token of before was taken"
    );
    let fresh = community.ask(&["token", "create"])?;
    community.join(4, fresh.trim(), &[])?;
    community.start_agent(4)?;
    community
        .until("four are there", |status| all_up(status, 4))
        .await?;
    for seed in 1..=2 {
        pull(&attic, seed).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_find_a_coordinator_that_was_restored_at_an_address_that_nobody_knows() -> Result<()> {
    let mut community = Community::of(3)?;
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    let key = recovery_key(&community)?;
    let kit = community.host_dir(9).with_extension("kit");
    let text = kit.display().to_string();
    community.ask(&["recovery", "kit", "--out", &text])?;
    community.kill_coordinator()?;
    std::fs::remove_dir_all(community.dir())?;
    // One host is off, and hears of it later.
    community.kill_agent(3)?;

    community.restore_at(101, &kit, &key)?;
    community.start_coordinator()?;
    community
        .until("followed by two", |status| up(status) == 2)
        .await?;
    community.start_agent(3)?;
    community.until("whole again", |status| all_up(status, 3)).await?;
    // All have noted it: they find it at once after a restart.
    for n in 1..=3 {
        let record = std::fs::read_to_string(community.host_dir(n).join("agent.json"))?;
        ensure!(
            record.contains(&format!("{}:7440", community.address(101))),
            "{record}"
        );
    }
    pull(&attic, 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_gets_another_address_stays_who_it_is_and_keeps_its_data() -> Result<()> {
    let mut community = Community::found(4, "automatic")?;
    let token = community.token.clone();
    for n in 1..=3 {
        community.join(n, &token, &[])?;
        community.start_agent(n)?;
    }
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    let id = |status: &Value| status["hosts"][1]["id"].clone();
    let before = id(&community.status()?);

    community.kill_agent(2)?;
    push(&attic, 2).await?;
    let moved = community
        .hayloft()?
        .args(["agent", "move", "--address", &community.address(22), "--dir"])
        .arg(community.host_dir(2))
        .output()?;
    ensure!(
        moved.status.success(),
        "{}",
        String::from_utf8_lossy(&moved.stderr)
    );
    community.start_agent(2)?;
    community
        .until("all are there, at other addresses", |status| {
            all_up(status, 3) && condition(status, "Converged")
        })
        .await?;
    ensure!(id(&community.status()?) == before, "it is another node now");
    // Its gateway serves there, with what was pushed while it was away; and members of today dial it there.
    let there = Attic::new(&format!("http://{}:8080", community.address(22)), Some(&secret))?;
    for seed in 1..=2 {
        pull_soon(&there, seed).await?;
    }
    community.join(4, &token, &[])?;
    community.start_agent(4)?;
    community
        .until("four are there", |status| all_up(status, 4))
        .await
}

fn condition(status: &Value, kind: &str) -> bool {
    let conditions = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_authority_is_replaced_while_clients_push_and_pull() -> Result<()> {
    let mut community = Community::of(3)?;
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    let before = authority(&community)?;
    let old = community.ask(&["token", "create"])?;
    community.ask(&["authority", "replace"])?;
    eventually("all have renewed", Duration::from_secs(60), async || {
        authority(&community).is_ok_and(|now| now["behind"] == serde_json::json!([]))
    })
    .await?;
    let now = authority(&community)?;
    ensure!(now["pin"] != before["pin"] && now["replaces"] == true, "{now}");
    push(&attic, 2).await?;
    // A token of before still leads there, for the old authority vouches for the new one.
    community.join(4, old.trim(), &[])?;
    community.start_agent(4)?;
    let unused = community.ask(&["token", "create"])?;
    community.ask(&["authority", "finish"])?;
    ensure!(authority(&community)?["replaces"] == false);
    let refused = community.join(5, unused.trim(), &[]);
    ensure!(
        refused.is_ok(),
        "a token of the new authority is good: {refused:?}"
    );
    community.start_agent(5)?;
    community
        .until("five are there", |status| all_up(status, 5))
        .await?;
    // An agent that starts anew shows and trusts the new one alone.
    community.kill_agent(1)?;
    community.start_agent(1)?;
    community
        .until("all are there again", |status| all_up(status, 5))
        .await?;
    for seed in 1..=2 {
        pull_soon(&attic, seed).await?;
    }
    Ok(())
}

fn authority(community: &Community) -> Result<Value> {
    let text = community.ask(&["authority", "show", "-o", "json"])?;
    Ok(serde_json::from_str(&text)?)
}

/// Makes one, and has kits sealed to it.
fn recovery_key(community: &Community) -> Result<std::path::PathBuf> {
    let key = community.host_dir(9).with_extension("key");
    let made = community
        .hayloft()?
        .args(["recovery", "key", "--out"])
        .arg(&key)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(&key)?;
    let public = text.split_whitespace().find(|word| word.starts_with("age1"));
    community.ask(&["recovery", "use", public.unwrap_or_default()])?;
    Ok(key)
}

fn up(status: &Value) -> usize {
    let hosts = status["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    hosts.iter().filter(|host| host["up"] == true).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_of_a_community_shows_what_was_pushed_at_another() -> Result<()> {
    let mut community = Community::found(3, "automatic")?;
    let token = community.token.clone();
    for n in 1..=3 {
        let more: &[&str] = if n == 3 { &["--uplink", "1MB/s"] } else { &[] };
        community.join(n, &token, more)?;
        community.start_agent(n)?;
    }
    let (_, secret) = community.client().await?;
    community
        .until("three gateways serve", |status| {
            status["gateway"]["hosts"].as_array().map_or(0, Vec::len) == 3
        })
        .await?;
    let clients: Vec<Attic> = (1..=3)
        .map(|n| Attic::new(&format!("http://{}:8080", community.address(n)), Some(&secret)))
        .collect::<Result<_>>()?;
    for (seed, at) in [(1, 0), (2, 1), (3, 2)] {
        // Just after its start one may not have found the others yet.
        eventually("a push is taken", Duration::from_secs(60), async || {
            push(&clients[at], seed).await.is_ok()
        })
        .await?;
        for client in &clients {
            pull_soon(client, seed).await?;
        }
    }
    // The third said how much may leave its house; what stays in it is not held back.
    let asked = std::time::Instant::now();
    let from_afar = Attic::new(&format!("http://{}:8080", community.address(3)), Some(&secret))?;
    pull(&from_afar.asking_for("192.0.2.7"), 1).await?;
    ensure!(
        asked.elapsed() > Duration::from_secs(2),
        "3 MB came in {:?} over a line of 1 MB a second",
        asked.elapsed()
    );
    // One of them is gone with its host: the others take pushes, whoever ordered them before.
    community.kill_agent(1)?;
    eventually("a push is taken", Duration::from_secs(60), async || {
        push(&clients[1], 4).await.is_ok()
    })
    .await?;
    for client in &clients[1..] {
        pull_soon(client, 4).await?;
        pull_soon(client, 1).await?;
    }
    // What each did is counted, from when the coordinator first asked it on.
    let mut seed = 10;
    eventually(
        "the month's report tells of it",
        Duration::from_secs(120),
        async || {
            seed += 1;
            let did = async {
                push(&clients[1], seed).await?;
                pull(&clients[2], seed).await?;
                let report: Value = serde_json::from_str(&community.ask(&["report", "-o", "json"])?)?;
                let host = |n: u8| report["hosts"][format!("h{n}")].clone();
                let some = |host: &Value, what: &str| host[what].as_u64().is_some_and(|much| much > 0);
                let all = [2, 3].map(host).iter().all(|host| {
                    some(host, "upSeconds") && some(host, "writtenBytes") && some(host, "heldBytes")
                });
                let away = host(1)["upSeconds"].as_u64() < host(1)["watchedSeconds"].as_u64();
                let read = [2, 3].map(host).iter().any(|host| some(host, "readBytes"));
                anyhow::Ok(all && away && read)
            };
            did.await.is_ok_and(|told| told)
        },
    )
    .await
}

/// The token of the file for clients, once it is another than this one.
async fn renewed_token(community: &Community, old: &str) -> Result<String> {
    let mut renewed = old.to_owned();
    eventually(
        "there is another token for clients",
        Duration::from_secs(60),
        async || {
            if let Ok((_, now)) = community.client().await {
                renewed = now;
            }
            renewed != old
        },
    )
    .await?;
    Ok(renewed)
}

/// A follower shows what the committer told it, or what it finds in the bucket within two seconds.
async fn pull_soon(attic: &Attic, seed: u64) -> Result<()> {
    eventually("it is shown", Duration::from_secs(30), async || {
        pull(attic, seed).await.is_ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_from_an_older_kit_learns_from_the_hosts_who_was_put_out_and_which_secrets_are_in_use()
-> Result<()> {
    let mut community = Community::of(4)?;
    let (url, secret) = community.client().await?;
    let attic = Attic::new(&url, Some(&secret))?;
    community.until("whole", |status| all_up(status, 4)).await?;
    push(&attic, 1).await?;
    eventually("h4 serves clients", Duration::from_secs(60), async || {
        Stolen::of(&community, 4).is_ok()
    })
    .await?;
    let key = community.host_dir(9).with_extension("key");
    let made = community
        .hayloft()?
        .args(["recovery", "key", "--out"])
        .arg(&key)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let public = String::from_utf8(made.stdout)?;
    community.ask(&["recovery", "use", public.trim()])?;
    let old = community.host_dir(9).with_extension("kit");
    community.ask(&["recovery", "kit", "--out", &old.display().to_string()])?;

    // After that a host is put out.
    let rpc_secret = |n| std::fs::read_to_string(community.host_dir(n).join("rpc-secret"));
    let before = rpc_secret(1)?;
    community.ask(&["host", "evict", "h4", "--yes"])?;
    community
        .until("three are left", |status| all_up(status, 3))
        .await?;
    eventually("the secret is another one", Duration::from_secs(90), async || {
        rpc_secret(1).is_ok_and(|now| now != before)
    })
    .await?;
    community
        .until("nobody knows an old secret", |status| {
            status["secrets"]["knownTo"].as_array().is_some_and(Vec::is_empty)
        })
        .await?;
    let renewed = rpc_secret(1)?;

    community.kill_coordinator()?;
    std::fs::remove_dir_all(community.dir())?;
    community.restore(&old, &key)?;
    community.start_coordinator()?;
    community.until("whole again", |status| all_up(status, 3)).await?;
    let log = community.logged("coordinator");
    ensure!(log.contains("put out since: h4"), "{log}");
    for n in 1..=3 {
        ensure!(
            std::fs::read_to_string(community.host_dir(n).join("rpc-secret"))? == renewed,
            "h{n} went back"
        );
    }
    let trusted = std::fs::read_to_string(community.host_dir(1).join("trust.json"))?;
    // With its quotation marks: keys and certificates are random letters.
    ensure!(!trusted.contains("\"h4\""), "the evicted host is trusted again");

    // What h4 could make tokens with stays void; those that are made now are good.
    let renewed = renewed_token(&community, &secret).await?;
    for n in 1..=3 {
        let url = format!("http://{}:8080", community.address(n));
        let (old, new) = (
            Attic::new(&url, Some(&secret))?,
            Attic::new(&url, Some(&renewed))?,
        );
        eventually("the new token is good", Duration::from_secs(60), async || {
            push(&new, 2).await.is_ok()
        })
        .await?;
        let refused = push(&old, 3).await.err().map(|error| format!("{error:#}"));
        ensure!(
            refused.as_ref().is_some_and(|error| error.contains("401")),
            "a token that h4 could make is good at host {n}: {refused:?}"
        );
        pull_soon(&new, 1).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_leaves_is_let_go_when_it_holds_nothing_and_belongs_no_more() -> Result<()> {
    let community = Community::of(4)?;
    let (url, secret) = community.client().await?;
    community.until("whole", |status| all_up(status, 4)).await?;
    // Nothing was pushed yet, so there are no blocks that Garage would keep for ten minutes.
    let left = community
        .hayloft()?
        .args(["leave", "--yes", "--dir"])
        .arg(community.host_dir(4))
        .output()?;
    let said = String::from_utf8_lossy(&left.stdout).into_owned();
    ensure!(
        left.status.success() && said.contains("h4 has left the cluster commons"),
        "{said} {}",
        String::from_utf8_lossy(&left.stderr)
    );
    community
        .until("three are left", |status| all_up(status, 3))
        .await?;
    ensure!(
        !community.host_dir(4).join("host.key").exists(),
        "it still has its key"
    );
    let trusted = std::fs::read_to_string(community.host_dir(1).join("trust.json"))?;
    ensure!(!trusted.contains("\"h4\""), "it is still trusted");
    let attic = Attic::new(&url, Some(&secret))?;
    push(&attic, 1).await?;
    pull(&attic, 1).await
}

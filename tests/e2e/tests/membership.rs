//! Hosts come and go while Nix clients push and pull through the real gateway.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hayloft_e2e::attic_wire::{Attic, InfoIn};
use hayloft_e2e::home::Place;
use hayloft_e2e::process;
use hayloft_e2e::synthetic_nar::SyntheticNar;
use serde_json::Value;

const MIB: u64 = 1024 * 1024;

/// A client that pushes a path and pulls an earlier one, again and again.
struct Load<'a> {
    attic: &'a Attic,
    cache: &'a str,
    pushed: AtomicU64,
    pulled: AtomicU64,
    over: AtomicBool,
}

impl Load<'_> {
    fn nar(seed: u64) -> SyntheticNar {
        let size = if seed.is_multiple_of(5) { 3 * MIB } else { 60_000 };
        SyntheticNar { size, seed }
    }

    async fn run(&self) -> Result<()> {
        while !self.over.load(Ordering::Relaxed) {
            let seed = self.pushed.load(Ordering::Relaxed);
            let nar = Self::nar(seed);
            let upload = nar.upload(self.cache);
            let answer = self.attic.upload(&upload, nar.stream(), InfoIn::AsClient).await?;
            let status = answer.status();
            ensure!(
                status.is_success(),
                "push of {seed}: {status} {}",
                answer.text().await?
            );
            self.pushed.fetch_add(1, Ordering::Relaxed);
            self.pull(seed / 2).await?;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    async fn pull(&self, seed: u64) -> Result<()> {
        let nar = Self::nar(seed);
        let pulled = self
            .attic
            .pull(self.cache, &nar.hash())
            .await
            .with_context(|| format!("pull of {seed}"))?;
        ensure!(
            pulled.nar_hash == nar.upload(self.cache).nar_hash,
            "{seed} came with other bytes"
        );
        self.pulled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A person who changes the document and applies it.
struct Person<'a> {
    place: &'a Place,
    document: serde_yaml::Value,
}

impl Person<'_> {
    fn hosts(&mut self) -> Result<&mut serde_yaml::Sequence> {
        let hosts = &mut self.document["spec"]["hosts"];
        hosts.as_sequence_mut().context("a document without hosts")
    }

    /// Applies the document; with `--wait` the command returns when all is as declared.
    async fn apply(&self, more: &[&str]) -> Result<()> {
        let file = self.place.dir().with_file_name("wanted.yaml");
        std::fs::write(&file, serde_yaml::to_string(&self.document)?)?;
        let mut command = self.command(&["apply"], &file)?;
        command.args(more);
        let (status, text) = finished(command).await?;
        ensure!(status == Some(0), "apply ended with {status:?}: {text}");
        Ok(())
    }

    /// What `hayloft plan` ends with, and says.
    async fn plan(&self) -> Result<(Option<i32>, String)> {
        let file = self.place.dir().with_file_name("planned.yaml");
        std::fs::write(&file, serde_yaml::to_string(&self.document)?)?;
        finished(self.command(&["plan"], &file)?).await
    }

    fn command(&self, words: &[&str], file: &Path) -> Result<std::process::Command> {
        let mut command = self.place.hayloft()?;
        command
            .args(words)
            .arg("--dir")
            .arg(self.place.dir())
            .arg("-f")
            .arg(file);
        Ok(command)
    }

    async fn status(&self) -> Result<Value> {
        let mut command = self.place.hayloft()?;
        command
            .args(["status", "-o", "json", "--dir"])
            .arg(self.place.dir());
        let (_, text) = finished(command).await?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }
}

async fn finished(mut command: std::process::Command) -> Result<(Option<i32>, String)> {
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&text).into_owned()))
}

fn condition(status: &Value, kind: &str) -> bool {
    let conditions = status["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == true))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_joins_and_one_of_the_gateways_own_is_drained_and_clients_notice_nothing() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    let load = Load {
        attic: &attic,
        cache: &home.ready.cache,
        pushed: AtomicU64::new(0),
        pulled: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    let document = std::fs::read_to_string(place.dir().join("document.yaml"))?;
    let mut person = Person {
        place: &place,
        document: serde_yaml::from_str(&document)?,
    };
    let changes = async {
        let mut fourth = person.hosts()?.last().cloned().context("no host")?;
        fourth["name"] = "host-4".into();
        fourth["zone"] = "zone-4".into();
        person.hosts()?.push(fourth);
        let (code, text) = person.plan().await?;
        ensure!(
            code == Some(2) && text.contains("host-4"),
            "plan ended with {code:?}: {text}"
        );
        person.apply(&["--wait"]).await?;
        let status = person.status().await?;
        ensure!(condition(&status, "Placed"), "joined, and not placed: {status:#}");
        let (code, text) = person.plan().await?;
        ensure!(
            code == Some(0),
            "nothing is left to do, and plan says {code:?}: {text}"
        );

        // The gateway is started anew for this: its door stays open.
        let second = serde_yaml::from_str("{name: second, public: true}")?;
        let caches = &mut person.document["spec"]["caches"];
        caches.as_sequence_mut().context("no caches")?.push(second);
        person.apply(&["--wait"]).await?;
        process::eventually(
            "the second cache is served",
            Duration::from_secs(30),
            async || {
                let info = attic.get("/second/nix-cache-info").await;
                info.is_ok_and(|info| info.status().is_success())
            },
        )
        .await?;

        let before = status["layout"]["version"].as_u64();
        person.hosts()?[1]["state"] = "drained".into();
        person.apply(&[]).await?;
        process::eventually(
            "what host-2 held is placed",
            Duration::from_secs(150),
            async || {
                let status = person.status().await.unwrap_or_default();
                status["layout"]["version"].as_u64() > before && condition(&status, "Placed")
            },
        )
        .await?;
        load.over.store(true, Ordering::Relaxed);
        Ok(())
    };
    let ran = tokio::try_join!(load.run(), changes);
    ran.with_context(|| home.printed())?;
    let (pushed, pulled) = (
        load.pushed.load(Ordering::Relaxed),
        load.pulled.load(Ordering::Relaxed),
    );
    ensure!(
        pushed > 10 && pulled > 10,
        "next to nothing was asked for: {pushed} {pulled}"
    );
    for seed in 0..pushed {
        load.pull(seed).await?;
    }
    println!("{pushed} paths pushed and {pulled} pulled meanwhile");
    home.stop().await?;
    Ok(())
}

//! A real Nix pushes to a real three-host cache and pulls from it again.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hayloft_e2e::attic_wire::{Attic, InfoIn, Upload};
use hayloft_e2e::home::{Place, Ready};
use hayloft_e2e::nix_root::NixRoot;
use hayloft_e2e::{CLOSURE, process};
use serde_json::Value;

/// Store paths with their NARs.
type Dumps = Vec<(String, Vec<u8>)>;

/// Builds the closure and gives its top and all its paths.
fn build(nix: &NixRoot, salt: &str) -> Result<(String, Dumps)> {
    nix.write("/root/closure.nix", CLOSURE)?;
    let top = nix
        .run(
            "nix-build",
            &["--no-out-link", "/root/closure.nix", "--argstr", "salt", salt],
        )?
        .trim()
        .to_owned();
    let paths = nix.run("nix-store", &["--query", "--requisites", &top])?;
    let dumps = paths
        .lines()
        .map(|path| Ok((path.to_owned(), nix.dump(path)?)))
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        dumps.len() == 12,
        "a closure of {} paths, not of twelve",
        dumps.len()
    );
    Ok((top, dumps))
}

fn delete(nix: &NixRoot, dumps: &[(String, Vec<u8>)]) -> Result<()> {
    let mut args = vec!["--delete", "--ignore-liveness"];
    args.extend(dumps.iter().map(|(path, _)| path.as_str()));
    nix.run("nix-store", &args)?;
    for (path, _) in dumps {
        ensure!(nix.dump(path).is_err(), "{path} is still there");
    }
    nix.forget_caches()
}

/// Realises with signatures required, from this cache alone.
fn realise(nix: &NixRoot, ready: &Ready, key: &str, path: &str) -> Result<std::process::Output> {
    let substituter = format!("{}/{}", ready.gateway, ready.cache);
    nix.try_run(
        "nix-store",
        &[
            "--realise",
            path,
            "--option",
            "substituters",
            &substituter,
            "--option",
            "trusted-public-keys",
            key,
            "--option",
            "require-sigs",
            "true",
            "--option",
            "max-jobs",
            "0",
            "--option",
            "connect-timeout",
            "5",
        ],
    )
}

fn realise_and_compare(nix: &NixRoot, ready: &Ready, top: &str, dumps: &[(String, Vec<u8>)]) -> Result<()> {
    let output = realise(nix, ready, &ready.public_key, top)?;
    ensure!(
        output.status.success(),
        "nix-store --realise: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (path, before) in dumps {
        ensure!(&nix.dump(path)? == before, "{path} came back with other bytes");
    }
    Ok(())
}

fn push(nix: &NixRoot, ready: &Ready, paths: &[&str]) -> Result<String> {
    nix.write("/root/token", &ready.token)?;
    let mut args = vec![
        "push",
        "--server",
        &ready.gateway,
        "--cache",
        &ready.cache,
        "--token-file",
        "/root/token",
    ];
    args.extend(paths);
    let output = nix.try_run("hayloft", &args)?;
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success(), "hayloft push: {printed}");
    Ok(printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_pushed_by_hayloft_push_comes_back_byte_for_byte_also_after_a_restart() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let nix = NixRoot::new()?;
    let (top, dumps) = build(&nix, "one")?;

    push(&nix, &home.ready, &[&top])?;
    let again = push(&nix, &home.ready, &[&top])?;
    ensure!(
        !again.contains("pushed 12"),
        "the second push sent everything again: {again}"
    );

    delete(&nix, &dumps)?;
    let other_key = "main:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = realise(&nix, &home.ready, other_key, &top)?;
    ensure!(
        !refused.status.success(),
        "a signature by a key that is not trusted was accepted"
    );
    nix.forget_caches()?;
    realise_and_compare(&nix, &home.ready, &top, &dumps)?;

    let before = home.ready.clone();
    home.stop().await?;
    let home = place.up(&[]).await?;
    assert_eq!(home.ready.public_key, before.public_key);
    assert_eq!(home.ready.gateway, before.gateway);
    delete(&nix, &dumps)?;
    realise_and_compare(&nix, &home.ready, &top, &dumps)?;
    home.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_uploaded_on_attics_wire_is_realised_by_nix() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let nix = NixRoot::new()?;
    let (top, dumps) = build(&nix, "two")?;
    let infos = path_infos(&nix, &top)?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;

    let hashes: Vec<String> = infos
        .iter()
        .map(|(_, upload)| upload.store_path_hash.clone())
        .collect();
    assert_eq!(attic.missing(&home.ready.cache, &hashes).await?.len(), 12);
    for (index, (path, upload)) in infos.iter().enumerate() {
        let nar = dumps
            .iter()
            .find(|(p, _)| p == path)
            .context("a path without a NAR")?
            .1
            .clone();
        let blocks: Vec<_> = nar
            .chunks(64 * 1024)
            .map(|c| Ok(Bytes::copy_from_slice(c)))
            .collect();
        // Every other one with the info before the body, as for paths with many references.
        let place = if index % 2 == 0 {
            InfoIn::AsClient
        } else {
            InfoIn::Preamble
        };
        let mut upload = upload.clone();
        upload.cache.clone_from(&home.ready.cache);
        let answer = attic
            .upload(&upload, futures::stream::iter(blocks), place)
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        ensure!(text.contains("\"kind\""), "not attic's answer: {text}");
    }
    assert!(attic.missing(&home.ready.cache, &hashes).await?.is_empty());

    delete(&nix, &dumps)?;
    realise_and_compare(&nix, &home.ready, &top, &dumps)?;
    home.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_built_is_pushed_by_watch_store() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let nix = NixRoot::new()?;
    nix.write("/root/token", &home.ready.token)?;
    let mut watch = nix
        .command("hayloft")
        .args([
            "push",
            "--server",
            &home.ready.gateway,
            "--cache",
            &home.ready.cache,
            "--token-file",
            "/root/token",
        ])
        .arg("--watch-store")
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let stderr = watch.stderr.take().context("no standard error")?;
    let (says, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
            if says.send(line).is_err() {
                break;
            }
        }
    });
    // It says when it watches; what is built before that is not its business.
    said.recv_timeout(Duration::from_secs(20))
        .context("watch-store says nothing")?;

    let (_, dumps) = build(&nix, "three")?;
    let hashes: Vec<String> = dumps.iter().map(|(path, _)| hash_part(path).to_owned()).collect();
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    process::eventually(
        "all twelve paths are in the cache",
        Duration::from_secs(60),
        async || {
            attic
                .missing(&home.ready.cache, &hashes)
                .await
                .is_ok_and(|missing| missing.is_empty())
        },
    )
    .await?;
    let _ = watch.kill();
    let _ = watch.wait();
    home.stop().await?;
    Ok(())
}

fn hash_part(path: &str) -> &str {
    path.trim_start_matches("/nix/store/")
        .get(..32)
        .unwrap_or_default()
}

/// What attic's client would send of each path of a closure.
fn path_infos(nix: &NixRoot, top: &str) -> Result<Vec<(String, Upload)>> {
    let infos: Value = serde_json::from_str(&nix.run("nix", &["path-info", "--json", "--recursive", top])?)?;
    let base = |path: &str| path.trim_start_matches("/nix/store/").to_owned();
    let text = |value: &Value| value.as_str().map(str::to_owned).context("not a text");
    infos
        .as_object()
        .context("not a map of paths")?
        .iter()
        .map(|(path, info)| {
            let sri = text(&info["narHash"])?;
            let nar_hash = nix
                .run("nix", &["hash", "convert", "--to", "base16", &sri])?
                .trim()
                .to_owned();
            let references = info["references"].as_array().context("no references")?;
            let upload = Upload {
                cache: String::new(),
                store_path_hash: hash_part(path).to_owned(),
                store_path: path.clone(),
                references: references
                    .iter()
                    .map(|r| text(r).map(|r| base(&r)))
                    .collect::<Result<_>>()?,
                system: None,
                deriver: None,
                sigs: Vec::new(),
                ca: None,
                nar_hash: format!("sha256:{nar_hash}"),
                nar_size: info["narSize"].as_u64().context("no narSize")?,
            };
            Ok((path.clone(), upload))
        })
        .collect()
}

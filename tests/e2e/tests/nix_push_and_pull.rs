//! A real Nix pushes to a real three-host cache and pulls from it again.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hayloft_e2e::attic_wire::{Attic, InfoIn, Upload};
use hayloft_e2e::closure::{Closure, hash_part};
use hayloft_e2e::home::{Place, Ready};
use hayloft_e2e::nix_root::NixRoot;
use hayloft_e2e::process;
use serde_json::Value;

/// Realises with signatures required, from this cache alone.
fn try_realise(nix: &NixRoot, ready: &Ready, key: &str, path: &str) -> Result<Output> {
    let substituter = format!("{}/{}", ready.gateway, ready.cache);
    let mut args = vec!["--realise", path, "--max-jobs", "0"];
    for (option, value) in [
        ("substituters", substituter.as_str()),
        ("trusted-public-keys", key),
        ("require-sigs", "true"),
        ("connect-timeout", "5"),
    ] {
        args.extend(["--option", option, value]);
    }
    nix.try_run("nix-store", &args)
}

fn realise_and_compare(nix: &NixRoot, ready: &Ready, closure: &Closure) -> Result<()> {
    let output = try_realise(nix, ready, &ready.public_key, &closure.top)?;
    ensure!(
        output.status.success(),
        "nix-store --realise: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    closure.compare(nix)
}

fn push(nix: &NixRoot, ready: &Ready, cache: &str, paths: &[&str]) -> Result<String> {
    nix.write("/root/token", &ready.token)?;
    let mut args = vec![
        "push",
        "--server",
        &ready.gateway,
        "--cache",
        cache,
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
    let closure = Closure::build(&nix, "one")?;

    push(&nix, &home.ready, &home.ready.cache, &[&closure.top])?;
    let again = push(&nix, &home.ready, &home.ready.cache, &[&closure.top])?;
    ensure!(
        again.contains("12") && !again.contains("ushed 12"),
        "the second push sent everything again: {again}"
    );

    closure.delete(&nix)?;
    let other_key = "main:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let refused = try_realise(&nix, &home.ready, other_key, &closure.top)?;
    ensure!(
        !refused.status.success(),
        "a signature by a key that is not trusted was accepted"
    );
    nix.forget_caches()?;
    realise_and_compare(&nix, &home.ready, &closure)?;

    let before = home.ready.clone();
    home.stop().await?;
    let home = place.up(&[]).await?;
    assert_eq!(home.ready.public_key, before.public_key);
    assert_eq!(home.ready.gateway, before.gateway);
    closure.delete(&nix)?;
    realise_and_compare(&nix, &home.ready, &closure)?;
    home.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_uploaded_on_attics_wire_is_realised_by_nix() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let nix = NixRoot::new()?;
    let closure = Closure::build(&nix, "two")?;
    let uploads = uploads(&nix, &home.ready.cache, &closure)?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;

    assert_eq!(
        attic.missing(&home.ready.cache, &closure.hashes()).await?.len(),
        12
    );
    for (index, upload) in uploads.iter().enumerate() {
        let path = &upload.store_path;
        let nar = closure
            .nars
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
        let answer = attic.upload(upload, futures::stream::iter(blocks), place).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        ensure!(text.contains("\"kind\""), "not attic's answer: {text}");
    }
    assert!(
        attic
            .missing(&home.ready.cache, &closure.hashes())
            .await?
            .is_empty()
    );

    closure.delete(&nix)?;
    realise_and_compare(&nix, &home.ready, &closure)?;
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
        ])
        .args(["--token-file", "/root/token", "--watch-store"])
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = watch.stderr.take().context("no standard error")?;
    let (says, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
            // Its pipe must be read to the end, whether or not anyone listens any more.
            let _ = says.send(line);
        }
    });
    // It says when it watches; what is built before that is not its business.
    said.recv_timeout(Duration::from_secs(20))
        .context("watch-store says nothing")?;

    let closure = Closure::build(&nix, "three")?;
    let attic = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    process::eventually(
        "all twelve paths are in the cache",
        Duration::from_secs(60),
        async || {
            attic
                .missing(&home.ready.cache, &closure.hashes())
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

#[tokio::test(flavor = "multi_thread")]
async fn after_hayloft_use_nix_takes_paths_from_a_private_cache_by_itself() -> Result<()> {
    let place = Place::new()?;
    let home = place.up(&[]).await?;
    let nix = NixRoot::new()?;
    let closure = Closure::build(&nix, "four")?;
    let owner = Attic::new(&home.ready.gateway, Some(&home.ready.token))?;
    assert_eq!(owner.create_cache("secret", false).await?, 200);
    push(&nix, &home.ready, "secret", &[&closure.top])?;
    closure.delete(&nix)?;

    let own = "substituters =\n# a line of the user's own\n";
    nix.write("/root/.config/nix/nix.conf", own)?;
    let realise = ["--realise", closure.top.as_str(), "--max-jobs", "0"];
    ensure!(
        !nix.try_run("nix-store", &realise)?.status.success(),
        "it was there without any cache"
    );
    nix.run(
        "hayloft",
        &[
            "use",
            "secret",
            "--server",
            &home.ready.gateway,
            "--token-file",
            "/root/token",
            "--write",
        ],
    )?;
    let conf = nix.run("cat", &["/root/.config/nix/nix.conf"])?;
    ensure!(
        conf.starts_with(own),
        "the user's own lines were not kept:\n{conf}"
    );
    nix.forget_caches()?;
    nix.run("nix-store", &realise)?;
    closure.compare(&nix)?;

    // Without the password the cache is as good as absent.
    closure.delete(&nix)?;
    nix.run("sh", &["-c", "rm $(nix config show netrc-file)"])?;
    ensure!(
        !nix.try_run("nix-store", &realise)?.status.success(),
        "a private cache gave paths to a stranger"
    );
    home.stop().await?;
    Ok(())
}

/// What attic's client would send of each path of a closure.
fn uploads(nix: &NixRoot, cache: &str, closure: &Closure) -> Result<Vec<Upload>> {
    let infos: Value =
        serde_json::from_str(&nix.run("nix", &["path-info", "--json", "--recursive", &closure.top])?)?;
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
            Ok(Upload {
                cache: cache.to_owned(),
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
            })
        })
        .collect()
}

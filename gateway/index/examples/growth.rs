//! How fast an index of a given size takes what is pushed: `growth FILE PATHS FRAMES ROUND`. The file is filled with made-up
//! rows when it is not there. Each round pushes 100 packs of 600 new frames, 10 frames a path, as the gateway does:
//! look for pieces, ask for facts, apply.

#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use std::path::Path;
use std::time::Instant;

use hayloft_index::{Index, synthetic};
use hayloft_store::Digest;
use hayloft_store::key::{EpochId, LogPlace, PackName, Position};
use hayloft_store::log::record::{PackRecord, PathRecord, Record};
use hayloft_store::manifest::Manifest;
use hayloft_store::pack::PackedFrame;

type Failure = Box<dyn std::error::Error>;

const PACKS: u64 = 100;
const FRAMES: u64 = 600;
const PER_PATH: u64 = 10;
/// The characters of a store path's hash.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, paths, frames, round] = args.as_slice() else {
        return Err("usage: growth FILE PATHS FRAMES ROUND".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(
        Path::new(file),
        paths.parse()?,
        frames.parse()?,
        round.parse()?,
    ))
}

async fn run(file: &Path, paths: u64, frames: u64, round: u64) -> Result<(), Failure> {
    if !file.exists() {
        let index = Index::open(file).await?;
        index
            .apply(&[synthetic::cache("main".parse()?)], position(0, 0))
            .await?;
        index.close().await;
        if paths > 0 {
            synthetic::fill(file, paths, frames, |_| {}).await?;
        }
    }
    let begin = Instant::now();
    let index = Index::open(file).await?;
    let opened = begin.elapsed();
    // As the gateway does it in the background.
    let begin = Instant::now();
    let digests = index.learn_digests().await?;
    let learnt = begin.elapsed();
    let size = std::fs::metadata(file)?.len();
    let (mut look, mut facts, mut apply) = (0.0, 0.0, 0.0);
    for pack in 0..PACKS {
        let records = records(round, pack)?;
        let [Record::PackAdded(added), paths @ ..] = records.as_slice() else {
            return Err("no pack".into());
        };
        let begin = Instant::now();
        for frames in added.frames.chunks(64) {
            let pieces: Vec<Digest> = frames.iter().map(|frame| frame.piece).collect();
            index.frames_of(&pieces).await?;
        }
        look += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        index.facts(paths).await?;
        facts += begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        index.apply(&records, position(round, pack)).await?;
        apply += begin.elapsed().as_secs_f64();
    }
    index.close().await;
    let rate = 60_000.0 / (look + facts + apply);
    println!(
        "{} MB, opened in {opened:.1?}, {digests} digests learnt in {learnt:.1?}; 60000 frames: look {look:.2} s, facts {facts:.2} s, apply {apply:.2} s: {rate:.0} frames/s",
        size / 1_000_000
    );
    Ok(())
}

fn position(round: u64, pack: u64) -> Position {
    let epoch = EpochId {
        number: 1,
        instance: 1,
    };
    Position {
        place: LogPlace {
            epoch,
            seq: 1 + round * PACKS + pack,
        },
        digest: Digest::ZERO,
    }
}

/// A pack of new frames, and the paths that are made of them.
fn records(round: u64, pack: u64) -> Result<Vec<Record>, Failure> {
    let digest = |what: u8, n: u64| {
        let mut seed = [round.to_le_bytes(), pack.to_le_bytes(), n.to_le_bytes()].concat();
        seed.push(what);
        Digest::of(&seed)
    };
    let frames: Vec<PackedFrame> = (0..FRAMES)
        .map(|n| PackedFrame {
            piece: digest(1, n),
            frame: digest(2, n),
            stored: 24_000,
            raw: 65_000,
        })
        .collect();
    let mut name = [0; 16];
    name.copy_from_slice(digest(3, 0).as_bytes().get(..16).ok_or("short")?);
    let mut records = vec![Record::PackAdded(PackRecord {
        name: PackName(name),
        digest: Digest::ZERO,
        size: 16_000_000,
        frames: frames.clone(),
    })];
    for (n, frames) in (0_u64..).zip(frames.chunks(usize::try_from(PER_PATH)?)) {
        let mut manifest = Manifest::default();
        for frame in frames {
            manifest.push_frame(frame.frame, frame.stored, frame.raw);
        }
        let hash: String = digest(4, n)
            .as_bytes()
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte % 32)))
            .map(|byte| char::from(*byte))
            .collect();
        records.push(Record::PathAdded(PathRecord {
            cache: "main".parse()?,
            path: format!("/nix/store/{hash}-pushed-{n}").parse()?,
            nar_hash: *digest(5, n).as_bytes(),
            nar_size: manifest.raw(),
            references: vec![],
            deriver: None,
            ca: None,
            sigs: vec![],
            created_by: None,
            created_at: 9,
            manifest: manifest.encode()?,
        }));
    }
    Ok(records)
}

//! `cargo run --release -p hayloft-bench --bin hayloft-study -- FOLDER`: what each way to cut would store of the bench's
//! corpora, which lie in FOLDER.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use hayloft_bench::corpus::Corpora;
use hayloft_bench::study::{Blank, Study, Way};

const USUAL: Way = Way {
    average: 64 * 1024,
    blank: Blank::All,
    files: None,
    level: 3,
};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let corpora = Corpora::find_or_make(&folder.context("name the folder of the corpora")?, false)?;
    let (first, second) = (corpora.load(&corpora.first)?, corpora.load(&corpora.second)?);
    let rebuilt = corpora.load(&corpora.rebuilt)?;
    let kib = 1024;
    let ways = [
        USUAL,
        Way {
            average: 32 * kib,
            ..USUAL
        },
        Way {
            average: 128 * kib,
            ..USUAL
        },
        Way {
            average: 256 * kib,
            ..USUAL
        },
        Way {
            blank: Blank::Own,
            ..USUAL
        },
        Way {
            blank: Blank::Nothing,
            ..USUAL
        },
        Way {
            files: Some(4 * kib),
            ..USUAL
        },
        Way {
            files: Some(32 * kib),
            ..USUAL
        },
        Way {
            files: Some(256 * kib),
            ..USUAL
        },
        Way { level: 1, ..USUAL },
        Way { level: 6, ..USUAL },
        Way { level: 9, ..USUAL },
    ];
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| average | blanked | files from | level | first, MB | frames | second, MB | rebuilt, MB | s |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|")?;
    for way in ways {
        let begin = std::time::Instant::now();
        let mut study = Study::new(way)?;
        let first = study.add(&first)?;
        let took = begin.elapsed().as_secs_f64();
        let (second, rebuilt) = (study.add(&second)?, study.add(&rebuilt)?);
        let files = way
            .files
            .map_or("–".to_owned(), |least| format!("{} KiB", least / kib));
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let megabytes = |stored: hayloft_bench::study::Stored| (stored.frames + stored.literals) as f64 / 1e6;
        writeln!(
            out,
            "| {} KiB | {:?} | {files} | {} | {:.1} | {} | {:.1} | {:.1} | {took:.1} |",
            way.average / kib,
            way.blank,
            way.level,
            megabytes(first),
            first.count,
            megabytes(second),
            megabytes(rebuilt),
        )?;
    }
    Ok(())
}

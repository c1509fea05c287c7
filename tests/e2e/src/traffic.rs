//! What clients of a community do: paths of 5 MiB, one for each number.

use anyhow::{Result, ensure};

use crate::attic_wire::{Attic, InfoIn};
use crate::synthetic_nar::SyntheticNar;

const SIZE: u64 = 5 * 1024 * 1024;
const CACHE: &str = "main";

/// Pushes the path of that number.
///
/// # Errors
/// When it is not taken.
pub async fn push(attic: &Attic, seed: u64) -> Result<()> {
    let nar = SyntheticNar { size: SIZE, seed };
    let answer = attic
        .upload(&nar.upload(CACHE), nar.stream(), InfoIn::AsClient)
        .await?;
    let status = answer.status();
    ensure!(
        status.is_success(),
        "push of {seed}: {status} {}",
        answer.text().await?
    );
    Ok(())
}

/// Pulls it.
///
/// # Errors
/// When it is not there, or comes with other bytes.
pub async fn pull(attic: &Attic, seed: u64) -> Result<()> {
    let nar = SyntheticNar { size: SIZE, seed };
    let pulled = attic.pull(CACHE, &nar.hash()).await?;
    ensure!(
        pulled.nar_hash == nar.upload(CACHE).nar_hash,
        "{seed} came with other bytes"
    );
    Ok(())
}

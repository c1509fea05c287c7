//! `check-config`: says "ok", or the first thing that is wrong.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use crate::config;
use crate::depot::LinkTls;

pub(super) fn run(path: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = config::load(path)?;
    if let Some(fleet) = &config.fleet {
        LinkTls::load(fleet.files.clone())?;
    }
    let line = format!(
        "{} is good: listens on {}, {} declared",
        path.display(),
        config.listen,
        match config.caches.len() {
            1 => "1 cache".to_owned(),
            n => format!("{n} caches"),
        }
    );
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

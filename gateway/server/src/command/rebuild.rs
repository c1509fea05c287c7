//! `rebuild`: throws the index away and makes it again from the bucket.

use std::error::Error;
use std::path::Path;

use super::Outside;
use crate::config;

pub(super) async fn run(path: &Path, outside: &Outside) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = config::load(path)?;
    let _ = (config, outside);
    Err("not yet".into())
}

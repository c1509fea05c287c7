//! `hayloft use`: makes this user's Nix take paths from a cache.

mod advice;
mod local_nix;
mod netrc;
mod nix_conf;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use hayloft_agent::files;
use hayloft_nixcache::CacheName;
use url::Url;

use crate::client;
use crate::client::backoff::Policy;
use crate::client::gateway::{Gateway, Notice};
use crate::client::settings::{self, ServerArgs};
use crate::client::token::{Token, powers};
use crate::context::Context;
use advice::CacheLines;
use local_nix::LocalNix;
use netrc::Outcome;
use nix_conf::NixConf;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  hayloft use main                                         # shows what to add to nix.conf\n  hayloft use main --write                                 # adds it to your own nix.conf\n  hayloft use main --server https://cache.example.org --token-file ~/token --write\n\nOnly what is missing is added; nothing that stands in the files is dropped."
)]
pub(crate) struct Args {
    /// The cache to use
    #[arg(value_name = "CACHE")]
    cache: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Change your own nix.conf (and netrc, for a private cache) instead of showing what to change
    #[arg(long)]
    write: bool,
    /// Replace another key of the same name, as after a cache was made anew
    #[arg(long, requires = "write")]
    replace_key: bool,
    /// Replace a netrc entry of the same host that was not made for a cache
    #[arg(long, requires = "write")]
    replace_login: bool,
}

/// Where the files of this user lie.
#[derive(Debug)]
struct Places {
    /// The `nix.conf` that is read last, so that its values count.
    nix_conf: PathBuf,
    /// The netrc file to make when there is none to edit.
    own_netrc: PathBuf,
}

impl Places {
    fn of(context: &Context) -> anyhow::Result<Places> {
        let home = context
            .env
            .xdg("XDG_CONFIG_HOME", ".config")
            .context("there is no home folder: set HOME or XDG_CONFIG_HOME")?;
        // Of several user files, Nix lets the first one win.
        let listed = context
            .env
            .text("NIX_USER_CONF_FILES")
            .and_then(|list| list.split(':').find(|path| !path.is_empty()));
        let nix_conf = listed.map_or_else(|| home.join("nix/nix.conf"), PathBuf::from);
        Ok(Places {
            nix_conf,
            own_netrc: home.join("nix/netrc"),
        })
    }
}

/// Shows or makes the changes.
pub(crate) async fn run(args: Args, context: &mut Context) -> anyhow::Result<()> {
    let target = settings::resolve(
        &args.server,
        Some(&args.cache),
        &settings::Environment::of(context),
    )?;
    let cache = target.cache.context("which cache?")?;
    let notice: Notice = Arc::new(|_| ());
    let gateway = Gateway::new(
        target.server,
        target.token.as_ref(),
        Policy::BRISK,
        client::seed(context),
        notice,
    )?;
    let config = gateway.cache_config(&cache).await?;
    let (Some(url), Some(key)) = (config.substituter_endpoint, config.public_key) else {
        bail!(
            "the gateway at {} does not say where the cache {cache} is and which key it has",
            gateway.server()
        );
    };
    let private = config.is_public == Some(false);
    let lines = CacheLines {
        url,
        key: key.to_string(),
        private,
    };
    let places = Places::of(context)?;
    if !args.write {
        context.say(&advice::to_paste(&lines, &places.nix_conf, &cache));
        return Ok(());
    }
    let nix = LocalNix::default();
    let token = if private { target.token.as_ref() } else { None };
    let edits = Edits {
        replace_key: args.replace_key,
        replace_login: args.replace_login,
    };
    let told = write(&lines, token, &cache, &places, &nix, edits).await?;
    for line in told {
        context.say(&line);
    }
    match nix.trusts_us().await {
        Some(true) => {}
        Some(false) => context.note(&advice::untrusted(&lines)),
        None => context.note(advice::MAYBE_UNTRUSTED),
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Edits {
    replace_key: bool,
    replace_login: bool,
}

/// Makes the changes and returns what to say about them.
async fn write(
    lines: &CacheLines,
    token: Option<&Token>,
    cache: &CacheName,
    places: &Places,
    nix: &LocalNix,
    edits: Edits,
) -> anyhow::Result<Vec<String>> {
    let nix_conf = followed(&places.nix_conf)?;
    let before = read(&nix_conf)?;
    let mut conf = NixConf::parse(&before);
    conf.add_substituter(&lines.url);
    if let Err(error) = conf.add_trusted_key(&lines.key, edits.replace_key) {
        bail!(
            "{}: {error}, and Nix uses only the first key of a name; if the cache was made anew, --replace-key puts its new key there",
            nix_conf.display()
        );
    }
    let mut told = Vec::new();
    if let Some(token) = token {
        told.extend(write_netrc(lines, token, cache, places, nix, edits, &mut conf).await?);
    }
    let after = conf.render();
    if after == before {
        told.push(format!("{} has the cache already", nix_conf.display()));
    } else {
        make_folder_of(&nix_conf)?;
        files::replace(&nix_conf, after.as_bytes(), mode_of(&nix_conf).unwrap_or(0o644))?;
        told.push(format!(
            "{}: Nix takes paths from {} now",
            nix_conf.display(),
            lines.url
        ));
    }
    Ok(told)
}

/// Puts the token where Nix looks for it: into the netrc file that counts for this user.
async fn write_netrc(
    lines: &CacheLines,
    token: &Token,
    cache: &CacheName,
    places: &Places,
    nix: &LocalNix,
    edits: Edits,
    conf: &mut NixConf,
) -> anyhow::Result<Vec<String>> {
    let url = Url::parse(&lines.url)
        .with_context(|| format!("the gateway names {:?} as the cache's place", lines.url))?;
    let host = url
        .host_str()
        .context("the cache's URL names no host")?
        .trim_matches(['[', ']'])
        .to_owned();
    let mut told = Vec::new();
    let path = match conf.value("netrc-file") {
        Some(named) => PathBuf::from(named),
        None => match nix.netrc_file().await {
            Some(in_force) if local_nix::may_write(&in_force) => in_force,
            in_force => {
                let own = places.own_netrc.clone();
                conf.push("netrc-file", &own.to_string_lossy());
                if let Some(other) = in_force.filter(|other| other.exists() && *other != own) {
                    told.push(format!(
                        "{} is read instead of {} from now on: Nix reads only one; add what you need of it",
                        own.display(),
                        other.display()
                    ));
                }
                own
            }
        },
    };
    let path = followed(&path)?;
    let (after, outcome) = netrc::set_password(&read(&path)?, &host, token.expose(), edits.replace_login)
        .map_err(|error| anyhow!("{}: {error}; --replace-login replaces that entry", path.display()))?;
    make_folder_of(&path)?;
    files::replace(&path, after.as_bytes(), 0o600)?;
    match outcome {
        Outcome::Unchanged => {}
        Outcome::Added => told.push(format!("{}: holds the token for {host} now", path.display())),
        Outcome::Replaced { before } => {
            told.push(format!(
                "{}: the token for {host} is another one now",
                path.display()
            ));
            told.extend(advice::lost_by(&before, token.expose(), &host));
        }
    }
    if powers(token.expose()).is_some_and(|claims| advice::does_more_than_pull(&claims, cache)) {
        told.push(format!(
            "this token may do more than pull from {cache}: a token for pulling alone is safer in a file"
        ));
    }
    Ok(told)
}

/// Where a file really lies. A link into the Nix store is made by something else, which would only undo an edit.
fn followed(path: &Path) -> anyhow::Result<PathBuf> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
    };
    if real != path && real.starts_with("/nix/store") {
        bail!(
            "{} is made by Home Manager or NixOS: add there what `hayloft use` shows without --write",
            path.display()
        );
    }
    Ok(real)
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make_folder_of(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path)
        .ok()
        .map(|facts| facts.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests;

use std::os::unix::fs::{PermissionsExt as _, symlink};

use hayloft_nixcache::token::{CachePattern, Claims, Grants, mint_hs256};

use super::*;

const URL: &str = "https://cache.example.org/main";
const KEY: &str = "main:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

struct Room {
    dir: tempfile::TempDir,
    places: Places,
}

fn room() -> Room {
    let dir = tempfile::tempdir().expect("makes a folder");
    let config = dir.path().join("config/nix");
    let places = Places {
        nix_conf: config.join("nix.conf"),
        own_netrc: config.join("netrc"),
    };
    Room { dir, places }
}

impl Room {
    /// A `nix` that knows only where its netrc file is.
    fn nix(&self, netrc: &str) -> LocalNix {
        let nix = self.dir.path().join("nix");
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = \"--extra-experimental-features nix-command config show netrc-file\" ] && echo '{netrc}'\n"
        );
        fs::write(&nix, script).expect("writes");
        fs::set_permissions(&nix, fs::Permissions::from_mode(0o755)).expect("sets");
        LocalNix::at(&nix)
    }

    async fn write(&self, private: bool, token: Option<&str>, nix: &LocalNix) -> anyhow::Result<Vec<String>> {
        let lines = CacheLines {
            url: URL.to_owned(),
            key: KEY.to_owned(),
            private,
        };
        let token = token.map(Token::new);
        let cache = "main".parse().expect("is a name");
        write(
            &lines,
            token.as_ref(),
            &cache,
            &self.places,
            nix,
            Edits::default(),
        )
        .await
    }

    fn conf(&self) -> String {
        fs::read_to_string(&self.places.nix_conf).unwrap_or_default()
    }
}

fn token(patterns: &[&str], push: bool) -> String {
    let mut grants = Grants::default();
    for pattern in patterns {
        let pattern: CachePattern = pattern.parse().expect("is a pattern");
        let permissions = grants.entry(pattern);
        permissions.pull = true;
        permissions.push = push;
    }
    mint_hs256(b"secret", &Claims::new(grants)).expect("signs")
}

#[tokio::test]
async fn a_public_cache_needs_no_token_and_a_second_time_changes_nothing() {
    let room = room();
    let nix = room.nix("/etc/nix/netrc");
    let told = room
        .write(false, Some("jwt").filter(|_| false), &nix)
        .await
        .expect("writes");
    assert_eq!(
        room.conf(),
        format!("extra-substituters = {URL}\nextra-trusted-public-keys = {KEY}\n")
    );
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!room.places.own_netrc.exists());
    let told = room.write(false, None, &nix).await.expect("writes");
    assert!(told[0].ends_with("has the cache already"), "{told:?}");
}

#[tokio::test]
async fn a_private_cache_gets_a_netrc_that_nobody_else_can_read() {
    let room = room();
    let token = token(&["main"], false);
    let told = room
        .write(true, Some(&token), &room.nix("/proc/no/netrc"))
        .await
        .expect("writes");
    let netrc = fs::read_to_string(&room.places.own_netrc).expect("is there");
    assert_eq!(
        netrc,
        format!("machine cache.example.org\nlogin hayloft\npassword {token}\n")
    );
    let mode = fs::metadata(&room.places.own_netrc)
        .expect("is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        room.conf()
            .ends_with(&format!("netrc-file = {}\n", room.places.own_netrc.display())),
        "{}",
        room.conf()
    );
    assert!(
        told.iter().all(|line| !line.contains(&token)),
        "the token is never shown"
    );
    room.write(true, Some(&token), &room.nix("/proc/no/netrc"))
        .await
        .expect("writes again");
    assert_eq!(room.conf().matches("netrc-file").count(), 1);
}

#[tokio::test]
async fn the_netrc_file_that_counts_is_edited_when_it_may_be() {
    let room = room();
    let in_force = room.dir.path().join("netrc-in-force");
    fs::write(&in_force, "machine other.example password x\n").expect("writes");
    room.write(true, Some("a.b.c"), &room.nix(&in_force.to_string_lossy()))
        .await
        .expect("writes");
    let text = fs::read_to_string(&in_force).expect("is there");
    assert_eq!(
        text,
        "machine other.example password x\nmachine cache.example.org\nlogin hayloft\npassword a.b.c\n"
    );
    assert!(!room.conf().contains("netrc-file"));

    let named = room.dir.path().join("named");
    fs::write(
        &room.places.nix_conf,
        format!("netrc-file = {}\n", named.display()),
    )
    .expect("writes");
    room.write(true, Some("a.b.c"), &room.nix("/proc/no/netrc"))
        .await
        .expect("writes");
    assert!(named.exists(), "the user's own setting wins");
}

#[tokio::test]
async fn a_token_that_loses_another_cache_of_the_host_is_told() {
    let room = room();
    let nix = room.nix("/proc/no/netrc");
    room.write(true, Some(&token(&["team", "main"], false)), &nix)
        .await
        .expect("writes");
    let told = room
        .write(true, Some(&token(&["main"], true)), &nix)
        .await
        .expect("writes")
        .join("\n");
    assert!(told.contains("good for team as well"), "{told}");
    assert!(told.contains("may do more than pull"), "{told}");
}

#[tokio::test]
async fn a_file_that_is_a_link_stays_one_and_one_into_the_store_is_refused() {
    let room = room();
    let real = room.dir.path().join("dotfiles.conf");
    fs::write(&real, "max-jobs = 4\n").expect("writes");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("sets");
    fs::create_dir_all(room.places.nix_conf.parent().expect("has one")).expect("makes");
    symlink(&real, &room.places.nix_conf).expect("links");
    room.write(false, None, &room.nix("/x")).await.expect("writes");
    assert!(room.places.nix_conf.is_symlink());
    assert!(
        fs::read_to_string(&real)
            .expect("is there")
            .starts_with("max-jobs = 4\nextra-substituters")
    );
    assert_eq!(
        fs::metadata(&real).expect("is there").permissions().mode() & 0o777,
        0o640
    );
}

#[tokio::test]
async fn a_stale_key_stops_the_edit_before_anything_is_written() {
    let room = room();
    fs::create_dir_all(room.places.nix_conf.parent().expect("has one")).expect("makes");
    fs::write(&room.places.nix_conf, "extra-trusted-public-keys = main:OLD=\n").expect("writes");
    let refused = room
        .write(true, Some("a.b.c"), &room.nix("/proc/no/netrc"))
        .await
        .expect_err("refuses");
    assert_eq!(
        format!("{refused:#}"),
        format!(
            "{}: another key named main is trusted already (main:OLD=), and Nix uses only the first key of a name; if the cache was \
             made anew, --replace-key puts its new key there",
            room.places.nix_conf.display()
        ),
        "first what is so, then what to do"
    );
    assert_eq!(room.conf(), "extra-trusted-public-keys = main:OLD=\n");
    assert!(!room.places.own_netrc.exists());
}

#[tokio::test]
async fn a_login_of_somebody_else_is_told_before_what_to_do_about_it() {
    let room = room();
    let netrc = room.dir.path().join("netrc");
    let text = "machine cache.example.org login ada password x\n";
    fs::write(&netrc, text).expect("writes");
    let refused = room
        .write(true, Some("a.b.c"), &room.nix(&netrc.to_string_lossy()))
        .await
        .expect_err("refuses");
    assert_eq!(
        format!("{refused:#}"),
        format!(
            "{}: there is an entry for cache.example.org with the login ada already; --replace-login replaces that entry",
            netrc.display()
        )
    );
    assert_eq!(fs::read_to_string(&netrc).expect("is there"), text);
}

#[test]
fn what_to_paste_reads_well() {
    let nix_conf = Path::new("/home/ada/.config/nix/nix.conf");
    let cache = "main".parse().expect("is a name");
    let public = CacheLines {
        url: URL.to_owned(),
        key: KEY.to_owned(),
        private: false,
    };
    insta::assert_snapshot!("public", advice::to_paste(&public, nix_conf, &cache));
    let private = CacheLines {
        private: true,
        ..public
    };
    insta::assert_snapshot!("private", advice::to_paste(&private, nix_conf, &cache));
    insta::assert_snapshot!("untrusted", advice::untrusted(&private));
}

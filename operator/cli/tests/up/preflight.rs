//! What keeps `hayloft up` from starting is one clear line, and nothing is damaged.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Tmpfs, Up, finish, hayloft, one_line, run, script, until};
use rustix::process::Signal;

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "precious").unwrap();
    let below = file.join("cache");
    for dir in [&file, &below] {
        let error = one_line(&run(&["up", "--dir", dir.to_str().unwrap(), "--port", "0"]));
        assert!(
            error.contains(dir.to_str().unwrap()) && error.contains("--dir"),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let read_only = temp.path().join("read-only");
    if let Some(_mounted) = Tmpfs::mount(&read_only, "ro,size=1m") {
        for dir in [read_only.clone(), read_only.join("cache")] {
            let error = one_line(&run(&["up", "--dir", dir.to_str().unwrap(), "--port", "0"]));
            assert!(
                error.contains("Read-only file system") && error.contains("--dir"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_ready_file_that_cannot_be_written_is_told_before_anything_runs() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let file = temp.path().join("nowhere/ready.json");
    let args = [
        "up",
        "--dir",
        dir.to_str().unwrap(),
        "--port",
        "0",
        "--ready-file",
        file.to_str().unwrap(),
    ];
    let error = one_line(&run(&args));
    assert!(
        error.contains("nowhere/ready.json") && error.contains("--ready-file"),
        "{error}"
    );
    assert!(!dir.join("hosts").exists());
}

#[test]
fn a_full_disk_is_told_before_anything_is_made() {
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    if let Some(_mounted) = Tmpfs::mount(&disk, "size=64m") {
        let dir = disk.join("cache");
        let error = one_line(&run(&["up", "--dir", dir.to_str().unwrap(), "--port", "0"]));
        assert!(
            error.contains("holds 64 MiB") && error.contains("--dir"),
            "{error}"
        );
        assert!(!dir.join("hosts").exists());
    }
    if let Some(_mounted) = Tmpfs::mount(&disk, "size=1200m") {
        let filled = Command::new("fallocate")
            .args(["-l", "1000m"])
            .arg(disk.join("filler"))
            .status()
            .unwrap();
        assert!(filled.success());
        let dir = disk.join("cache");
        let error = one_line(&run(&["up", "--dir", dir.to_str().unwrap(), "--port", "0"]));
        assert!(error.contains("512 MiB are needed"), "{error}");
        assert!(!dir.join("hosts").exists());
    }
}

#[test]
fn a_disk_that_fills_is_told_and_the_rest_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let disk = temp.path().join("disk");
    if let Some(_mounted) = Tmpfs::mount(&disk, "size=1300m") {
        let dir = disk.join("cache");
        let up = Up::start(&dir, &["--hosts", "1"]);
        let ready = up.ready();
        let filler = disk.join("filler");
        let filled = Command::new("fallocate")
            .args(["-l", "1200m"])
            .arg(&filler)
            .status()
            .unwrap();
        assert!(filled.success());
        up.line(&["host-1: the disk is full"]);
        crate::support::get(&ready, "main/nix-cache-info").unwrap();
        fs::remove_file(&filler).unwrap();
        up.line(&["host-1: the disk has space again"]);
        assert!(up.end(Signal::TERM).0.success());
    }
}

#[test]
fn a_garage_of_another_version_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    for (said, expected) in [
        ("garage v1.3.0 [features: lmdb]", "another major version"),
        ("garage cargo:3.0.0 [features: lmdb]", "another major version"),
        ("garage v2.4.9 [features: lmdb]", "too old"),
        ("I grow tomatoes", "does not answer as Garage does"),
    ] {
        let garage = script(&temp.path().join("fake/garage"), &format!("echo '{said}'"));
        let command = &mut hayloft();
        let output = finish(
            command
                .env("HAYLOFT_GARAGE", &garage)
                .args(["up", "--port", "0", "--dir"])
                .arg(&dir),
        );
        let error = one_line(&output);
        assert!(
            error.contains(expected) && error.contains(garage.to_str().unwrap()),
            "{error}"
        );
        assert!(error.contains("HAYLOFT_GARAGE"), "{error}");
    }
    assert!(!dir.join("hosts").exists());
}

#[test]
fn a_named_garage_that_is_none_is_told_in_a_short_line() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let tell = |garage: &Path| {
        let command = &mut hayloft();
        command
            .env("HAYLOFT_GARAGE", garage)
            .args(["up", "--port", "0", "--dir"]);
        one_line(&finish(command.arg(&dir)))
    };
    assert_eq!(
        tell(Path::new("/nowhere")),
        "hayloft: HAYLOFT_GARAGE names /nowhere, which does not exist; set it to the `garage` program, or unset it"
    );
    let error = tell(temp.path());
    assert!(error.contains("which is not a program"), "{error}");
    let talker = script(
        &temp.path().join("talker"),
        "echo; printf 'tool 1.0 '; printf '%0200d\\n' 7; echo 'Copyright: somebody'",
    );
    let error = tell(&talker);
    let zeros = "0".repeat(71);
    assert!(
        error.contains(&format!("asked for its version it says `tool 1.0 {zeros}…`;")),
        "{error}"
    );
    let silent = script(&temp.path().join("silent"), "exit 0");
    let error = tell(&silent);
    assert!(
        error.contains("it says nothing when it is asked for its version;"),
        "{error}"
    );
    assert!(!dir.join("hosts").exists());
}

/// An environment in which Garage is nowhere; `cargo` is this script, if any.
fn without_garage(temp: &Path, cargo: Option<&str>) -> Command {
    let bin = temp.join("bin");
    fs::create_dir_all(&bin).unwrap();
    if let Some(text) = cargo {
        script(&bin.join("cargo"), text);
    }
    let mut command = hayloft();
    command
        .env_remove("HAYLOFT_GARAGE")
        .env("PATH", &bin)
        .env("XDG_CACHE_HOME", temp.join("xdg"));
    command
}

#[test]
fn without_garage_and_cargo_it_says_what_to_install() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let output = finish(
        without_garage(temp.path(), None)
            .args(["up", "--port", "0", "--dir"])
            .arg(&dir),
    );
    let error = one_line(&output);
    assert!(
        error.contains("no `cargo` to build it") && error.contains("xdg/hayloft/garage-2.5.0"),
        "{error}"
    );
}

#[test]
fn garage_is_built_once_with_visible_progress() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let real = hayloft_garage_fixture::program().unwrap();
    let cargo = format!(
        "echo \"$@\" > {arguments}
         n=0; while [ $n -lt 120 ]; do echo \"   Compiling package-$n v1.0.0\" >&2; n=$((n+1)); done
         while [ \"$1\" != --root ]; do shift; done
         /bin/mkdir -p \"$2/bin\"; /bin/ln -s {real} \"$2/bin/garage\"",
        arguments = temp.path().join("arguments").display(),
        real = real.display(),
    );
    let up = Up::start_as(without_garage(temp.path(), Some(&cargo)), &dir, &["--hosts", "1"]);
    up.ready();
    up.line(&["Building Garage: 100 of about 500 packages"]);
    let arguments = fs::read_to_string(temp.path().join("arguments")).unwrap();
    assert!(
        arguments.starts_with("install garage --version 2.5.0 --locked"),
        "{arguments}"
    );
    assert!(up.end(Signal::TERM).0.success());

    let up = Up::start_as(
        without_garage(temp.path(), Some("exit 1")),
        &dir,
        &["--hosts", "1"],
    );
    up.ready();
    assert!(up.end(Signal::TERM).0.success());
}

#[test]
fn a_build_that_fails_or_is_interrupted_leaves_no_half_garage() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("cache");
    let failing = "echo '   Compiling garage v2.5.0' >&2; echo 'error: linker `cc` not found' >&2; exit 101";
    let output = finish(
        without_garage(temp.path(), Some(failing))
            .args(["up", "--port", "0", "--dir"])
            .arg(&dir),
    );
    let error = one_line(&output);
    assert!(
        error.contains("linker `cc` not found") && error.contains("build.log"),
        "{error}"
    );

    let endless = format!(
        "echo $$ > {}; exec /bin/sleep 1000",
        temp.path().join("pid").display()
    );
    let mut up = Up::start_as::<&str>(without_garage(temp.path(), Some(&endless)), &dir, &[]);
    let pid = until(
        || {
            fs::read_to_string(temp.path().join("pid"))
                .ok()?
                .trim()
                .parse::<u32>()
                .ok()
        },
        || format!("the build did not start: {}", up.text()),
    );
    up.signal(Signal::INT);
    assert!(!up.wait().success());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the build goes on");
    assert!(!temp.path().join("xdg/hayloft/garage-2.5.0/bin/garage").exists());
    up.line(&["hayloft: stopped while Garage was being built"]);
}

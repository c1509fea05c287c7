//! Which Debian packages the corpora are made of: all of them in two versions, in a Debian 12 with its updates and
//! security fixes.

/// A generation of many paths, from a few hundred bytes to 45 MB.
pub(super) const MANY: &[&str] = &[
    "apache2-bin",
    "apt",
    "bind9-libs",
    "ca-certificates",
    "curl",
    "dovecot-core",
    "erlang-base",
    "git",
    "git-man",
    "haproxy",
    "libaom3",
    "libarchive13",
    "libc-bin",
    "libc6",
    "libcurl4",
    "libexpat1",
    "libglib2.0-0",
    "libglib2.0-data",
    "liblzma5",
    "libmagickcore-6.q16-6",
    "libnode108",
    "libperl5.36",
    "libpoppler126",
    "libpq5",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libruby3.1",
    "libssl3",
    "libxml2",
    "locales",
    "mariadb-server-core",
    "nginx-common",
    "openssh-client",
    "openssh-server",
    "openssl",
    "perl-base",
    "perl-modules-5.36",
    "php8.2-cli",
    "postgresql-15",
    "python3-django",
    "python3.11-minimal",
    "redis-server",
    "rsync",
    "samba-libs",
    "sudo",
    "systemd",
    "tzdata",
    "unzip",
    "xz-utils",
];

/// A few of them, for a quick look.
pub(super) const FEW: &[&str] = &[
    "ca-certificates",
    "curl",
    "libc6",
    "libcurl4",
    "libexpat1",
    "libssl3",
    "nginx-common",
    "openssl",
    "perl-base",
    "redis-server",
    "unzip",
    "xz-utils",
];

/// What one large path is put together from, about 1 GB.
pub(super) const LARGE: &[&str] = &[
    "chromium",
    "containerd",
    "firefox-esr",
    "inkscape",
    "libreoffice-core",
    "libwebkit2gtk-4.1-0",
];

/// The same for a quick look.
pub(super) const LESS_LARGE: &[&str] = &["libpython3.11-stdlib", "libperl5.36"];

/// Names and sizes change with Debian's releases; the paths of a corpus are known by this number.
pub(super) const VERSION: u32 = 1;

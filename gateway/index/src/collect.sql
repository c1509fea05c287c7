-- What collection knows. The first tables follow from the log like all others.

-- The last day on which a path was asked for, in days since 1970. None: it never was since it was pushed.
CREATE TABLE uses (path INTEGER PRIMARY KEY, day INTEGER NOT NULL) STRICT;

CREATE TABLE pins (
    id INTEGER PRIMARY KEY,
    cache INTEGER NOT NULL,
    name TEXT NOT NULL,
    until INTEGER,
    UNIQUE (cache, name)
) STRICT;
CREATE TABLE pinned (pin INTEGER NOT NULL, hash TEXT NOT NULL, PRIMARY KEY (pin, hash)) WITHOUT ROWID, STRICT;

-- Bytes that a cache may hold; no row: no limit.
CREATE TABLE limits (cache INTEGER PRIMARY KEY, max_bytes INTEGER NOT NULL) STRICT;

-- Pushes that were refused, for a path's NAR hash never changes.
CREATE TABLE conflicts (
    cache INTEGER NOT NULL,
    path TEXT NOT NULL,
    given BLOB NOT NULL,
    known BLOB NOT NULL,
    PRIMARY KEY (cache, path, given)
) WITHOUT ROWID, STRICT;

-- Packs that were given up. A row stays for ever: a name that was condemned never comes back.
CREATE TABLE condemned (
    name BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

-- Where frames lie in condemned packs whose objects are not gone yet: an upload that counted on one saves it.
CREATE TABLE retired (
    frame BLOB NOT NULL,
    name BLOB NOT NULL,
    offset INTEGER NOT NULL,
    piece BLOB NOT NULL,
    stored INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    PRIMARY KEY (frame, name)
) WITHOUT ROWID, STRICT;
CREATE INDEX retired_by_name ON retired (name);

-- From here on: notes of this gateway alone, which another one makes for itself.

-- Packs whose contents may not be needed any more.
CREATE TABLE suspects (pack INTEGER PRIMARY KEY) STRICT;
-- When the object of a condemned pack goes, in milliseconds since 1970.
CREATE TABLE due (name BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID, STRICT;
-- Packs in the bucket that no record names, and when they were first seen, in milliseconds since 1970.
CREATE TABLE strangers (name BLOB PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID, STRICT;
-- Where tasks that take long have come to.
CREATE TABLE notes (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;

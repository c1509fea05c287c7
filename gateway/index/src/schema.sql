CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE caches (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL
) STRICT;

CREATE TABLE packs (
    id INTEGER PRIMARY KEY,
    name BLOB NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    -- Something in it is damaged, or all of it is gone.
    damaged INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Every copy of every frame that can be read. A frame may lie in several packs. See digests.sql for where a digest is found.
CREATE TABLE frames (
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    frame BLOB NOT NULL,
    piece BLOB NOT NULL,
    stored INTEGER NOT NULL,
    raw INTEGER NOT NULL,
    PRIMARY KEY (pack, offset)
) WITHOUT ROWID, STRICT;

-- A removed path stays, for its NAR hash never changes.
CREATE TABLE paths (
    id INTEGER PRIMARY KEY,
    cache INTEGER NOT NULL,
    hash TEXT NOT NULL,
    path TEXT NOT NULL,
    nar_hash BLOB NOT NULL,
    nar_size INTEGER NOT NULL,
    refs TEXT NOT NULL,
    deriver TEXT,
    ca TEXT,
    sigs TEXT NOT NULL,
    created_by TEXT,
    created_at INTEGER NOT NULL,
    file_size INTEGER NOT NULL,
    etag BLOB NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (cache, hash)
) STRICT;

CREATE TABLE manifests (path INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;

-- Which packs a path's frames lay in when it was added: whom damage may concern.
CREATE TABLE path_packs (pack INTEGER NOT NULL, path INTEGER NOT NULL, PRIMARY KEY (pack, path)) WITHOUT ROWID, STRICT;
CREATE INDEX path_packs_by_path ON path_packs (path);

-- Frames that a path needs and no pack holds: while there are any, the path counts as missing.
CREATE TABLE wanted (frame BLOB NOT NULL, path INTEGER NOT NULL, PRIMARY KEY (frame, path)) WITHOUT ROWID, STRICT;
CREATE INDEX wanted_by_path ON wanted (path);

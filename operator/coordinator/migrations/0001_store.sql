-- Facts about the cluster of which there is one each.
CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Made once and kept; the file is readable by its owner only.
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Hosts that were ever declared and heard of. Times are seconds since 1970.
CREATE TABLE host (
    name TEXT PRIMARY KEY,
    garage_id TEXT NOT NULL,
    zone TEXT,
    had_role INTEGER NOT NULL DEFAULT 0,
    left_at INTEGER
) STRICT, WITHOUT ROWID;

-- Nodes that hosts were before they lost their metadata.
CREATE TABLE former (
    garage_id TEXT PRIMARY KEY,
    host TEXT NOT NULL
) STRICT, WITHOUT ROWID;

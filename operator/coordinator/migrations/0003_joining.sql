-- Join tokens. Of the secret only a hash is kept. Times are seconds since 1970.
CREATE TABLE token (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    limits TEXT NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

-- Hosts that spent a use of a token: by their key, for a name can pass to another host.
CREATE TABLE admitted (
    key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    token TEXT NOT NULL,
    facts TEXT NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('waiting', 'in', 'out')),
    at INTEGER NOT NULL,
    -- The pin of the authority that signed its newest certificate.
    signed_by TEXT
) STRICT, WITHOUT ROWID;

-- A name belongs to one host at a time.
CREATE UNIQUE INDEX admitted_name ON admitted (name) WHERE standing <> 'out';

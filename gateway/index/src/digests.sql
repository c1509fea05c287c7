-- Which frames bear a digest, as the digest of a frame or of a piece: eight bytes of it find rows, which are then compared whole.
-- Digests are random: in a large table each new one changes a page of its own. So new ones come into a small table, `young`, and are
-- merged into the large one later, in sorted order. Every question about digests asks both.
CREATE TABLE digests (
    digest BLOB NOT NULL,
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (digest, pack, offset)
) WITHOUT ROWID, STRICT;
CREATE TABLE young (
    digest BLOB NOT NULL,
    pack INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    PRIMARY KEY (digest, pack, offset)
) WITHOUT ROWID, STRICT;
CREATE TRIGGER frames_come AFTER INSERT ON frames BEGIN
    INSERT OR IGNORE INTO young VALUES
        (substr(NEW.frame, 1, 8), NEW.pack, NEW.offset),
        (substr(NEW.piece, 1, 8), NEW.pack, NEW.offset);
END;
CREATE TRIGGER frames_go AFTER DELETE ON frames BEGIN
    DELETE FROM young
    WHERE digest IN (substr(OLD.frame, 1, 8), substr(OLD.piece, 1, 8)) AND pack = OLD.pack AND offset = OLD.offset;
    DELETE FROM digests
    WHERE digest IN (substr(OLD.frame, 1, 8), substr(OLD.piece, 1, 8)) AND pack = OLD.pack AND offset = OLD.offset;
END;

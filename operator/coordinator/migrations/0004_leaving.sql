-- A host that belongs still and gives its data away to leave.
ALTER TABLE admitted ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;

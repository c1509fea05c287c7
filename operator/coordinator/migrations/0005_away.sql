-- Until when a host that belongs is expected to be away, in seconds since 1970.
ALTER TABLE admitted ADD COLUMN away INTEGER;

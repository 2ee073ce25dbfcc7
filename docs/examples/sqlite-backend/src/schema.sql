PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
BEGIN IMMEDIATE;
-- The key is the path, with `/` after a folder: its order by bytes is the order of listings.
CREATE TABLE IF NOT EXISTS entry (
    key TEXT PRIMARY KEY, id INTEGER NOT NULL, version INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, link TEXT,
    secs INTEGER NOT NULL, nanos INTEGER NOT NULL, mode INTEGER, content INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trash (
    number INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, state TEXT NOT NULL, since INTEGER NOT NULL,
    key TEXT NOT NULL, id INTEGER NOT NULL, version INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, link TEXT,
    secs INTEGER NOT NULL, nanos INTEGER NOT NULL, mode INTEGER, content INTEGER
);
CREATE TABLE IF NOT EXISTS piece (
    content INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (content, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS about (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, counter INTEGER NOT NULL);
INSERT OR IGNORE INTO about VALUES (1, lower(hex(randomblob(16))), 0);
COMMIT;
-- Of this connection alone: what is staged is gone with it, whatever ends it.
CREATE TEMP TABLE staged (
    session INTEGER NOT NULL, number INTEGER NOT NULL, part INTEGER NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (session, number, part)
) WITHOUT ROWID;

CREATE TABLE event (
    build TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (build, seq)
) WITHOUT ROWID;

CREATE TABLE unfinished (build TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE summary (
    build TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    owner TEXT NOT NULL,
    phase TEXT NOT NULL,
    outcome TEXT,
    summary TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX summary_by_time ON summary (accepted_at DESC, build DESC);

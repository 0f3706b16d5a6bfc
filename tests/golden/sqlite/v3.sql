PRAGMA application_id = 1263094862;
PRAGMA user_version = 3;
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
CREATE TABLE label (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    build TEXT NOT NULL,
    PRIMARY KEY (key, value, accepted_at DESC, build DESC)
) WITHOUT ROWID;
CREATE INDEX label_by_build ON label (build);
CREATE INDEX summary_by_owner ON summary (owner, accepted_at DESC, build DESC);
CREATE TABLE number (last INTEGER NOT NULL);
CREATE TABLE shape (
    id INTEGER PRIMARY KEY,
    placement TEXT NOT NULL UNIQUE
);
CREATE TABLE job (
    build TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    priority INTEGER NOT NULL,
    age INTEGER NOT NULL,
    shape INTEGER NOT NULL REFERENCES shape (id),
    not_before INTEGER NOT NULL,
    -- The lease that counts, also after it expired until another has the job; 0 for none.
    token INTEGER NOT NULL DEFAULT 0,
    holder TEXT,
    -- Whether the lease was not yet found to have expired.
    held INTEGER NOT NULL DEFAULT 0,
    -- When it may be leased; NULL for now.
    wakes INTEGER
) WITHOUT ROWID;
CREATE INDEX job_ready ON job (owner, shape, priority DESC, age) WHERE wakes IS NULL;
CREATE INDEX job_wakes ON job (wakes) WHERE wakes IS NOT NULL;
CREATE INDEX job_held ON job (holder, owner, shape) WHERE held = 1;
CREATE INDEX job_by_shape ON job (shape);
CREATE TABLE node (
    id TEXT PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    node TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX job_shape_held ON job (shape) WHERE held = 1;
INSERT INTO event VALUES ('open', 1, 1700000000000, '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', 1, 1700000000000, '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', 2, 1700000000000, '{"event":"finished","outcome":{"outcome":"cancelled"}}');
INSERT INTO unfinished VALUES ('open');
INSERT INTO summary VALUES ('open', 2, 6, 'ann', 'finished', 'failed', '{"build":"open","seq":2,"owner":"ann","labels":{"repo":"it''s \"app\""},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":6,"finished_at":15,"steps":3,"steps_over":2}');
INSERT INTO summary VALUES ('over', 2, 5, 'ann', 'finished', 'failed', '{"build":"over","seq":2,"owner":"ann","labels":{"repo":"it''s \"app\""},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":5,"finished_at":14,"steps":3,"steps_over":2}');
INSERT INTO label VALUES ('repo', 'it''s "app"', 6, 'open');
INSERT INTO label VALUES ('repo', 'it''s "app"', 5, 'over');
INSERT INTO number VALUES (1);
INSERT INTO shape VALUES (1, '{"labels":{"arch":"arm64"},"resources":{"cpu_millis":500,"memory_bytes":1073741824}}');
INSERT INTO job VALUES ('open', 'ann', -3, 1, 1, 0, 0, NULL, 0, NULL);
INSERT INTO node VALUES ('n-1', 1700000000000, '{"id":"n-1","labels":{"arch":"arm64"},"slots":4,"resources":{"cpu_millis":0,"memory_bytes":0},"drained":false,"seen_at":1700000000000}');

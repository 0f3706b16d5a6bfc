PRAGMA application_id = 1263094862;
PRAGMA user_version = 1;
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
INSERT INTO event VALUES ('open', 1, 1700000000000, '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', 1, 1700000000000, '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', 2, 1700000000000, '{"event":"finished","outcome":{"outcome":"cancelled"}}');
INSERT INTO unfinished VALUES ('open');
INSERT INTO summary VALUES ('open', 2, 6, 'ann', 'finished', 'failed', '{"build":"open","seq":2,"owner":"ann","labels":{"repo":"it''s \"app\""},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":6,"finished_at":15,"steps":3,"steps_over":2}');
INSERT INTO summary VALUES ('over', 2, 5, 'ann', 'finished', 'failed', '{"build":"over","seq":2,"owner":"ann","labels":{"repo":"it''s \"app\""},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":5,"finished_at":14,"steps":3,"steps_over":2}');

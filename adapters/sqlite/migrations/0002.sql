-- Labels of summaries, for lists by label; derived from `summary`.
CREATE TABLE label (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    build TEXT NOT NULL,
    PRIMARY KEY (key, value, accepted_at DESC, build DESC)
) WITHOUT ROWID;

CREATE INDEX label_by_build ON label (build);

INSERT INTO label (key, value, accepted_at, build)
    SELECT l.key, l.value, s.accepted_at, s.build
    FROM summary s, json_each(s.summary, '$.labels') l;

CREATE INDEX summary_by_owner ON summary (owner, accepted_at DESC, build DESC);

-- The last number given to a job or a lease: none ever comes again.
CREATE TABLE number (last INTEGER NOT NULL);

INSERT INTO number (last) VALUES (0);

-- The different placements of jobs: few, however many jobs there are.
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

-- Every text is UTF-8 and compared byte for byte. Times are milliseconds since 1970 in UTC.

CREATE TABLE kiln_schema (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The journals: one row a build, which is also what racing appends lock, and one row an event.
CREATE TABLE journal (
    build text COLLATE "C" PRIMARY KEY,
    last bigint NOT NULL,
    over boolean NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX journal_unfinished ON journal (build) WHERE NOT over;

CREATE TABLE event (
    build text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (build, seq)
);

-- The index of builds, and a row for each of their labels. A label is the SHA-256 of its key and
-- value: both may be of any length and hold what PostgreSQL keeps in no text.
CREATE TABLE summary (
    build text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    accepted_at bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    phase text COLLATE "C" NOT NULL,
    outcome text COLLATE "C",
    labels bytea[] NOT NULL,
    summary text NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX summary_by_time ON summary (accepted_at DESC, build DESC);

CREATE INDEX summary_by_owner ON summary (owner, accepted_at DESC, build DESC);

CREATE INDEX summary_open ON summary (accepted_at DESC, build DESC) WHERE phase <> 'finished';

CREATE TABLE label (
    label bytea NOT NULL,
    accepted_at bigint NOT NULL,
    build text COLLATE "C" NOT NULL,
    PRIMARY KEY (label, accepted_at, build)
);

CREATE INDEX label_by_build ON label (build);

-- Numbers of jobs and leases: none ever comes again.
CREATE SEQUENCE number AS bigint;

CREATE TABLE job (
    build text COLLATE "C" PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    age bigint NOT NULL DEFAULT nextval('number'),
    not_before bigint NOT NULL,
    -- Where it may run and its limits, as JSON, and the SHA-256 of that: jobs of one owner that are
    -- alike in this make a lane, in which the first is the next.
    asks text NOT NULL,
    shape bytea NOT NULL,
    -- The same, to be asked for.
    node text COLLATE "C",
    labels text[] NOT NULL,
    cpu_millis bigint NOT NULL,
    memory_bytes bigint NOT NULL,
    groups text[] NOT NULL,
    maxima bigint[] NOT NULL,
    -- The lease that counts, also after it expired until another has the job; 0 for none.
    token bigint NOT NULL DEFAULT 0,
    holder text COLLATE "C",
    -- Whether the lease was not yet found to have expired.
    held boolean NOT NULL DEFAULT false,
    -- When it may be leased; NULL for now.
    wakes bigint
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX job_ready ON job (owner, shape, priority DESC, age) WHERE wakes IS NULL;

CREATE INDEX job_wakes ON job (wakes) WHERE wakes IS NOT NULL;

CREATE INDEX job_held ON job (holder, owner) WHERE held;

CREATE INDEX job_grouped ON job (build) WHERE held AND groups <> '{}';

CREATE TABLE node (
    id text COLLATE "C" PRIMARY KEY,
    seen_at bigint NOT NULL,
    node text NOT NULL
) WITH (fillfactor = 50);

-- The logs: where each ends, and its records in segments. `records` is compressed already.
CREATE TABLE log (
    build text COLLATE "C" PRIMARY KEY,
    last bigint NOT NULL,
    closed boolean NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE segment (
    build text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    size integer NOT NULL,
    records bytea NOT NULL,
    PRIMARY KEY (build, at)
);

ALTER TABLE segment ALTER COLUMN records SET STORAGE EXTERNAL;

-- Tells whoever listens that something came: `j` of a journal, `l` of a log, `q` in the queue.
CREATE FUNCTION tell(what text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('kiln_' || current_schema(), what)
$$;

CREATE FUNCTION now_millis() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- Appends to the journal that ends at `expected`: its new end, or the end it has.
CREATE FUNCTION append(
    of text, expected bigint, ends boolean, times bigint[], events text[],
    OUT done boolean, OUT place bigint
) LANGUAGE plpgsql AS $$
DECLARE
    more integer := cardinality(events);
BEGIN
    IF more > 0 THEN
        IF expected = 0 THEN
            INSERT INTO journal AS j (build, last, over) VALUES (of, more, ends)
                ON CONFLICT (build) DO NOTHING;
        ELSE
            UPDATE journal SET last = last + more, over = ends
                WHERE build = of AND last = expected;
        END IF;
        IF FOUND THEN
            INSERT INTO event (build, seq, at, event)
                SELECT of, expected + e.n, e.at, e.event
                FROM unnest(times, events) WITH ORDINALITY AS e (at, event, n);
            place := expected + more;
            done := true;
            PERFORM tell('j' || of || ' ' || place);
            RETURN;
        END IF;
    END IF;
    SELECT coalesce(max(last), 0) INTO place FROM journal WHERE build = of;
    done := more = 0 AND place = expected;
END $$;

CREATE FUNCTION forget_journal(of text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM journal WHERE build = of;
    DELETE FROM event WHERE build = of;
    PERFORM tell('j' || of || ' 0');
END $$;

-- Notes a summary unless a later one is there.
CREATE FUNCTION put_summary(
    of text, new_seq bigint, accepted bigint, whose text, new_phase text, new_outcome text,
    new_labels bytea[], text_ text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    old record;
BEGIN
    SELECT s.labels, s.accepted_at INTO old FROM summary s WHERE s.build = of FOR UPDATE;
    INSERT INTO summary AS s
        (build, seq, accepted_at, owner, phase, outcome, labels, summary)
        VALUES (of, new_seq, accepted, whose, new_phase, new_outcome, new_labels, text_)
        ON CONFLICT (build) DO UPDATE SET seq = new_seq, accepted_at = accepted, owner = whose,
            phase = new_phase, outcome = new_outcome, labels = new_labels, summary = text_
        WHERE s.seq <= new_seq;
    IF NOT FOUND OR (old.labels = new_labels AND old.accepted_at = accepted) THEN
        RETURN;
    END IF;
    DELETE FROM label WHERE build = of;
    INSERT INTO label (label, accepted_at, build)
        SELECT l, accepted, of FROM unnest(new_labels) AS l ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION forget_summary(of text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM summary WHERE build = of;
    DELETE FROM label WHERE build = of;
END $$;

-- Leases to a node the job that is its turn, or says in how many milliseconds to look again.
-- One at a time: fairness and limits count what others lease. `given` is the time where it is not
-- the server's that counts. A `cpu` or `memory` of the largest number is not limited.
CREATE FUNCTION lease(
    who text, has text[], slots bigint, cpu bigint, memory bigint, ttl bigint, given bigint,
    OUT leased text, OUT whose text, OUT rank integer, OUT since bigint, OUT wants text,
    OUT number_ bigint, OUT ends bigint, OUT again bigint
) LANGUAGE plpgsql AS $$
DECLARE
    moment bigint;
    used record;
    next text;
    busy text[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('kiln lease'), hashtext(current_schema()));
    moment := coalesce(given, now_millis());
    UPDATE job SET wakes = NULL, held = false WHERE build IN (
        SELECT j.build FROM job j WHERE j.wakes <= moment FOR UPDATE SKIP LOCKED
    );
    SELECT count(*) AS leases, coalesce(sum(j.cpu_millis), 0) AS cpu,
            coalesce(sum(j.memory_bytes), 0) AS memory
        INTO used FROM job j WHERE j.held AND j.holder = who;
    cpu := greatest(cpu - used.cpu, 0);
    memory := greatest(memory - used.memory, 0);
    WHILE used.leases < slots LOOP
        -- The head of every lane: a probe of `job_ready` for each, however long the lanes are.
        WITH RECURSIVE lane AS (
            (SELECT j.owner, j.shape FROM job j WHERE j.wakes IS NULL
                ORDER BY j.owner, j.shape LIMIT 1)
            UNION ALL
            SELECT n.owner, n.shape FROM lane l CROSS JOIN LATERAL (
                SELECT j.owner, j.shape FROM job j
                WHERE j.wakes IS NULL AND (j.owner, j.shape) > (l.owner, l.shape)
                ORDER BY j.owner, j.shape LIMIT 1
            ) n
        ), leases AS MATERIALIZED (
            SELECT g.name, count(*) AS count
            FROM job j CROSS JOIN LATERAL unnest(j.groups) AS g (name)
            WHERE j.held AND j.groups <> '{}' GROUP BY g.name
        ), shares AS MATERIALIZED (
            SELECT j.owner, count(*) AS count FROM job j WHERE j.held GROUP BY j.owner
        ), best AS (
            SELECT DISTINCT ON (h.owner) h.build, h.owner, h.age
            FROM lane l CROSS JOIN LATERAL (
                SELECT j.* FROM job j
                WHERE j.wakes IS NULL AND j.owner = l.owner AND j.shape = l.shape
                    AND j.build <> ALL (busy)
                ORDER BY j.priority DESC, j.age LIMIT 1
            ) h
            WHERE (h.node IS NULL OR h.node = who) AND h.labels <@ has
                AND h.cpu_millis <= cpu AND h.memory_bytes <= memory
                AND NOT EXISTS (
                    SELECT FROM unnest(h.groups, h.maxima) AS m (name, most)
                    LEFT JOIN leases g ON g.name = m.name
                    WHERE coalesce(g.count, 0) >= m.most
                )
            ORDER BY h.owner, h.priority DESC, h.age
        )
        SELECT b.build INTO next FROM best b LEFT JOIN shares s ON s.owner = b.owner
            ORDER BY coalesce(s.count, 0), b.age LIMIT 1;
        EXIT WHEN next IS NULL;
        -- Somebody may be taking it out at this moment.
        PERFORM FROM job j WHERE j.build = next AND j.wakes IS NULL FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE job j SET token = nextval('number'), holder = who, held = true,
                    wakes = moment + ttl
                WHERE j.build = next
                RETURNING j.build, j.owner, j.priority, j.not_before, j.asks, j.token, j.wakes
                INTO leased, whose, rank, since, wants, number_, ends;
            RETURN;
        END IF;
        busy := busy || next;
    END LOOP;
    SELECT min(greatest(j.wakes - moment, 1)) INTO again FROM job j WHERE j.wakes IS NOT NULL;
END $$;

-- Appends segments to the log that ends at `expected`: its new end, or the end it has.
CREATE FUNCTION append_log(
    of text, expected bigint, places bigint[], sizes integer[], chunks bytea[], new_end bigint,
    OUT done boolean, OUT place bigint, OUT shut boolean
) LANGUAGE plpgsql AS $$
BEGIN
    shut := false;
    IF cardinality(places) > 0 THEN
        IF expected = 0 THEN
            INSERT INTO log (build, last, closed) VALUES (of, new_end, false)
                ON CONFLICT (build) DO NOTHING;
        ELSE
            UPDATE log SET last = new_end WHERE build = of AND last = expected AND NOT closed;
        END IF;
        IF FOUND THEN
            INSERT INTO segment (build, at, size, records)
                SELECT of, s.at, s.size, s.records
                FROM unnest(places, sizes, chunks) AS s (at, size, records);
            PERFORM tell('l' || of || ' ' || new_end);
            done := true;
            place := new_end;
            RETURN;
        END IF;
    END IF;
    SELECT coalesce(max(l.last), 0), coalesce(bool_or(l.closed), false) INTO place, shut
        FROM log l WHERE l.build = of;
    done := cardinality(places) = 0 AND place = expected AND NOT shut;
END $$;

CREATE FUNCTION close_log(of text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO log AS l (build, last, closed) VALUES (of, 0, true)
        ON CONFLICT (build) DO UPDATE SET closed = true;
    PERFORM tell('l' || of || ' 0');
END $$;

CREATE FUNCTION forget_log(of text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM log WHERE build = of;
    DELETE FROM segment WHERE build = of;
    PERFORM tell('l' || of || ' 0');
END $$;

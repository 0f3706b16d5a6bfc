CREATE SEQUENCE number AS bigint;
CREATE TABLE event (
    build text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    event text NOT NULL
);
CREATE TABLE job (
    build text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    age bigint DEFAULT nextval('number'::regclass) NOT NULL,
    not_before bigint NOT NULL,
    asks text NOT NULL,
    shape bytea NOT NULL,
    node text COLLATE "C",
    labels text[] NOT NULL,
    cpu_millis bigint NOT NULL,
    memory_bytes bigint NOT NULL,
    groups text[] NOT NULL,
    maxima bigint[] NOT NULL,
    token bigint DEFAULT 0 NOT NULL,
    holder text COLLATE "C",
    held boolean DEFAULT false NOT NULL,
    wakes bigint
) WITH (fillfactor=70, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=500, autovacuum_vacuum_cost_delay=0);
CREATE TABLE journal (
    build text COLLATE "C" NOT NULL,
    last bigint NOT NULL,
    over boolean NOT NULL
) WITH (fillfactor=70);
CREATE TABLE kiln_schema (
    version integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE label (
    label bytea NOT NULL,
    accepted_at bigint NOT NULL,
    build text COLLATE "C" NOT NULL
);
CREATE TABLE log (
    build text COLLATE "C" NOT NULL,
    last bigint NOT NULL,
    closed boolean NOT NULL
) WITH (fillfactor=50);
CREATE TABLE node (
    id text COLLATE "C" NOT NULL,
    seen_at bigint NOT NULL,
    node text NOT NULL
) WITH (fillfactor=50);
CREATE TABLE segment (
    build text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    size integer NOT NULL,
    records bytea NOT NULL
);
CREATE TABLE summary (
    build text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    accepted_at bigint NOT NULL,
    owner text COLLATE "C" NOT NULL,
    phase text COLLATE "C" NOT NULL,
    outcome text COLLATE "C",
    labels bytea[] NOT NULL,
    summary text NOT NULL
) WITH (fillfactor=80);
ALTER TABLE segment ALTER COLUMN records SET STORAGE EXTERNAL;
ALTER TABLE event ADD PRIMARY KEY (build, seq);
ALTER TABLE job ADD PRIMARY KEY (build);
ALTER TABLE journal ADD PRIMARY KEY (build);
ALTER TABLE kiln_schema ADD PRIMARY KEY (version);
ALTER TABLE label ADD PRIMARY KEY (label, accepted_at, build);
ALTER TABLE log ADD PRIMARY KEY (build);
ALTER TABLE node ADD PRIMARY KEY (id);
ALTER TABLE segment ADD PRIMARY KEY (build, at);
ALTER TABLE summary ADD PRIMARY KEY (build);
CREATE UNIQUE INDEX event_pkey ON event USING btree (build, seq);
CREATE INDEX job_grouped ON job USING btree (build) WHERE (held AND (groups <> '{}'::text[]));
CREATE INDEX job_held ON job USING btree (holder, owner) WHERE held;
CREATE UNIQUE INDEX job_pkey ON job USING btree (build);
CREATE INDEX job_ready ON job USING btree (owner, shape, priority DESC, age) WHERE (wakes IS NULL);
CREATE INDEX job_wakes ON job USING btree (wakes) WHERE (wakes IS NOT NULL);
CREATE UNIQUE INDEX journal_pkey ON journal USING btree (build);
CREATE INDEX journal_unfinished ON journal USING btree (build) WHERE (NOT over);
CREATE UNIQUE INDEX kiln_schema_pkey ON kiln_schema USING btree (version);
CREATE INDEX label_by_build ON label USING btree (build);
CREATE UNIQUE INDEX label_pkey ON label USING btree (label, accepted_at, build);
CREATE UNIQUE INDEX log_pkey ON log USING btree (build);
CREATE UNIQUE INDEX node_pkey ON node USING btree (id);
CREATE UNIQUE INDEX segment_pkey ON segment USING btree (build, at);
CREATE INDEX summary_by_owner ON summary USING btree (owner, accepted_at DESC, build DESC);
CREATE INDEX summary_by_time ON summary USING btree (accepted_at DESC, build DESC);
CREATE INDEX summary_open ON summary USING btree (accepted_at DESC, build DESC) WHERE (phase <> 'finished'::text);
CREATE UNIQUE INDEX summary_pkey ON summary USING btree (build);
CREATE OR REPLACE FUNCTION append(of text, expected bigint, ends boolean, times bigint[], events text[], OUT done boolean, OUT place bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
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
END $function$
;
CREATE OR REPLACE FUNCTION append_log(of text, expected bigint, places bigint[], sizes integer[], chunks bytea[], new_end bigint, OUT done boolean, OUT place bigint, OUT shut boolean)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
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
END $function$
;
CREATE OR REPLACE FUNCTION close_log(of text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    INSERT INTO log AS l (build, last, closed) VALUES (of, 0, true)
        ON CONFLICT (build) DO UPDATE SET closed = true;
    PERFORM tell('l' || of || ' 0');
END $function$
;
CREATE OR REPLACE FUNCTION forget_journal(of text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM journal WHERE build = of;
    DELETE FROM event WHERE build = of;
    PERFORM tell('j' || of || ' 0');
END $function$
;
CREATE OR REPLACE FUNCTION forget_log(of text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM log WHERE build = of;
    DELETE FROM segment WHERE build = of;
    PERFORM tell('l' || of || ' 0');
END $function$
;
CREATE OR REPLACE FUNCTION forget_summary(of text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
BEGIN
    DELETE FROM summary WHERE build = of;
    DELETE FROM label WHERE build = of;
END $function$
;
CREATE OR REPLACE FUNCTION lease(who text, has text[], slots bigint, cpu bigint, memory bigint, ttl bigint, given bigint, OUT leased text, OUT whose text, OUT rank integer, OUT since bigint, OUT wants text, OUT number_ bigint, OUT ends bigint, OUT again bigint)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
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
END $function$
;
CREATE OR REPLACE FUNCTION now_millis()
 RETURNS bigint
 LANGUAGE sql
AS $function$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
$function$
;
CREATE OR REPLACE FUNCTION put_summary(of text, new_seq bigint, accepted bigint, whose text, new_phase text, new_outcome text, new_labels bytea[], text_ text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
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
END $function$
;
CREATE OR REPLACE FUNCTION tell(what text)
 RETURNS void
 LANGUAGE sql
AS $function$
    SELECT pg_notify('kiln_' || current_schema(), what)
$function$
;
INSERT INTO event VALUES ('open', '1', '1700000000000', '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', '1', '1700000000000', '{"event":"cancel_requested","cause":"request","reason":"it''s enough","force":false}');
INSERT INTO event VALUES ('over', '2', '1700000000000', '{"event":"finished","outcome":{"outcome":"cancelled"}}');
INSERT INTO job VALUES ('open', 'ann', '-3', '1', '0', '{"labels":{"arch":"arm64"},"resources":{"cpu_millis":500,"memory_bytes":1073741824},"limits":{"branch=main":2}}', E'\\x418df2e8cb4d08b624edcbaa4566068ee7beb0b3df2147a6af1b34e9a923c673', NULL, '{arch=arm64}', '500', '1073741824', '{branch=main}', '{2}', '0', NULL, 'false', NULL);
INSERT INTO journal VALUES ('open', '1', 'false');
INSERT INTO journal VALUES ('over', '2', 'true');
INSERT INTO label VALUES (E'\\x6d85b71ecf8491f99ae4d3f485dd4e8da8cb6b964027a221d691580cc13feba5', '5', 'over');
INSERT INTO label VALUES (E'\\x6d85b71ecf8491f99ae4d3f485dd4e8da8cb6b964027a221d691580cc13feba5', '6', 'open');
INSERT INTO log VALUES ('over', '7', 'true');
INSERT INTO node VALUES ('n-1', '1700000000000', '{"id":"n-1","labels":{"arch":"arm64"},"slots":4,"resources":{"cpu_millis":0,"memory_bytes":0},"drained":false,"seen_at":1700000000000}');
INSERT INTO segment VALUES ('over', '0', '54', E'\\x28b52ffd2436550100040201010068e5cf8b010000020001000000000305000000697427730a08000000000200380d32c60c0327f055f7');
INSERT INTO summary VALUES ('open', '2', '6', 'ann', 'finished', 'failed', E'{"\\\\x6d85b71ecf8491f99ae4d3f485dd4e8da8cb6b964027a221d691580cc13feba5"}', E'{"build":"open","seq":2,"owner":"ann","labels":{"repo":"it''s \\"app\\"\\u0000"},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":6,"finished_at":15,"steps":3,"steps_over":2}');
INSERT INTO summary VALUES ('over', '2', '5', 'ann', 'finished', 'failed', E'{"\\\\x6d85b71ecf8491f99ae4d3f485dd4e8da8cb6b964027a221d691580cc13feba5"}', E'{"build":"over","seq":2,"owner":"ann","labels":{"repo":"it''s \\"app\\"\\u0000"},"phase":"finished","outcome":{"outcome":"failed","step":1},"accepted_at":5,"finished_at":14,"steps":3,"steps_over":2}');
SELECT setval('number', 1);
INSERT INTO kiln_schema (version) VALUES (1);

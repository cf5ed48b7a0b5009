-- Times are milliseconds since 1970, UTC.

CREATE TABLE delivery (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,       -- grows with time
    request_id  TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state = 'waiting' OR state = 'leased' OR state = 'dead'),
    host        TEXT NOT NULL,
    status      INTEGER NOT NULL,
    failure     TEXT,                       -- why it is a failure notice, if it is one
    envelope    BLOB NOT NULL,              -- all but the payload, sealed
    key         TEXT,                       -- the name of the key that it is sealed with
    payload_len INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    attempt     INTEGER NOT NULL DEFAULT 1, -- the next one, or the one under way
    due_at      INTEGER NOT NULL,
    delay       INTEGER NOT NULL DEFAULT 0, -- how long due_at was in the future
    owner       INTEGER,                    -- which process has leased it,
    token       INTEGER,                    -- and which of its leases that is
    run         INTEGER NOT NULL DEFAULT 0, -- 1: its call runs, and nobody has fetched it since
    died_at     INTEGER,
    reason      TEXT                        -- why it died
) STRICT;

CREATE INDEX delivery_request ON delivery (request_id);
CREATE INDEX delivery_due ON delivery (due_at, host, payload_len) WHERE state = 'waiting';
CREATE INDEX delivery_host ON delivery (host, due_at, payload_len) WHERE state = 'waiting';
CREATE INDEX delivery_owner ON delivery (owner) WHERE state = 'leased';
CREATE INDEX delivery_dead ON delivery (died_at, payload_len) WHERE state = 'dead';
CREATE INDEX delivery_dead_id ON delivery (id) WHERE state = 'dead';
CREATE INDEX delivery_dead_host ON delivery (host, id) WHERE state = 'dead';

-- Apart, so that leasing a delivery does not write its payload again.
CREATE TABLE payload (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE attempt (
    delivery    INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    took_us     INTEGER NOT NULL,
    status      INTEGER,                    -- what the endpoint answered,
    retry_after INTEGER,                    -- and the seconds that it asked for
    error       TEXT                        -- or why there was no answer
) STRICT;

CREATE INDEX attempt_delivery ON attempt (delivery);

-- What has ended and is no dead letter, in the order in which it did.
CREATE TABLE history (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL,
    request_id  TEXT,                       -- NULL where it is the id
    host        TEXT NOT NULL,
    status      INTEGER NOT NULL,
    failure     TEXT,
    envelope    BLOB NOT NULL,
    key         TEXT,
    payload_len INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL,
    attempts    TEXT NOT NULL,
    body        BLOB,                       -- where payloads are kept
    upto        INTEGER NOT NULL            -- the bytes of this and of all before it
) STRICT;

CREATE INDEX history_id ON history (id);
CREATE INDEX history_request ON history (request_id) WHERE request_id IS NOT NULL;

-- The processes that have leased deliveries. One whose beat stands still is gone.
CREATE TABLE owner (
    id     INTEGER PRIMARY KEY,
    pid    INTEGER NOT NULL,
    since  INTEGER NOT NULL,
    beat   INTEGER NOT NULL,
    silent INTEGER NOT NULL DEFAULT 0       -- for how many seconds others saw it stand still
) STRICT;

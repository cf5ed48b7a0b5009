-- Times are milliseconds since 1970, UTC.

CREATE TABLE delivery (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'claimed', 'dead')),
    host        TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    status      INTEGER NOT NULL,
    headers     TEXT NOT NULL,              -- one a line, percent-encoded
    secret      BLOB,                       -- nonce and ciphertext
    secret_key  TEXT,                       -- the name of the key, or 'plaintext'
    payload_len INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    attempt     INTEGER NOT NULL DEFAULT 1, -- the next one, or the one under way
    due_at      INTEGER NOT NULL,
    delay       INTEGER NOT NULL DEFAULT 0, -- how long due_at was in the future
    owner       INTEGER,                    -- who has claimed it
    died_at     INTEGER,
    reason      TEXT                        -- why it died
) STRICT;

CREATE INDEX delivery_id ON delivery (id);
CREATE INDEX delivery_due ON delivery (due_at, host, payload_len) WHERE state = 'waiting';
CREATE INDEX delivery_host ON delivery (host, due_at, payload_len) WHERE state = 'waiting';
CREATE INDEX delivery_owner ON delivery (owner) WHERE state = 'claimed';
CREATE INDEX delivery_dead ON delivery (died_at) WHERE state = 'dead';

-- Apart, so that claiming a delivery does not write its payload again.
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

-- The processes that have claimed deliveries. One whose beat stands still is gone.
CREATE TABLE owner (
    id    INTEGER PRIMARY KEY,
    pid   INTEGER NOT NULL,
    since INTEGER NOT NULL,
    beat  INTEGER NOT NULL
) STRICT;

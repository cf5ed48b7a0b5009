-- Deliveries that wait, are leased, or are dead letters. Rows are small and change often: what never
-- changes is in the table "payload", so that leasing a delivery does not write it again.
CREATE TABLE delivery (
    id           uuid PRIMARY KEY,              -- grows with time
    request_id   text NOT NULL,
    state        text NOT NULL CHECK (state IN ('waiting', 'leased', 'dead')),
    host         text COLLATE "C" NOT NULL,
    status       integer,
    failure      text,                          -- why it is a failure notice, if it is one
    key          text,                          -- the name of the key that its envelope is sealed with
    payload_len  bigint NOT NULL,
    accepted_at  timestamptz NOT NULL,
    attempt      bigint NOT NULL DEFAULT 1,     -- the next one, or the one under way
    due_at       timestamptz NOT NULL,
    owner        bigint,                        -- which outbox has leased it,
    token        bigint,                        -- in which of its leases,
    leased_until timestamptz,                   -- and until when, by the server's clock
    run          boolean NOT NULL DEFAULT false, -- its call runs, and nobody has fetched it since
    attempts     text NOT NULL DEFAULT '',      -- those that have ended, a line each
    died_at      timestamptz,
    reason       text                           -- why it died
) WITH (
    fillfactor = 70, -- renewing a lease changes no index: it finds room on the same page
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_analyze_threshold = 5000
);

CREATE INDEX delivery_request ON delivery (request_id);
CREATE INDEX delivery_due ON delivery (due_at, host, payload_len, id) WHERE state = 'waiting';
CREATE INDEX delivery_host ON delivery (host, due_at, payload_len, id) WHERE state = 'waiting';
CREATE INDEX delivery_leased ON delivery (owner) WHERE state = 'leased';
CREATE INDEX delivery_dead ON delivery (died_at, id, payload_len) WHERE state = 'dead';
CREATE INDEX delivery_dead_id ON delivery (id) WHERE state = 'dead';
CREATE INDEX delivery_dead_host ON delivery (host, id) WHERE state = 'dead';

CREATE TABLE payload (
    id       uuid PRIMARY KEY,
    envelope bytea NOT NULL,                    -- all of the delivery but its payload, sealed
    body     bytea NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.01,
    toast.autovacuum_vacuum_threshold = 1000
);

-- What has ended and is no dead letter, in the order in which it did.
CREATE TABLE history (
    n           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid NOT NULL UNIQUE,
    request_id  text NOT NULL,
    host        text COLLATE "C" NOT NULL,
    status      integer,
    failure     text,
    key         text,
    payload_len bigint NOT NULL,
    accepted_at timestamptz NOT NULL,
    ended_at    timestamptz NOT NULL,
    attempts    text NOT NULL,
    envelope    bytea NOT NULL,
    body        bytea,                          -- where payloads are kept
    bytes       bigint NOT NULL                 -- of envelope, attempts and body
) WITH (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX history_request ON history (request_id);

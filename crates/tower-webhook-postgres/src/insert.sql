-- In a file of its own, as the bench runs it, too.
WITH new AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int4[], $5::text[], $6::text[],
                         $7::int8[], $8::timestamptz[], $9::bool[], $10::bool[], $11::bytea[],
                         $12::bytea[])
        AS new (id, request_id, host, status, failure, key, payload_len, accepted_at, lease, run,
                envelope, body)
), added AS (
    INSERT INTO delivery (id, request_id, host, status, failure, key, payload_len, accepted_at,
                          run, due_at, state, owner, token, leased_until)
    SELECT id, request_id, host, status, failure, key, payload_len, accepted_at, run, now(),
           CASE WHEN lease THEN 'leased' ELSE 'waiting' END,
           CASE WHEN lease THEN $13 END,
           CASE WHEN lease THEN $14 END,
           CASE WHEN lease THEN clock_timestamp() + $15 * interval '1 millisecond' END
    FROM new
    ON CONFLICT (id) DO NOTHING
    RETURNING id
), kept AS (
    INSERT INTO payload (id, envelope, body)
    SELECT id, new.envelope, new.body FROM new JOIN added USING (id)
    ON CONFLICT (id) DO UPDATE SET envelope = excluded.envelope, body = excluded.body
)
SELECT id FROM added

-- Least privilege. Grant these to the roles you log in with: GRANT outbox_producer TO my_service.
-- Where the migrating role may not create roles, they are left to an administrator, with a notice.
DO $$
DECLARE
    wanted text;
    home   text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'outbox_events'::regclass);
BEGIN
    FOREACH wanted IN ARRAY ARRAY['outbox_producer', 'outbox_relay', 'outbox_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % was not made, since this login may not: have an administrator CREATE ROLE % NOLOGIN, then migrate again, which grants its rights', wanted, wanted;
            END;
        END IF;

        -- Everybody may use "public" already; any other schema has to be opened.
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted)
           AND NOT has_schema_privilege(wanted, home::regnamespace, 'USAGE') THEN
            BEGIN
                EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', home, wanted);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role % may not use schema %, and this login cannot let it: have the owner of the schema GRANT USAGE ON SCHEMA % TO %', wanted, home, home, wanted;
            END;
        END IF;
    END LOOP;

    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'outbox_producer') THEN
        GRANT INSERT (id, topic, key, payload, headers, created_at) ON outbox_events TO outbox_producer;
        -- What ORMs read back of a row that they insert (RETURNING); neither says what an event holds.
        GRANT SELECT (seq, id) ON outbox_events TO outbox_producer;
        -- With the seq it names an event for ever: what a client waits for in a read model.
        GRANT SELECT ON outbox_origin TO outbox_producer;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'outbox_relay') THEN
        GRANT SELECT, DELETE ON outbox_events TO outbox_relay;
        -- To see that the sequence was set back, or that rows were inserted ahead of it.
        EXECUTE format('GRANT SELECT ON SEQUENCE %s TO outbox_relay', pg_get_serial_sequence('outbox_events', 'seq'));
        GRANT UPDATE (delivered_at, stream, stream_seq, attempts, retry_at, dead_at, discarded_at, dead_copied_at,
                      failure_class, last_error)
            ON outbox_events TO outbox_relay;
        GRANT SELECT ON outbox_shards TO outbox_relay;
        GRANT UPDATE (owner, epoch, crashes, lease_until, watermark, watermark_at) ON outbox_shards TO outbox_relay;
        GRANT SELECT, INSERT, UPDATE ON outbox_streams TO outbox_relay;
        GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_members TO outbox_relay;
        GRANT SELECT ON outbox_migrations, outbox_origin TO outbox_relay;
        -- Everybody may call a function, unless that was taken away from all.
        GRANT EXECUTE ON FUNCTION outbox_shard(text, bigint, bigint) TO outbox_relay;
        GRANT EXECUTE ON FUNCTION outbox_identity(regclass, regclass[]) TO outbox_relay;
        GRANT SELECT, INSERT, UPDATE (ended_at, events, position) ON outbox_audit TO outbox_relay;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'outbox_reader') THEN
        GRANT EXECUTE ON FUNCTION outbox_shard(text, bigint, bigint) TO outbox_reader;
        GRANT SELECT ON outbox_events, outbox_shards, outbox_members, outbox_streams, outbox_migrations, outbox_origin, outbox_audit
            TO outbox_reader;
    END IF;
END
$$;

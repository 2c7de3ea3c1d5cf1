
BEGIN
    INSERT INTO {outbox} ({columns})
    VALUES ({values})
    ON CONFLICT (id) DO NOTHING;
    -- The outbox holds that id. With the same contents it is the same event, else another one, with an id of its own.
    IF NOT FOUND THEN
        INSERT INTO {outbox} ({columns})
        SELECT {second}, {others}
        FROM (SELECT {named}) AS made
        WHERE NOT EXISTS (SELECT FROM {outbox} AS kept WHERE kept.id = made.id AND {same})
        ON CONFLICT (id) DO NOTHING;
    END IF;
    {purge}RETURN NULL;
END

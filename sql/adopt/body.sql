
BEGIN
    INSERT INTO {outbox} ({columns})
    VALUES ({values})
    ON CONFLICT (id) DO NOTHING;
    {purge}RETURN NULL;
END

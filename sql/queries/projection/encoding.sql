-- In which encoding the database keeps texts.
SELECT current_setting('server_encoding')

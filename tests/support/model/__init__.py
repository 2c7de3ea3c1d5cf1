"""The whole relay in one process: its real objects, with time, PostgreSQL's tables and the server's answers played.

``clock.py`` is time, ``outbox.py`` the table and what each statement does to it, ``broker.py`` the streams and what
comes over the wire, ``process.py`` a relay that works on both and can be killed.
"""

"""Chaos: producers, two relays, a cluster and a consumer at work, while faults come at random.

``history.py`` is what is written down, ``checker.py`` the pure rules that judge it, ``faults.py`` what can go wrong,
``world.py`` the servers and the proxies between them, ``producers.py`` and ``consumer.py`` both ends, ``run.py`` the
course of a run, ``__main__.py`` the command line.
"""

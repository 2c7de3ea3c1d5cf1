"""Check the set-up before it is needed: gather facts on both ends, and judge them.

``gather_*`` asks the servers with the rights of the relay and changes nothing; ``judge_*`` is pure, and says of
each fact whether it is good, what was seen, and what to do.
"""

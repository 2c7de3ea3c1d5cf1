"""Runs the real relay with a fault inside it, which a test names in the environment of the process.

``RELAY_TEST_FAILPOINT`` kills the process at one await (`failpoints`), ``RELAY_TEST_FREEZE`` freezes it there,
``RELAY_TEST_RECORD`` writes down which awaits there are, ``RELAY_TEST_MUTANT`` breaks one of its promises on purpose
(`mutants`), ``RELAY_TEST_TIDY`` lets it delete old rows, and look at its stream, all the time,
``RELAY_TEST_ELSEWHERE`` has it run as on another machine (`on_another_machine`). The relay itself knows nothing of
them.
"""

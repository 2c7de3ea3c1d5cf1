"""The operator's web console: a process of its own beside the relays, over what `relay.operate` knows and does.

Nothing of it is imported by the daemon. It needs the extra ``console``.
"""

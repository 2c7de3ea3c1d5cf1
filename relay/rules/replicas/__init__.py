"""How replicas share the work, and how they know each other."""

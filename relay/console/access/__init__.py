"""Who is let in, from where, and as what: the rules are pure, the guard in front of every page applies them."""

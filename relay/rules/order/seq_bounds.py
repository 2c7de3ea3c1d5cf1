"""What holds of every seq."""

# Where a pass over the whole table begins: rows may be inserted by hand with seqs below those that the sequence draws.
# A row with this very seq lies below every range, and is never read; `relay doctor` reports it.
BELOW_ALL = -(2**63)
# The largest bigint: neither a seq nor a sequence of a stream above it can be stored.
LARGEST = 2**63 - 1

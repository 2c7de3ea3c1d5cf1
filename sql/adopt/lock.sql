-- Nobody writes into the foreign table until the end of this transaction; it can still be read.
LOCK TABLE {source} IN SHARE ROW EXCLUSIVE MODE

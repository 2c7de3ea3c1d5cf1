"""A shop: orders are placed by commands, and listed from a read model that the command side never sees."""

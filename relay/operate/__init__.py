"""What an operator does; no terminal, no click, no HTML."""

"""Limits over several lanes, lent to each in parts: they hold in sum, and no order asks around."""

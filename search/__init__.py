"""Search for good settings: a space, what has been tried in it, and what to try next."""

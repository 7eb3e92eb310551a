"""Hydra's sweepers of our own. Hydra imports them at every start: what is heavy waits."""

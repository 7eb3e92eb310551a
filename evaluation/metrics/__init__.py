"""Scores: a file each, with one class, which settings name by its ``_target_``."""

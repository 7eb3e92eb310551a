"""Sweeps: points that have an identity, one list of them, and an end that says how they went."""

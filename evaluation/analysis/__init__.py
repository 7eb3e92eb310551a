"""Analyses that a score does not replace: what was copied, what the spectrum lacks, what N does."""

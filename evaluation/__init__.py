"""Scores of generators: features, distances, protocols and the records that carry them."""

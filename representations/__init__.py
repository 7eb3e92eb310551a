"""Representations learned without labels, and the conditions that are made of them."""

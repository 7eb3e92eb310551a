"""A trained generator taken away: as weights with their settings, as programs, with a card."""

"""What a run writes and others read: the format of records, and their origin. Needs no torch."""

"""A run from the command line: its folder, checkpoints, progress, pictures and errors."""

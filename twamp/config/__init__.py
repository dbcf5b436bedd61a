"""Options: their rows, their readers, and the files they stand in."""

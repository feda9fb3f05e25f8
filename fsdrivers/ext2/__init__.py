"""Read-only ext2/3/4."""

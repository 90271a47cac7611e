"""Data sets that everybody has: where their files lie, how they are fetched, checked and read."""

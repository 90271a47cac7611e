"""A command line: its words, the configuration they compose, its signals and its streams."""

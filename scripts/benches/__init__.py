"""What scripts/bench.py measures: each bench is a generator of the lines of its report."""

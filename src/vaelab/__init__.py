"""Train, compare and picture variational autoencoders."""

__version__ = "0.1.0"


class UsageError(Exception):
    """A user's mistake: one line that names the thing, the place and the remedy; the commands exit with status 2."""

"""Text that others wrote, as it may be shown."""

import re

# Control characters, separators of lines, marks that turn the direction of writing, and bytes that are no UTF-8.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """Text in one line that no terminal obeys: what it would act on, or cannot show, stands there as an escape."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))

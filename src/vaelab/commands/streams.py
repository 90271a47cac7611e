"""stdout and stderr that never fail: whoever reads them may be gone, and need not know all letters."""

import io
import os
import sys
from contextlib import suppress
from typing import Any


class _Forgiving(io.FileIO):
    """A descriptor whose writes succeed: what nobody reads, or a full disk cannot take, is dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def make_forgiving() -> None:
    """Replaces this process's own stdout and stderr; those that a caller has replaced already are left alone."""
    for number in (0, 1, 2):
        with suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # takes this number, which else a file that is written would get
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            encoding = stream.encoding if stream else "utf-8"
            setattr(sys, name, forgiving(number, encoding, line_buffering=number == 2 or os.isatty(number)))


def forgiving(number: int, encoding: str, line_buffering: bool) -> io.TextIOWrapper:
    """A stream on a descriptor that drops what cannot be written and escapes what the encoding lacks."""
    raw = _Forgiving(number, "wb", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=line_buffering)

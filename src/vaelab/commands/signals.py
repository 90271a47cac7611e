"""Signals that end a command: answered at any moment by a line and the exit status 128 + the signal's number."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

CTRL_C = 128 + signal.SIGINT  # the exit status
REASONS = {"SIGINT": "Ctrl-C", "SIGTERM": "terminated", "SIGHUP": "terminal closed"}
_at_end: list[Callable[[str], object]] = []
_ending = False


def answer(*names: str) -> None:
    """Has these signals end this process at once, but for those that whoever started it has it ignore."""
    for name in names:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


@contextmanager
def at_end(call: Callable[[str], object]) -> Iterator[None]:
    """While within, a signal that is answered first calls this with the reason in words."""
    _at_end.append(call)
    try:
        yield
    finally:
        _at_end.remove(call)


def _end(number: int, _: FrameType | None) -> None:
    # An exception could come up in the middle of an import, a finally or a destructor, and be lost there or leave
    # threads that abort the process. What is half written has a temporary name.
    global _ending
    if _ending:
        os._exit(128 + number)
    _ending = True
    reason = REASONS[signal.Signals(number).name]
    told = False
    for call in reversed(_at_end):
        with suppress(Exception):  # one that cannot be told of its end keeps no other from it
            call(reason)
            told = True
    if not told and not _is_worker():
        with suppress(OSError):
            os.write(2, f"{Path(sys.argv[0]).name}: {reason}\n".encode())
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(128 + number)


def _is_worker() -> bool:
    """Whether another process of this program started this one, and says what there is to say."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


if Path(sys.argv[0]).name.startswith("vae-"):  # a console command, whose libraries take seconds to load
    answer(*REASONS)

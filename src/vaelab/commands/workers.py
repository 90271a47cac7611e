"""Worker processes: what they are given at their start, how they end with their parent, how errors travel."""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import RLock, Thread
from types import ModuleType
from typing import Any

from tqdm import tqdm

from vaelab import Failure, machine
from vaelab.commands import signals


def start(serve: Callable[..., Any], threads: int, *arguments: Any) -> tuple[SpawnProcess, Connection]:
    """A new process that does serve(connection, *arguments), and this end of its connection.

    Only for the main thread, and for processes that are no workers themselves.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(there, *arguments), daemon=True
    )
    with machine.cores_shared(), _environment(threads), _no_script():
        process.start()
    there.close()  # so that the end of the worker is the end of the pipe
    return process, here


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Pins threads before libraries load, keeps bars from overwriting each other, leaves Ctrl-C to the parent."""
    wanted = {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(wanted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_script() -> Iterator[None]:
    """Keeps a process that starts from running the script, or the notebook's, that has called vaelab."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def follow_parent() -> None:
    """From now on this worker answers signals, and ends when its parent has, however that ends."""
    # Its own lock would have a semaphore of the system's, which a worker that is ended leaves behind.
    tqdm.set_lock(RLock())
    signals.answer("SIGTERM", "SIGHUP")
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])  # which SIGKILL closes too, that nobody can handle
    os._exit(1)


def portable(error: Exception) -> Exception:
    """The error without the frames that it holds, or its words where it cannot travel between processes."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return Failure(f"{type(error).__name__}: {error}")
    return error

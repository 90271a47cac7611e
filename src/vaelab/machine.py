"""What this machine has, on every system: memory, cores, and the processes that this one started."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

SHARED_BY = 5  # processes that may be at work at once: a training and those that draw
SPINS = "10000"  # of GNU's OpenMP: scripts/benchmarks.md has what others cost


def share_cores() -> None:
    """Has threads that wait for each other give their core away soon, unless the user has said how they wait.

    Before the libraries load that start them. A thread that spins while another process has the core of the one that it
    waits for makes a training step up to 75 times slower.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


@contextmanager
def cores_shared() -> Iterator[None]:
    """The same for libraries that load, and processes that start, within."""
    before = os.environ.get("GOMP_SPINCOUNT")
    share_cores()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("GOMP_SPINCOUNT", None)


def free_memory() -> int:
    """Bytes that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def total_memory() -> int:
    """Bytes of memory."""
    return int(psutil.virtual_memory().total)


def cores() -> int:
    """How many cores this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS binds no process to cores
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def own_cores() -> int:
    """How many of them one process beside others does best with: on a busy machine the turns of many threads wait."""
    return max(1, cores() // SHARED_BY)


def peak_memory() -> int:
    """Bytes: the largest resident set that this process has had."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        used = psutil.Process().memory_info()
        return int(getattr(used, "peak_wset", used.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def end_children() -> None:
    """Ends the processes that this one has started, and those that they have, and waits up to 10 s for it."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    psutil.wait_procs(children, timeout=10)

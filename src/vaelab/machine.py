"""What this machine has: memory, free and used, and cores, on every system."""

import sys

import psutil


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


def peak_memory() -> int:
    """Bytes: the largest resident set that this process has had."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        used = psutil.Process().memory_info()
        return int(getattr(used, "peak_wset", used.rss))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

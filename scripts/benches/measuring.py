"""Seconds of sides in turn, and words that hold them against a target."""

import contextlib
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import torch


def side_by_side(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each side, measured A B A B ... after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            seconds[name].append(timed(side))
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call, with everything that it left to do on a GPU."""
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def python(code: str, *arguments: str) -> None:
    """Runs code in a fresh interpreter; raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars among the figures."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def at_least(value: float, target: float, unit: str = "times") -> str:
    return f"{number(value)} {unit} (target: at least {number(target)}, {verdict(value >= target)})"


def at_most(value: float, target: float, unit: str) -> str:
    return f"{number(value)} {unit} (target: at most {number(target)} {unit}, {verdict(value <= target)})"


def rate(value: float, target: float | None = None) -> str:
    """Images per second, against a target where there is one."""
    return f"{number(value)} images/s" if target is None else at_least(value, target, "images/s")


def rates(seconds: Mapping[str, float], images: int) -> str:
    """Images per second of each side, which took so long for so many images."""
    return ", ".join(f"{name} {rate(images / value)}" for name, value in seconds.items())


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def verdict(reached: bool) -> str:
    return "reached" if reached else "MISSED"

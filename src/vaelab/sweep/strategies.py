"""How the runs of a sweep are spread over one machine: in turn on one device, in processes, or one after the other."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vaelab import UsageError, hardware
from vaelab.commands.workers import portable
from vaelab.runs import job
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Workers
from vaelab.runs.request import Failures, Request
from vaelab.sweep import interleaved, processes
from vaelab.sweep.progress import Watch

STRATEGIES = ("auto", "interleaved", "parallel", "serial")
OLDER = {"ensemble": "interleaved"}  # spellings


def perform(requests: Sequence[Request], strategy: str, at_once: int | None) -> Failures:
    """Does what is left of the runs, at most `at_once` at a time; raises UsageError for a mistake that all share.

    What is chosen follows from all that was asked for, finished or not, so that an interrupted sweep goes on as begun.
    """
    kind = hardware.device(requests[0].cfg.trainer.device)
    cores = torch.get_num_threads()
    because = "asked for"
    strategy = OLDER.get(strategy, strategy)
    if strategy == "auto":
        strategy, because = choose(kind, cores, len(requests))
    if strategy == "parallel" and not starts_processes():
        raise UsageError("strategy=parallel starts processes, which only the main thread does: leave it out")
    left = [one for one in requests if one.state != "done"]
    for first, *_ in alike(left):  # mistakes are found, and images made ready, before any run begins
        job.prepare(first.cfg)
    chosen: dict[str, Any] = {"strategy": strategy, "because": because}
    with Watch(left, bar=strategy == "parallel"):
        if strategy == "interleaved":
            return interleaved.perform(_with(left, chosen), torch.device(kind), at_once)
        if strategy == "parallel":
            count = min(at_once or cores, cores, len(requests))
            chosen |= {"processes": count, "threads": cores // count}
            return processes.perform(_with(left, chosen), count, cores // count)
        return _serially(_with(left, chosen))


def choose(kind: str, cores: int, runs: int) -> tuple[str, str]:
    """The strategy for a device, a number of cores and a number of runs, and the reason; measured in benchmarks.md."""
    if runs == 1:
        return "serial", "there is one run"
    if kind == "cuda":
        return (
            "interleaved",
            "five runs in turn were measured 1.5 to 3 times as fast on an H200 as one after the other",
        )
    if cores == 1:
        return "serial", "there is one core"
    if not starts_processes():
        return "serial", "only the main thread starts processes"
    return (
        "parallel",
        "on a CPU, processes of few threads each were measured 1.1 to 1.5 times as fast as one run after the other",
    )


def starts_processes() -> bool:
    """Whether this thread is one that may start processes."""
    return threading.current_thread() is threading.main_thread()


def alike(requests: Sequence[Request]) -> list[list[Request]]:
    """The runs in groups that differ only in numbers that fit all networks and data or none."""
    groups: list[tuple[dict[str, Any], list[Request]]] = []
    for one in requests:
        shared = one.shared()
        found = next((group for known, group in groups if known == shared), None)
        if found is None:
            groups.append((shared, [one]))
        else:
            found.append(one)
    return [group for _, group in groups]


def _serially(requests: Sequence[Request]) -> Failures:
    failures: Failures = {}
    with Workers() as workers:
        for one in requests:
            try:
                jobs.alone(one, workers)
            except Exception as error:
                failures[one.name] = portable(error)
    return failures


def _with(requests: Sequence[Request], chosen: dict[str, Any]) -> list[Request]:
    return [replace(one, facts={"sweep": chosen}) for one in requests]

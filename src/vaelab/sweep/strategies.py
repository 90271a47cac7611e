"""How the runs of a sweep are spread over one machine: as ensembles, in processes, or one after the other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vaelab import build
from vaelab.runs import job
from vaelab.runs import perform as jobs
from vaelab.runs.request import Failures, Request
from vaelab.sweep import processes as workers
from vaelab.sweep import together
from vaelab.sweep.progress import Watch


def perform(asked: Sequence[Request], strategy: str) -> Failures:
    """Does what is left of the runs; raises UsageError for a mistake that all of them share.

    What is chosen follows from all that was asked for, finished or not, so that an interrupted sweep goes on as begun.
    """
    kind = build.device(asked[0].cfg.trainer.device)
    cores = torch.get_num_threads()
    because = "asked for"
    if strategy == "auto":
        strategy, because = choose(kind, cores, len(asked))
    left = [one for one in asked if one.state != "done"]
    for first, *_ in alike(left):  # mistakes are found, and images made ready, before any run begins
        job.prepare(first.cfg)
    chosen: dict[str, Any] = {"strategy": strategy, "because": because}
    with Watch(left, bar=strategy == "parallel"):
        if strategy == "ensemble":
            return _ensembles(asked, chosen)
        if strategy == "parallel":
            processes = min(cores, len(asked))
            chosen |= {"processes": processes, "threads": cores // processes}
            return workers.perform(_with(left, chosen), processes, cores // processes)
        return _serially(left, chosen)


def choose(kind: str, cores: int, runs: int) -> tuple[str, str]:
    """The strategy for a device, a number of cores and a number of runs, and the reason; measured in benchmarks.md."""
    if runs == 1:
        return "serial", "there is one run"
    if kind == "cuda":
        return "ensemble", "a GPU waits for launches with networks of this size, which an ensemble shares"
    if cores == 1:
        return "serial", "there is one core"
    return (
        "parallel",
        "on a CPU, processes of few threads each were measured 1.1 to 1.5 times as fast as one run after the other",
    )


def alike(asked: Sequence[Request]) -> list[list[Request]]:
    """The runs in groups that differ only in what members of an ensemble may."""
    groups: list[tuple[dict[str, Any], list[Request]]] = []
    for one in asked:
        shared = one.shared()
        found = next((group for known, group in groups if known == shared), None)
        if found is None:
            groups.append((shared, [one]))
        else:
            found.append(one)
    return [group for _, group in groups]


def _ensembles(asked: Sequence[Request], chosen: dict[str, Any]) -> Failures:
    failures: Failures = {}
    for group in alike(asked):
        if all(one.state == "done" for one in group):
            continue
        if len(group) == 1 or not together.can_be_stacked(group[0].cfg):
            alone = {"strategy": "serial", "because": "no other run can be trained with it"}
            failures |= _serially([one for one in group if one.state != "done"], alone)
            continue
        most = group[0].cfg.trainer.max_members
        if most == "auto":
            most = together.max_members(job.prepare(group[0].cfg))
        for members in together.chunks(group, most):
            left = [one for one in members if one.state != "done"]
            names = {"members": [one.run.folder.name for one in left], "max_members": most}
            if not left:
                continue
            try:
                failures |= together.perform(_with(left, chosen | names))
            except Exception as error:  # of all of them; other ensembles are tried all the same
                failures |= {one.name: workers.portable(error) for one in left if one.state != "done"}
    return failures


def _serially(asked: Sequence[Request], chosen: dict[str, Any]) -> Failures:
    failures: Failures = {}
    for one in _with(asked, chosen):
        try:
            jobs.perform(one)
        except Exception as error:
            failures[one.name] = workers.portable(error)
    return failures


def _with(asked: Sequence[Request], chosen: dict[str, Any]) -> list[Request]:
    return [replace(one, facts={"sweep": chosen}) for one in asked]

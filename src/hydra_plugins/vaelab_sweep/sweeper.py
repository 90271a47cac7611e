"""The default sweeper of vae-sweep: every combination of the listed values, but for runs that are done."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from hydra_plugins.vaelab_sweep._composer import Composer
from vaelab import Failure, UsageError
from vaelab.commands.signals import at_end
from vaelab.config import has_kl_weight, refuse_unused_kl_weight
from vaelab.runs import tracking
from vaelab.runs.identity import AUTO, identity, resolved, run_name, with_plain_numbers
from vaelab.runs.lock import Held, is_held
from vaelab.runs.request import Failures, Request
from vaelab.sweep.progress import POLL, Watch, listing, table

Job = tuple[Sequence[str], Request]  # overrides, and the run that they ask for


class GridSweeper(BasicSweeper):
    """Hydra's own grid of values; launches what is left of its runs and ends with a table of all of them."""

    def __init__(self, params: dict[str, str] | None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> list[Request]:
        """Does the runs and returns them, or with list=true only prints them; raises as failed() says."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (grid,) = self.split_arguments(overrides, self.max_batch_size)
        composer = Composer(self.hydra_context, self.config)
        jobs = jobs_of(composer, with_weights(composer, grid, self.config.n, arguments))
        requests = [one for _, one in jobs]
        refuse_unused_kl_weight((one.cfg for one in requests), arguments)
        if self.config.list:
            print(listing(requests))
            return []
        failures = launch(self.launcher, jobs)
        print(table(requests))
        common = os.path.commonpath([one.run.folder.parent.absolute() for one in requests])
        common = os.path.relpath(common) if not requests[0].run.folder.is_absolute() else common
        print(f"their figures side by side: vae-report runs='{common}/**'")
        if failures:
            raise failed(failures, len(requests), "the same command tries them again")
        return requests


def jobs_of(composer: Composer, grid: Sequence[Sequence[str]]) -> list[Job]:
    """The runs of a grid, each once: one whose numbers are only written in another way is none of its own.

    A model without a KL term is not trained again for each KL weight.
    """
    jobs: dict[tuple[Path, str], Job] = {}
    for overrides in grid:
        one = composer.request(overrides)
        if not has_kl_weight(one.cfg):
            overrides = [o for o in overrides if not o.startswith("kl_weight=")]
            one = composer.request(overrides)
        key = one.run.folder.parent, with_plain_numbers(run_name(overrides))
        _, other = jobs.setdefault(key, (overrides, one))
        if other is not one and identity(resolved(other.cfg)) != identity(resolved(one.cfg)):
            raise UsageError(
                f"two different runs of this sweep would be {one.run.folder}: sweep them one by one"
            )
    return list(jobs.values())


def with_weights(
    composer: Composer, grid: Sequence[Sequence[str]], count: int, arguments: Sequence[str]
) -> Sequence[Sequence[str]]:
    """The grid, where each kl_weight=auto has become so many λ; raises UsageError where n is given without."""
    if any(AUTO in overrides for overrides in grid):
        from vaelab.sweep.weights import Weights

        return Weights(composer.request, count).expand(grid)
    if given := [override for override in arguments if override.startswith("n=")]:
        raise UsageError(f"{given[0]} is how many λ kl_weight=auto has: give kl_weight=auto too")
    return grid


def launch(launcher: Launcher, jobs: Sequence[Job]) -> Failures:
    """Does what is left of the jobs, wherever the launcher does it; raises UsageError for a mistake of any of them.

    What another process is at comes last: it is waited for, and done where the other has not done it.
    """
    left = []
    for _, one in jobs:
        if one.state != "done":
            left.append(one)
            continue
        one.run.tell_reports(one.cfg)
        tracking.hand_over(one.run, one.cfg)
        print(f"already done: {one.run.folder}", file=sys.stderr)
    if not left:
        return {}
    refuse_mistakes(left)
    failures = _launch(launcher, jobs)
    while held := [one for _, one in jobs if isinstance(failures.get(one.name), Held)]:
        for one in held:
            del failures[one.name]
        wait_for(held)
        failures |= _launch(launcher, [job for job in jobs if job[1].name not in failures])
    return failures


def refuse_mistakes(requests: Sequence[Request]) -> None:
    """Raises UsageError for a mistake in any of the runs, before all of them."""
    from vaelab import build, plugins
    from vaelab.sweep.strategies import alike

    for one in requests:
        plugins.allow(one.cfg.plugins)
        build.check(one.cfg)
    for first, *_ in alike(requests):  # what is built of the others has other numbers, and these are checked
        build.rehearse(first.cfg)


def wait_for(held: Sequence[Request]) -> None:
    """Returns when no other process is at any of the runs."""
    print(f"waiting for {len(held)} runs that another process is at", file=sys.stderr)
    while any(is_held(one.run.folder) for one in held):
        time.sleep(POLL)


def _launch(launcher: Launcher, jobs: Sequence[Job]) -> Failures:
    left = [(overrides, one) for overrides, one in jobs if one.state != "done"]
    if not left:
        return {}
    # Of our own launcher, which needs nothing composed again.
    if perform := getattr(launcher, "perform", None):
        return dict(perform([one for _, one in jobs]))
    from vaelab.machine import end_children

    watch = Watch([one for _, one in left], bar=not isinstance(launcher, BasicLauncher))
    with at_end(lambda reason: end_children()), watch:  # what the launcher itself has not ended
        return _failures(launcher.launch([overrides for overrides, _ in left], 0), left)


def _failures(returns: Sequence[JobReturn], jobs: Sequence[Job]) -> Failures:
    failures: Failures = {}
    for result, (_, one) in zip(returns, jobs, strict=True):
        # A job returns its error; where it ended without a word, the result holds what the launcher knows of it.
        died = result.status != JobStatus.COMPLETED
        error = result._return_value if died else result.return_value
        if not isinstance(error, Exception):
            continue
        failures[one.name] = error
        if died and one.run.info.get("status") == "running":
            one.run.fail(error)
    return failures


def failed(failures: Mapping[str, Exception], runs: int, remedy: str) -> UsageError | Failure:
    """That runs of a sweep failed, with a note on each: UsageError where all are the user's mistakes, else Failure."""
    mistakes = all(isinstance(error, UsageError) for error in failures.values())
    found = (UsageError if mistakes else Failure)(f"{len(failures)} of {runs} runs failed; {remedy}")
    for name, error in failures.items():
        found.add_note(f"  {name}: {str(error) or type(error).__name__}")
    return found

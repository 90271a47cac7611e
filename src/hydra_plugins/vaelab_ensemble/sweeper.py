"""The default sweeper of vae-sweep: every combination of the listed values, but for runs that are done."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig

from hydra_plugins.vaelab_ensemble.launcher import asked_for
from vaelab import UsageError
from vaelab.asked import Asked, Failures
from vaelab.identity import identity, resolved
from vaelab.sweep import Watch, listing, table

Job = tuple[Sequence[str], Asked]  # overrides, and the run that they ask for


class GridSweeper(BasicSweeper):
    """Hydra's own grid of values; launches what is left of its runs and ends with a table of all of them."""

    def __init__(self, params: dict[str, str] | None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Does the runs, or with list=true only prints them; exits with 1 where some failed."""
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (grid,) = self.split_arguments(overrides, self.max_batch_size)
        jobs = jobs_of(self.hydra_context, self.config, grid)
        asked = [one for _, one in jobs]
        if self.config.list:
            return print(listing(asked))
        failures = launch(self.launcher, jobs)
        print(table(asked))
        common = os.path.commonpath([one.run.folder.parent.absolute() for one in asked])
        common = os.path.relpath(common) if not asked[0].run.folder.is_absolute() else common
        print(f"their figures side by side: vae-report runs='{common}/**'")
        if failures:
            exit_with(failures, len(asked), "the same command tries them again")


def jobs_of(context: HydraContext, config: DictConfig, grid: Sequence[Sequence[str]]) -> list[Job]:
    """The runs of a grid, each once: a model without a KL term is not trained again for each KL weight."""
    jobs: dict[str, Job] = {}
    for overrides in grid:
        one = asked_for(context, config, overrides)
        if "kl_weight" not in one.cfg.loss:
            overrides = [o for o in overrides if not o.startswith("kl_weight=")]
            one = asked_for(context, config, overrides)
        _, other = jobs.setdefault(one.name, (overrides, one))
        if identity(resolved(other.cfg)) != identity(resolved(one.cfg)):
            raise UsageError(
                f"two different runs of this sweep would be {one.run.folder}: sweep them one by one"
            )
    return list(jobs.values())


def launch(launcher: Launcher, jobs: Sequence[Job]) -> Failures:
    """Does what is left of the jobs, wherever the launcher does it; raises UsageError for a mistake of any of them."""
    left = [(overrides, one) for overrides, one in jobs if one.state != "done"]
    for _, one in jobs:
        if one.state == "done":
            one.run.tell_reports(one.cfg)
            print(f"already done: {one.run.folder}", file=sys.stderr)
    if not left:
        return {}
    from vaelab import build

    for _, one in left:
        build.check(one.cfg)
        build.rehearse(one.cfg)
    if getattr(launcher, "wants_all_runs", False):
        return _failures(launcher.launch([overrides for overrides, _ in jobs], 0), jobs)
    with Watch([one for _, one in left], bar=not isinstance(launcher, BasicLauncher)):
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


def exit_with(failures: Mapping[str, Exception], runs: int, remedy: str) -> NoReturn:
    """Lists the failures and exits: with 2 where all are the user's mistakes, else with 1."""
    print(
        f"vae-sweep: {len(failures)} of {runs} runs failed; {remedy}",
        file=sys.stderr,
    )
    for name, error in failures.items():
        print(f"  {name}: {str(error) or type(error).__name__}", file=sys.stderr)
    sys.exit(2 if all(isinstance(error, UsageError) for error in failures.values()) else 1)

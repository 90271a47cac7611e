"""The default launcher of vae-sweep: runs in turn on a GPU, parallel processes on a CPU."""

from collections.abc import Sequence
from typing import Any, Literal

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.vaelab_sweep._composer import Composer
from vaelab import UsageError
from vaelab.bounds import Count
from vaelab.checks import check_value
from vaelab.names import nearest
from vaelab.runs.request import Failures, Request


class SweepLauncher(Launcher):
    """Trains the runs of a sweep on this machine by the chosen strategy."""

    def __init__(self, strategy: str, at_once: int | str) -> None:
        self.strategy, self.at_once = strategy, at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over before launch."""
        self._composer = Composer(hydra_context, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Does what is left of the jobs; each returns the reason why it failed, or None."""
        requests = [self._composer.request(overrides) for overrides in job_overrides]
        failures = self.perform(requests)
        return [
            JobReturn(overrides, one.cfg, status=JobStatus.COMPLETED, _return_value=failures.get(one.name))
            for overrides, one in zip(job_overrides, requests, strict=True)
        ]

    def perform(self, requests: Sequence[Request]) -> Failures:
        """Does what is left of runs; what it chooses depends on all of them, also on those that are done."""
        from vaelab.sweep import strategies

        known = strategies.STRATEGIES
        if self.strategy not in (*known, *strategies.OLDER):
            told = f"known: {', '.join(known)}{nearest(self.strategy, known)}"
            raise UsageError(f"hydra.launcher.strategy={self.strategy} does not exist; {told}")
        check_value(self.at_once, Literal["auto"] | Count, "hydra.launcher.at_once")
        at_once = None if isinstance(self.at_once, str) else self.at_once
        return strategies.perform(requests, self.strategy, at_once)

"""The default launcher of vae-sweep: ensembles on a GPU, parallel processes on a CPU."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.vaelab_ensemble._composer import Composer
from vaelab import UsageError
from vaelab.config import nearest
from vaelab.runs.request import Failures, Request

STRATEGIES = ("auto", "ensemble", "parallel", "serial")


class EnsembleLauncher(Launcher):
    """Trains the runs of a sweep on this machine by the chosen strategy."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over before launch."""
        self._composer = Composer(hydra_context, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Does what is left of the jobs; each returns the reason why it failed, or None."""
        asked = [self._composer.asked(overrides) for overrides in job_overrides]
        failures = self.perform(asked)
        return [
            JobReturn(overrides, one.cfg, status=JobStatus.COMPLETED, _return_value=failures.get(one.name))
            for overrides, one in zip(job_overrides, asked, strict=True)
        ]

    def perform(self, asked: Sequence[Request]) -> Failures:
        """Does what is left of runs; what it chooses depends on all of them, also on those that are done."""
        if self.strategy not in STRATEGIES:
            known = f"known: {', '.join(STRATEGIES)}{nearest(self.strategy, STRATEGIES)}"
            raise UsageError(f"hydra.launcher.strategy={self.strategy} does not exist; {known}")
        from vaelab.sweep import strategies as launch

        return launch.perform(asked, self.strategy)

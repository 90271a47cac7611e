"""The default launcher of vae-sweep: ensembles on a GPU, parallel processes on a CPU."""

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from vaelab import UsageError
from vaelab.asked import Asked, ask
from vaelab.config import nearest

STRATEGIES = ("auto", "ensemble", "parallel", "serial")


def asked_for(context: HydraContext, config: DictConfig, overrides: Sequence[str]) -> Asked:
    """The run of one job's overrides; raises UsageError for a configuration that is none."""
    cfg = context.config_loader.load_sweep_config(config, list(overrides))
    chosen = cfg.hydra
    command = [argument for argument in sys.argv if argument != "--multirun"]  # which vae-sweep adds
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
    return ask(cfg, chosen.runtime.choices, chosen.overrides.task, command)


class EnsembleLauncher(Launcher):
    """Trains the runs of a sweep on this machine by the chosen strategy."""

    # What it chooses depends on all runs, so it is given those that are done too.
    wants_all_runs = True

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over before launch."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Does what is left of the jobs; each returns the reason why it failed, or None."""
        setup_globals()
        if self.strategy not in STRATEGIES:
            known = f"known: {', '.join(STRATEGIES)}{nearest(self.strategy, STRATEGIES)}"
            raise UsageError(f"hydra.launcher.strategy={self.strategy} does not exist; {known}")
        asked = [asked_for(self.hydra_context, self.config, overrides) for overrides in job_overrides]
        from vaelab import launch

        failures = launch.perform(asked, self.strategy)
        return [
            JobReturn(overrides, one.cfg, status=JobStatus.COMPLETED, _return_value=failures.get(one.name))
            for overrides, one in zip(job_overrides, asked, strict=True)
        ]

"""One job of a sweep, as a launcher sends it to another process."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from vaelab import UsageError


def required(module: str, extra: str) -> Any:
    """An optional package; raises UsageError that says how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{module} is not installed: pip install 'vaelab[{extra}]'") from error


@dataclass
class Job:
    """What a worker needs to run one job, and to say that it failed."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction
    overrides: list[str]
    number: int
    environment: Mapping[str, str | None] = field(default_factory=dict)  # set in the worker; null unsets
    singletons: dict[type, Singleton] = field(default_factory=Singleton.get_state)

    def run(self) -> JobReturn:
        """Composes the job's configuration and calls the task, in the worker."""
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        setup_globals()
        Singleton.set_state(self.singletons)
        config = self.context.config_loader.load_sweep_config(self.config, self.overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = self.number
        try:
            return run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        except SystemExit as exited:
            # Hydra lets it pass, and it would end the worker without a result.
            return self.failed(RuntimeError(f"the job exited with status {exited.code}"))

    def failed(self, error: Exception) -> JobReturn:
        """The result of a job that has none of its own."""
        return JobReturn(overrides=self.overrides, status=JobStatus.FAILED, _return_value=error)


class JobLauncher(Launcher):
    """A launcher that makes jobs of the overrides; how they are run is for the subclass to say."""

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in options.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over before launch."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def jobs(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
        """The jobs, numbered from `first`."""
        setup_globals()
        return [
            Job(self.context, self.config, self.task, list(overrides), number)
            for number, overrides in enumerate(job_overrides, first)
        ]

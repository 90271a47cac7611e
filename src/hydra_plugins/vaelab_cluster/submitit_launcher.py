"""hydra/launcher=submitit_local and submitit_slurm: each job of a sweep is a process, here or in SLURM's queue."""

import os
import signal
import subprocess
import time
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from hydra.core.utils import JobReturn

from hydra_plugins.vaelab_cluster._job import Job, JobLauncher, required
from vaelab.commands.signals import at_end

if TYPE_CHECKING:
    import submitit

    Handle = submitit.Job[JobReturn]

GPUS = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"  # of one job: more threads than cores make convolutions many times slower
LOOK = 0.5  # seconds between two looks for results
ASK = 10.0  # seconds between two questions to SLURM, which many users share
LATE = 2  # answers of SLURM without a job before its result counts as missing: a shared disk shows files late
COMMON = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")  # that submitit knows for every cluster


class SubmititLauncher(JobLauncher):
    """Submits, waits, collects each result by itself, and cancels what runs when it is interrupted."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Waits for all jobs; one that dies has failed, and the others go on."""
        waiting = self.jobs(job_overrides, initial_job_idx)
        running: dict[Handle, Job] = {}
        results: dict[int, JobReturn] = {}
        try:
            with at_end(lambda reason: self.cancel(running)):
                while waiting or running:
                    running |= self.submit(waiting, running.values())
                    for handle in self.ended(running):
                        job = running.pop(handle)
                        results[job.number] = collect(job, handle)
                    time.sleep(LOOK)
        except BaseException:
            self.cancel(running)
            raise
        return [results[number] for number in sorted(results)]

    @abstractmethod
    def submit(self, waiting: list[Job], running: Collection[Job]) -> "dict[Handle, Job]":
        """Takes from the waiting jobs those that may begin now."""

    @abstractmethod
    def ended(self, running: "Mapping[Handle, Job]") -> "list[Handle]":
        """Those that run no more."""

    def cancel(self, running: "Iterable[Handle]") -> None:
        """Ends the jobs."""
        for handle in running:
            handle.cancel(check=False)

    @property
    def folder(self) -> Path:
        """Where submitit keeps its files."""
        return Path(self.options["submitit_folder"]).absolute()


class LocalLauncher(SubmititLauncher):
    """Processes on this machine, a bounded number at once."""

    def submit(self, waiting: list[Job], running: Collection[Job]) -> "dict[Handle, Job]":
        """Fills the free places; submitit itself would start all jobs at once and hide or share all GPUs."""
        submitit = required("submitit", "slurm")
        gpus: list[str] = [str(gpu) for gpu in self.options["gpus"]]
        at_once = self.options["n_jobs"] or len(gpus) or os.cpu_count() or 1
        begun: dict[Handle, Job] = {}
        while waiting and len(running) + len(begun) < at_once:
            job = waiting.pop(0)
            taken = [other.environment[GPUS] for other in [*running, *begun.values()]]
            job.environment = {
                GPUS: min(gpus, key=taken.count) if gpus else os.environ.get(GPUS),
                THREADS: str(max(1, (os.cpu_count() or 1) // at_once)),
            }
            # A folder for each job, since submitit names files by process ids, which come again.
            executor = submitit.AutoExecutor(self.folder / str(job.number), cluster="local")
            executor.update_parameters(timeout_min=self.options["timeout_min"])
            begun[executor.submit(job.run)] = job
        return begun

    def cancel(self, running: "Iterable[Handle]") -> None:
        """Ends the jobs without submitit's own process in between, which would print a traceback here."""
        for between in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                jobs = between.children(recursive=True)
                between.kill()
                for job in jobs:
                    job.send_signal(signal.SIGINT)

    def ended(self, running: "Mapping[Handle, Job]") -> "list[Handle]":
        """Those whose process is gone."""
        return [handle for handle in running if handle.done()]


class SlurmLauncher(SubmititLauncher):
    """One job array in SLURM's queue."""

    asked: float = 0.0
    missed: dict[str, int]

    def submit(self, waiting: list[Job], running: Collection[Job]) -> "dict[Handle, Job]":
        """Queues all at once; SLURM decides when each begins."""
        if not waiting:
            return {}
        submitit = required("submitit", "slurm")
        parameters = {
            key if key in COMMON else f"slurm_{key}": value
            for key, value in self.options.items()
            if key != "submitit_folder" and value is not None
        }
        if cpus := self.options["cpus_per_task"]:
            # Since SLURM 22.05, srun does not inherit it from sbatch.
            parameters["slurm_srun_args"] = [f"--cpus-per-task={cpus}"]
            for job in waiting:  # for not every cluster binds a job to its cores
                job.environment = {THREADS: str(cpus)}
        executor = submitit.AutoExecutor(self.folder / "%j", cluster="slurm")
        executor.update_parameters(name="vaelab", nodes=1, tasks_per_node=1, **parameters)
        with executor.batch():
            begun = {executor.submit(job.run): job for job in waiting}
        waiting.clear()
        self.asked, self.missed = time.monotonic(), {}
        return begun

    def ended(self, running: "Mapping[Handle, Job]") -> "list[Handle]":
        """Those with a result, and those that left the queue without one.

        submitit would ask sacct, which answers only where SLURM keeps accounts, and else wait for ever.
        """
        done = [handle for handle in running if handle.paths.result_pickle.exists()]
        if time.monotonic() - self.asked < ASK:
            return done
        self.asked = time.monotonic()
        command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:  # the controller is away for a moment
            return done
        queued = answer.stdout.split()
        for handle in running:
            missed = self.missed.get(handle.job_id, 0) + 1
            self.missed[handle.job_id] = 0 if handle.job_id in queued else missed
        return [handle for handle in running if handle in done or self.missed[handle.job_id] >= LATE]


def collect(job: Job, handle: "Handle") -> JobReturn:
    """The job's result, or why there is none."""
    # submitit itself would wait 15 seconds for it.
    if not handle.paths.result_pickle.exists():
        return job.failed(RuntimeError(f"the job ended without a result; its log: {handle.paths.stderr}"))
    try:
        return handle.result()
    except Exception as error:  # of any kind: what the job raised before or after the task
        return job.failed(error)

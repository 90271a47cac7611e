"""hydra/launcher=ray: each job of a sweep is a task of a ray cluster."""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn

from hydra_plugins.vaelab_cluster._job import Job, JobLauncher, required
from vaelab import UsageError
from vaelab.commands.signals import at_end

WORKER_ENVIRONMENT = {"HYDRA_FULL_ERROR": "1", "TQDM_DISABLE": "1"}


class RayLauncher(JobLauncher):
    """Runs as many jobs at once as the cluster has room for."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Waits for all jobs; one whose worker dies has failed, and the others go on."""
        # ray reads these when it is imported: no figures of use are sent, no hint at a change to come is printed.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        ray = required("ray", "ray")
        if not ray.is_initialized():
            on_sigterm = signal.getsignal(signal.SIGTERM)
            ray.init(address=self.options["address"] or "local", **(self.quiet() | self.options["init"]))
            signal.signal(signal.SIGTERM, on_sigterm)  # ray has set one of its own
        needs = {"CPU": self.options["num_cpus"], "GPU": self.options["num_gpus"]}
        refuse_more_than_there_is(needs, ray.cluster_resources())
        # A job that kills its worker, by taking all memory for one, would do so again.
        remote = ray.remote(num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=0)(run)
        jobs = self.jobs(job_overrides, initial_job_idx)
        running = [remote.remote(os.getcwd(), WORKER_ENVIRONMENT, ray.cloudpickle.dumps(job)) for job in jobs]
        try:
            with at_end(lambda reason: ray.shutdown()):
                return [collect(job, reference) for job, reference in zip(jobs, running, strict=True)]
        except BaseException:
            # This ends the jobs; at the interpreter's exit ray would do it too, and change the exit status to 1.
            ray.shutdown()
            raise

    def quiet(self) -> dict[str, Any]:
        """The arguments of ray.init without which it would write much to the terminal and start a web server."""
        logs = {"log_to_driver": False, "logging_level": "ERROR"}
        return logs if self.options["address"] else logs | {"include_dashboard": False}


def refuse_more_than_there_is(needs: Mapping[str, float], cluster: Mapping[str, float]) -> None:
    """Raises for a job that no cluster of this size can run, for ray would wait for ever."""
    for kind, count in needs.items():
        if count > cluster.get(kind, 0):
            key = f"hydra.launcher.num_{kind.lower()}s={count:g}"
            raise UsageError(f"{key}, but the ray cluster has {cluster.get(kind, 0):g}")


def run(folder: str, environment: Mapping[str, str], pickled: bytes) -> JobReturn:
    """Runs in the worker; the job comes as bytes, for what it imports reads the environment."""
    os.chdir(folder)
    os.environ.update(environment)
    from ray import cloudpickle

    job: Job = cloudpickle.loads(pickled)
    return job.run()


def collect(job: Job, reference: Any) -> JobReturn:
    """The job's result, or why there is none."""
    import ray

    try:
        # ray.get would turn the exit that a signal asks for into one of status 1.
        result: JobReturn = reference.future().result()
    except ray.exceptions.RayError as error:
        return job.failed(error)
    return result

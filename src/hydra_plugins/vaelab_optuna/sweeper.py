"""A search for the values that maximise a metric: optuna asks, runs answer, and a killed search goes on as it began."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.vaelab_ensemble.sweeper import Failures, Job, exit_with, jobs_of, launch
from vaelab import UsageError
from vaelab.asked import SWEEP_ONLY
from vaelab.config import AtLeast, check_arguments
from vaelab.run import Run
from vaelab.sweep import listing, table

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DIGITS = 4  # of a sampled number, so that folder names can be read


class OptunaSweeper(Sweeper):
    """Asks optuna's TPE sampler (Bergstra et al. 2011) for trials, each of which is one ordinary run."""

    def __init__(
        self,
        search: dict[str, Any],
        metric: str,
        direction: Literal["maximize", "minimize"],
        trials: Annotated[int, AtLeast(1)],
        batch: Annotated[int, AtLeast(1)],
        seed: Annotated[int, AtLeast(0)],
        storage: str,
        study: str | None,
        params: Any,
    ) -> None:
        self.search, self.metric, self.direction = search, metric, direction
        self.trials, self.batch, self.seed = trials, batch, seed
        self.storage, self.study = Path(storage), study

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """What Hydra hands over before the sweep."""
        values = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        assert isinstance(values, dict)
        check_arguments(OptunaSweeper, {str(k): v for k, v in values.items()}, "hydra.sweeper")
        self._context, self._config = hydra_context, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Does the trials that are left, or with list=true only prints them; exits with 1 where some failed."""
        optuna = required()
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        given = {override.get_key_element(): override for override in parser.parse_overrides(arguments)}
        default = parser.parse_overrides([f"{key}={value}" for key, value in self.search.items()])
        overrides = {override.get_key_element(): override for override in default} | given
        overrides = {key: override for key, override in overrides.items() if key not in SWEEP_ONLY}
        space = {k: distribution(o) for k, o in overrides.items() if o.is_sweep_override()}
        fixed = [f"{k}={o.get_value_element_as_str()}" for k, o in overrides.items() if k not in space]
        if self._config.rerun:
            raise UsageError(
                "rerun=true has no meaning in a search: give another hydra.sweeper.seed or study"
            )
        if not space:
            raise UsageError("there is nothing to search: give a range such as 'kl_weight=interval(0.1, 10)'")
        storage, name = f"sqlite:///{self.storage}", self.study or self._name(space, fixed)
        if self._config.list and not (self.storage.is_file() and name in optuna.get_all_study_names(storage)):
            return print(f"0 of {self.trials} trials")
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            found = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=self.direction,
                load_if_exists=True,
            )
            if not self._config.list:
                self._search(found, space, fixed)
        jobs = [self._job(trial.params, fixed) for trial in whole(found, space)]
        asked = list({one.name: one for _, one in jobs}.values())
        if self._config.list:
            return print(f"{len(jobs)} of {self.trials} trials", listing(asked), sep="\n")
        print(table(asked))
        self._print_best(found, fixed)
        failures = self._failures(found, space, fixed)
        if failures:
            exit_with(failures, len(jobs), "a search does not try a point again")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the storage, for what is asked next depends on all that was told."""
        lock = FileLock(f"{self.storage}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(f"{self.storage} is in use by another search: wait for it or stop it") from error
        try:
            yield
        finally:
            lock.release()

    def _name(self, space: Mapping[str, "BaseDistribution"], fixed: Sequence[str]) -> str:
        parts = [self.metric, self.direction, str(self.seed), *sorted(fixed)]
        parts += [f"{key}: {value}" for key, value in sorted(space.items())]
        return f"{self.metric}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"

    def _search(
        self, study: "optuna.Study", space: Mapping[str, "BaseDistribution"], fixed: Sequence[str]
    ) -> None:
        """Asks for trials and tells their values, a batch at a time; trials that were never told come first."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        for trial in study.get_trials(states=[running]):
            if trial.params.keys() != space.keys():  # killed while it was asked for
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        while True:
            waiting = [trial for trial in whole(study, space) if trial.state == running]
            while (count := len(whole(study, space))) < self.trials and (not waiting or count % self.batch):
                # A seed of its own for each trial, so that a continued search asks for the same points.
                number = len(study.get_trials(deepcopy=False))
                study.sampler = optuna.samplers.TPESampler(seed=self.seed + count, constant_liar=True)
                study.ask(dict(space))
                waiting.append(study.get_trials()[number])
            if not waiting:
                return
            self._perform(study, waiting, fixed)
            if any(trial.state == running for trial in whole(study, space)):
                return  # trainer.max_seconds has stopped a run; the same command continues it

    def _perform(self, study: "optuna.Study", trials: Sequence["FrozenTrial"], fixed: Sequence[str]) -> None:
        import optuna

        jobs = {trial.number: self._job(trial.params, fixed) for trial in trials}
        failures = launch(self._launcher, list({one.name: (o, one) for o, one in jobs.values()}.values()))
        for number, (_, one) in sorted(jobs.items()):
            if one.name in failures:
                study.tell(number, state=optuna.trial.TrialState.FAIL)
            elif one.run.is_done():
                study.tell(number, self._value(one.run))

    def _value(self, run: Run) -> float:
        """The metric of a finished run."""
        last = [row for row in run.history if row["split"] == "val"][-1]
        value = last.get(self.metric)
        if not isinstance(value, int | float):
            known = ", ".join(name for name in last if name not in ("split", "epoch", "step"))
            raise UsageError(f"hydra.sweeper.metric={self.metric} is not measured by {run.folder}: {known}")
        return float(value)

    def _failures(self, study: "optuna.Study", space: Mapping[str, Any], fixed: Sequence[str]) -> Failures:
        """Why trials failed, in this call or before."""
        failed = [trial for trial in whole(study, space) if trial.state.name == "FAIL"]
        runs = [self._job(trial.params, fixed)[1].run for trial in failed]
        return {str(run.folder): RuntimeError(run.info.get("reason") or "not begun") for run in runs}

    def _job(self, params: Mapping[str, Any], fixed: Sequence[str]) -> Job:
        """The run of a trial."""
        sampled = [f"{key}={written(value)}" for key, value in params.items()]
        (job,) = jobs_of(self._context, self._config, [[*fixed, *sampled]])
        return job

    def _print_best(self, study: "optuna.Study", fixed: Sequence[str]) -> None:
        import optuna

        if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
            return
        best = study.best_trial
        _, one = self._job(best.params, fixed)
        values = ", ".join(f"{key}={written(value)}" for key, value in best.params.items())
        print(
            f"best of {len(study.trials)} trials: {values}: {self.metric} {best.value:.6g}, {one.run.folder}"
        )


def whole(study: "optuna.Study", space: Mapping[str, Any]) -> list["FrozenTrial"]:
    """The trials that were asked for to the end, in order."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.params.keys() == space.keys()]


def required() -> Any:
    """optuna, silent but for warnings; raises UsageError that says how to install it."""
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise UsageError("optuna is not installed: pip install 'vaelab[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distribution(override: Override) -> "BaseDistribution":
    """What optuna samples for a range or list of Hydra's grammar; raises UsageError for an empty range."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    swept = override.value()
    if not isinstance(swept, IntervalSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    assert swept.start is not None
    assert swept.end is not None
    log = "log" in swept.tags
    whole_numbers = isinstance(swept.start, int) and isinstance(swept.end, int)
    kind = IntDistribution if whole_numbers else FloatDistribution
    try:
        return kind(swept.start, swept.end, log=log)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"{override.input_line}: {error}") from error


def written(value: Any) -> str:
    """A sampled value as it stands in an override, and so in the name of a folder."""
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return repr(float(f"{value:.{DIGITS}g}"))

"""A search for the values that maximise a metric: optuna asks, runs answer, and a killed search goes on as it began."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.vaelab_sweep._composer import Composer
from hydra_plugins.vaelab_sweep.sweeper import Job, failed, jobs_of, launch
from vaelab import UsageError
from vaelab.bounds import AtLeast
from vaelab.checks import check_arguments
from vaelab.config import has_kl_weight
from vaelab.keys import SWEEP_ONLY
from vaelab.runs.folder import Run
from vaelab.runs.request import Failures, Request
from vaelab.sweep.progress import listing, table

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
        self._composer = Composer(hydra_context, config)
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Request]:
        """Does the trials that are left and returns all, or with list=true prints them; raises as failed() says."""
        optuna = required()
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        given = {o.get_key_element(): o for o in parser.parse_overrides(arguments)}
        bare = {key.lstrip("+") for key in given}  # ++kl_weight=5 replaces the default range as well
        default = parser.parse_overrides([f"{k}={v}" for k, v in self.search.items() if k not in bare])
        overrides = {o.get_key_element(): o for o in default} | given
        overrides = {key: o for key, o in overrides.items() if key.lstrip("+") not in SWEEP_ONLY}
        space = {k: distribution(o) for k, o in overrides.items() if o.is_sweep_override()}
        fixed = [f"{k}={o.get_value_element_as_str()}" for k, o in overrides.items() if k not in space]
        if self._config.rerun:
            raise UsageError(
                "rerun=true has no meaning in a search: give another hydra.sweeper.seed or study"
            )
        if not space:
            raise UsageError("there is nothing to search: give a range such as 'kl_weight=interval(0.1, 10)'")
        self._refuse_useless(space, fixed)
        name = self.study or self._name(space, fixed)
        if self._config.list:
            self._list(name, fixed)
            return []
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            found = optuna.create_study(
                storage=self._url("rwc"), study_name=name, direction=self.direction, load_if_exists=True
            )
            self._refuse_another(found, space)
            self._search(found, space, fixed)
        jobs = [self._job(trial.params, fixed) for trial in found.get_trials(deepcopy=False)]
        requests = list({one.name: one for _, one in jobs}.values())
        print(table(requests))
        self._print_best(found, fixed)
        if failures := self._failures(found, fixed):
            raise failed(failures, len(jobs), "a search does not try a point again")
        return requests

    def _refuse_useless(self, space: Mapping[str, "BaseDistribution"], fixed: Sequence[str]) -> None:
        """Raises UsageError where an end of a range is no value of its key, or the model has not what is searched."""
        for end in ("low", "high"):
            params = {key: getattr(among, end, None) for key, among in space.items()}
            _, one = self._job({key: value for key, value in params.items() if value is not None}, fixed)
        if space.keys() == {"kl_weight"} and not has_kl_weight(one.cfg):
            raise UsageError("there is nothing to search: the chosen loss has no KL term: give another range")

    def _list(self, name: str, fixed: Sequence[str]) -> None:
        """Prints the trials so far, also those of a search that runs; writes nothing."""
        import optuna

        jobs: list[Job] = []
        if self.storage.is_file() and name in optuna.get_all_study_names(self._url("ro")):
            study = optuna.load_study(study_name=name, storage=self._url("ro"))
            jobs = [self._job(trial.params, fixed) for trial in study.get_trials(deepcopy=False)]
        print(f"{len(jobs)} of {self.trials} trials")
        if jobs:
            print(listing(list({one.name: one for _, one in jobs}.values())))

    def _url(self, mode: Literal["ro", "rwc"]) -> str:
        from sqlalchemy import URL

        # A URI of SQLite's, for a plain path must not hold a question mark or a brace.
        file = f"file:{quote(str(self.storage))}"
        return URL.create("sqlite", database=file, query={"mode": mode, "uri": "true"}).render_as_string()

    def _refuse_another(self, study: "optuna.Study", space: Mapping[str, "BaseDistribution"]) -> None:
        """Raises UsageError for a named study that was begun as another search."""
        same = all(trial.distributions == space for trial in study.get_trials(deepcopy=False))
        if same and study.direction.name.lower() == self.direction:
            return
        raise UsageError(
            f"hydra.sweeper.study={study.study_name} in {self.storage} has other ranges or another direction:"
            " give another name"
        )

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
        while True:
            waiting = study.get_trials(states=[running])
            while (count := len(study.get_trials(deepcopy=False))) < self.trials and (
                not waiting or count % self.batch
            ):
                study.add_trial(self._proposed(study, space))
                waiting.append(study.get_trials()[count])
            if not waiting:
                return
            self._perform(study, waiting, fixed)
            if study.get_trials(deepcopy=False, states=[running]):
                return  # trainer.max_seconds has stopped a run; the same command continues it

    def _proposed(self, study: "optuna.Study", space: Mapping[str, "BaseDistribution"]) -> "FrozenTrial":
        """The next trial, asked of a copy in memory, so that the storage gets it rounded, and whole or not at all."""
        import optuna

        trials = study.get_trials(deepcopy=False)
        # A seed of its own for each trial, so that a continued search asks for the same points.
        sampler = optuna.samplers.TPESampler(seed=self.seed + len(trials), constant_liar=True)
        copy = optuna.create_study(sampler=sampler, direction=self.direction)
        copy.add_trials(trials)
        params = {key: rounded(value, space[key]) for key, value in copy.ask(dict(space)).params.items()}
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, params=params, distributions=dict(space)
        )

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

    def _failures(self, study: "optuna.Study", fixed: Sequence[str]) -> Failures:
        """Why trials failed, in this call or before."""
        failed = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "FAIL"]
        runs = [self._job(trial.params, fixed)[1].run for trial in failed]
        return {str(run.folder): RuntimeError(run.info.get("reason") or "not begun") for run in runs}

    def _job(self, params: Mapping[str, Any], fixed: Sequence[str]) -> Job:
        """The run of a trial."""
        sampled = [f"{key}={written(value)}" for key, value in params.items()]
        (job,) = jobs_of(self._composer, [[*fixed, *sampled]])
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


def required() -> Any:
    """optuna, silent but for warnings; raises UsageError that says how to install it."""
    try:
        optuna = import_module("optuna")
    except ImportError as error:
        raise UsageError("optuna is not installed: pip install 'vaelab[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distribution(override: Override) -> "BaseDistribution":
    """What optuna samples for a range or list of Hydra's grammar; raises UsageError for one that it cannot."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    swept = override.value()
    if isinstance(swept, ChoiceSweep | RangeSweep) and swept.shuffle:
        raise UsageError(f"{override.input_line}: a search has an order of its own: leave shuffle out")
    log = "log" in getattr(swept, "tags", ())
    try:
        if isinstance(swept, IntervalSweep):
            low, high, step = swept.start, swept.end, None
        elif isinstance(swept, RangeSweep):
            values = [plain(value) for value in override.sweep_iterator()]
            if not values:
                raise ValueError("there is nothing in this range")
            low, high, step = min(values), max(values), abs(swept.step)
        else:
            return CategoricalDistribution(choices(override))
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log, step=int(step or 1))
        return FloatDistribution(low, high, log=log, step=step)  # type: ignore[arg-type]
    except ValueError as error:
        raise UsageError(f"{override.input_line}: {error}") from error


def choices(override: Override) -> list[bool | int | float | str | None]:
    """The values of a list: numbers as numbers, all else as it stands in an override."""
    pairs = zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True)
    return [v if v is None or isinstance(v, bool | int | float) else text for v, text in pairs]


def plain(value: Any) -> Any:
    """A value of a range without what the addition of its steps left behind."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def rounded(value: Any, among: "BaseDistribution") -> Any:
    """A sampled value that makes a short name of a folder, and is one of those that may be sampled."""
    if not isinstance(value, float) or not hasattr(among, "low"):
        return value
    if among.step is not None:  # type: ignore[attr-defined]
        return plain(value)
    short = float(f"{value:.{DIGITS}g}")
    return short if among.low <= short <= among.high else value  # type: ignore[attr-defined]


def written(value: Any) -> str:
    """A sampled value as it stands in an override, and so in the name of a folder."""
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)

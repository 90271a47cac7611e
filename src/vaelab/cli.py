"""The console commands: check, build, run; every error becomes one line and an exit status."""

from vaelab.commands import signals  # first, for it answers signals while the other libraries load

# isort: split
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from vaelab import Failure, UsageError, config, machine, mistakes
from vaelab.commands import arguments, compose, streams
from vaelab.runs import tracking
from vaelab.runs.folder import Run
from vaelab.runs.lock import refuse_unwritable
from vaelab.runs.request import Request, ask
from vaelab.sweep.processes import portable
from vaelab.words import printable

if TYPE_CHECKING:
    from vaelab.report import Report

FAILURE, MISTAKE = 1, 2  # exit statuses; 0 is success, 128 + the signal's number an interruption


def train() -> NoReturn:
    """vae-train: one run, one run folder."""
    command("train", partial(_train, ["vae-train", *sys.argv[1:]]))


def sweep() -> NoReturn:
    """vae-sweep: one run for each combination of listed values."""
    command("sweep", partial(sweep_one, ["vae-sweep", *sys.argv[1:]]))


def evaluate() -> NoReturn:
    """vae-evaluate: measures and draws a finished run again, or with foreign=... a checkpoint of another tool."""
    if any(word.startswith("foreign=") for word in sys.argv):
        command("evaluate", _foreign, "foreign")
    command("evaluate", _evaluate)


def report() -> NoReturn:
    """vae-report: run folders become one page."""
    command("report", partial(_report, ["vae-report", *sys.argv[1:]]))


def explore() -> NoReturn:
    """vae-explore: a live page on this machine that decodes while sliders move."""
    command("explore", _explore)


def data() -> NoReturn:
    """vae-data: prepares raw images once, shows what a data set holds, predicts what λ does to it, or lists all."""
    if len(sys.argv) > 1 and sys.argv[1] in arguments.ACTIONS:
        sys.argv[1] = f"action={sys.argv[1]}"
    command("data", _data)


def export() -> NoReturn:
    """vae-export: a finished run for other programs."""
    command("export", _export)


def _train(argv: Sequence[str], cfg: DictConfig) -> None:
    request = request_of(argv, cfg)
    if request.run.is_done():
        print("this run is already done; rerun=true trains it again")
    perform(request)
    if request.run.is_done():
        print_summary(request.run)


def request_of(argv: Sequence[str], cfg: DictConfig) -> Request:
    """The run of vae-train's configuration; raises UsageError for a configuration that is none."""
    chosen = HydraConfig.get()
    request = ask(cfg, chosen.runtime.choices, chosen.overrides.task, argv)
    config.refuse_unused_kl_weight([request.cfg], chosen.overrides.task)
    return request


def perform(request: Request) -> None:
    """Does what is left of a run, which may be nothing."""
    if request.run.is_done():
        request.run.tell_reports(request.cfg)
        return tracking.hand_over(request.run, request.cfg)
    from vaelab.runs import perform as jobs

    jobs.perform(request)


def sweep_one(argv: Sequence[str], cfg: DictConfig) -> Exception | None:
    """One run of a sweep, wherever a launcher of Hydra's does it: returns its error, which the sweep reports."""
    try:
        chosen = HydraConfig.get()
        request = ask(cfg, chosen.runtime.choices, chosen.overrides.task, argv)
        from vaelab.runs import perform as jobs

        facts = {"sweep": {"strategy": chosen.runtime.choices["hydra/launcher"], "because": "asked for"}}
        jobs.perform(replace(request, facts=facts), processes=0)  # a launcher's own may start no others
    except Exception as error:
        return portable(error)
    return None


def _evaluate(cfg: DictConfig) -> None:
    config.check(cfg, config.Evaluate)
    run = Run.open(cfg.run)
    import torch

    from vaelab import build, hardware, open_run
    from vaelab.runs import measure, repair

    device = hardware.device(cfg.device)
    opened = open_run(cfg.run, cfg.data_dir, cfg.dataset.path, list(cfg.plugins))
    with open_dict(opened.config):
        opened.config.evaluation = cfg.get("evaluation") or opened.config.get("evaluation") or {}
    opened.check()
    with run.locked():
        repair.mend(run)
    network, criterion = opened.networks(device)
    images = opened.image_set()
    evaluations = build.evaluations(opened.config, network, images)
    epoch = measure.epoch_of_weights(run)
    with run.locked():
        read = measure.context(
            opened.config, network, criterion, images, run.history, torch.device(device), epoch
        )
        measure.evaluate(run, evaluations, read, cfg.dpi)
    print_summary(run)


def _foreign(cfg: DictConfig) -> None:
    from vaelab.foreign import measure

    chosen = HydraConfig.get()
    print_summary(measure.evaluate(cfg, chosen.runtime.choices, chosen.overrides.task, sys.argv))


def _report(argv: Sequence[str], cfg: DictConfig) -> None:
    written = report_of(argv, cfg)
    print(written.summary)
    print(f"report: {written.page}")
    for file in written.tables:
        print(f"table: {file}")


def report_of(argv: Sequence[str], cfg: DictConfig) -> "Report":
    """Writes the report of vae-report's configuration, and says what of the runs cannot be read."""
    values = config.check(cfg, config.Report)
    refuse_unwritable(Path(cfg.output_dir))
    from vaelab.report import write

    folder = Path(cfg.output_dir, "report")
    written = write(values["runs"], folder, argv, cfg.dpi, cfg.tables)
    for name, reason in written.problems:
        sys.stderr.write(f"vae-report: {name}: {reason}\n")
    return written


def _explore(cfg: DictConfig) -> None:
    config.check(cfg, config.Explore)
    from vaelab.explore import start

    start(cfg.runs, Path(cfg.output_dir), cfg.data_dir, list(cfg.plugins), cfg.device, cfg.host, cfg.port)


def _export(cfg: DictConfig) -> None:
    from vaelab import export as exports

    for line in exports.write(cfg):
        print(printable(line))


def _data(cfg: DictConfig) -> None:
    from vaelab import datasets

    datasets.perform(cfg)


def _schema(name: str, folder: str | None) -> str:
    from vaelab import schema

    return json.dumps(schema.of(name, None if folder is None else Path(folder)), indent=1, ensure_ascii=False)


def command(name: str, verb: Callable[[DictConfig], Any], file: str | None = None) -> NoReturn:
    """Runs a verb on the configuration that conf/<file or name>.yaml and the command line make, then exits."""
    file = file or name
    machine.share_cores()
    # Hydra prints tracebacks of its own unless it is told to raise.
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Figures are files that look the same for everybody: no backend of a notebook's, no settings of the user's.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    streams.make_forgiving()
    sys.argv[0] = f"vae-{name}"
    with one_line_errors(name, wants_traceback):
        compose.perform(file, sys.argv[1:], verb, partial(_schema, name))
    sys.exit()


@contextmanager
def one_line_errors(name: str, wants_traceback: bool) -> Iterator[None]:
    """Turns what goes wrong into one line and an exit status."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(signals.CTRL_C)
    except Exception as error:
        if wants_traceback:
            raise
        for line in (f"vae-{name}: {in_words(error, name)}", *getattr(error, "__notes__", ())):
            sys.stderr.write(f"{printable(line)}\n")
        mistake = isinstance(error, UsageError | HydraException | OmegaConfBaseException)
        sys.exit(MISTAKE if mistake else FAILURE)


def in_words(error: Exception, name: str) -> str:
    """One line for any error."""
    if isinstance(error, UsageError | Failure):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return mistakes.describe(error, name)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)"


def print_summary(run: Run) -> None:
    """The metrics, the findings, and where everything is."""
    width = max(map(len, run.metrics), default=0)
    print("measured on the test split, and of new samples beside training images")
    for name, value in run.metrics.items():
        print(f"  {name:<{width}}  {value:.6g}")
    for found in run.info.get("findings", {}).values():
        print(*map(printable, found), sep="\n")
    print(f"run folder: {run.folder}")

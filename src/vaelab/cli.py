"""The console commands: compose, check, build, run; every error becomes one line and an exit status."""

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vaelab import UsageError, config
from vaelab.asked import ask
from vaelab.run import Run, refuse_unwritable
from vaelab.workers import portable

if TYPE_CHECKING:
    from vaelab.data import ImageSet

# Keys whose value is a path.
PATHS = ("run", "runs", "source", "dataset.path", "dataset.attributes", "data_dir", "output_dir")
# Options of Hydra's with which a command does no runs, or that say themselves how it does them.
NO_RUNS = r"--(help|hydra-help|version|cfg|info|shell-completion|run|multirun)|-(h|c|i|sc|r|m)$"
CONTACT_SHEET = 64  # images, spread evenly over the data set
FAILURE, MISTAKE = 1, 2  # exit statuses; 0 is success, 128 + the signal's number an interruption


def train() -> NoReturn:
    """vae-train: one run, one run folder."""
    command("train", _train)


def sweep() -> NoReturn:
    """vae-sweep: one run for each combination of listed values."""
    argv = ["vae-sweep", *sys.argv[1:]]
    if not any(re.match(NO_RUNS, argument) for argument in argv):
        sys.argv.append("--multirun")
    command("sweep", partial(_sweep, argv))


def evaluate() -> NoReturn:
    """vae-evaluate: measures and draws a finished run again."""
    command("evaluate", _evaluate)


def report() -> NoReturn:
    """vae-report: run folders become one page."""
    command("report", _report)


def data() -> NoReturn:
    """vae-data: prepares raw images once, or shows what a data set holds."""
    if len(sys.argv) > 1 and sys.argv[1] in ("prepare", "show"):
        sys.argv[1] = f"action={sys.argv[1]}"
    command("data", _data)


def _train(cfg: DictConfig) -> None:
    chosen = HydraConfig.get()
    asked = ask(cfg, chosen.runtime.choices, chosen.overrides.task, sys.argv)
    if asked.run.is_done():
        asked.run.tell_reports(asked.cfg)
        print("this run is already done; rerun=true trains it again")
        return print_summary(asked.run)
    from vaelab import job as jobs

    jobs.perform(asked)
    if asked.run.is_done():
        print_summary(asked.run)


def _sweep(argv: Sequence[str], cfg: DictConfig) -> Exception | None:
    """One run of a sweep, wherever a launcher of Hydra's does it: returns its error, which the sweep reports."""
    try:
        chosen = HydraConfig.get()
        asked = ask(cfg, chosen.runtime.choices, chosen.overrides.task, argv)
        from vaelab import job as jobs

        facts = {"sweep": {"strategy": chosen.runtime.choices["hydra/launcher"], "because": "asked for"}}
        jobs.perform(replace(asked, facts=facts))
    except Exception as error:
        return portable(error)
    return None


def _evaluate(cfg: DictConfig) -> None:
    config.check(cfg, config.Evaluate)
    run = Run.open(cfg.run)
    import torch

    from vaelab import build, open_run
    from vaelab import job as jobs

    build.check(cfg)
    device = build.device(cfg.device)
    opened = open_run(cfg.run, cfg.data_dir)
    network, criterion = opened.networks(device)
    images = opened.image_set()
    if images.fingerprint != run.info["dataset"]["fingerprint"]:
        raise UsageError(
            f"the images of {images.source} are not those that {run.folder} was trained on: give data_dir=..."
        )
    with open_dict(opened.config):
        opened.config.evaluation = cfg.get("evaluation") or opened.config.get("evaluation") or {}
    evaluations = build.evaluations(opened.config, network, images)
    epoch = run.history[-1]["epoch"]
    with run.locked():
        read = jobs.context(
            opened.config, network, criterion, images, run.history, torch.device(device), epoch
        )
        jobs.evaluate(run, evaluations, read, cfg.dpi)
    print_summary(run)


def _report(cfg: DictConfig) -> None:
    config.check(cfg, config.Report)
    refuse_unwritable(Path(cfg.output_dir))
    from vaelab import report as reports

    written = reports.write(cfg.runs, Path(cfg.output_dir, "report"), sys.argv, cfg.dpi)
    for name, reason in written.problems:
        sys.stderr.write(f"vae-report: {name}: {reason}\n")
    print(written.summary)
    print(f"report: {written.page}")


def _data(cfg: DictConfig) -> None:
    if cfg.source is not None:
        cfg.dataset.path = cfg.source
    config.check(cfg, config.Data)
    from vaelab import build

    build.check(cfg)
    images = build.dataset(cfg)
    print(describe(images))
    if cfg.action == "prepare":
        return
    from vaelab import figures

    folder = Path(cfg.output_dir, images.name)
    refuse_unwritable(folder)
    shown = np.linspace(0, len(images.images) - 1, min(CONTACT_SHEET, len(images.images))).astype(int)
    names = [images.classes[i] for i in images.labels[shown]] if images.labels is not None else None
    sheet = figures.contact_sheet(
        images.images[shown], f"{images.name}: {len(shown)} of {len(images.images)}", names
    )
    figures.save(sheet, folder / "contact_sheet.png", cfg.dpi)
    print(f"contact sheet: {folder / 'contact_sheet.png'}")


def command(name: str, verb: Callable[[DictConfig], Any]) -> NoReturn:
    """Runs a verb on the configuration that Hydra composes from conf/<name>.yaml, then exits."""
    # Hydra prints tracebacks of its own unless it is told to raise.
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.argv = [f"vae-{name}", *map(quote_path, sys.argv[1:])]
    OmegaConf.register_new_resolver("vaelab.experiments", config.experiments)  # for --help

    @hydra.main(version_base="1.3", config_path=str(config.CONF), config_name=name)
    def task(cfg: DictConfig) -> Any:
        with one_line_errors(name, wants_traceback):
            return verb(cfg)

    with one_line_errors(name, wants_traceback, composing=True):
        task()
    sys.exit()


def quote_path(argument: str) -> str:
    """Quotes the value of a key that is a path, for the names of run folders hold `=` and `,`, which Hydra reads."""
    key, _, value = argument.partition("=")
    if key not in PATHS or not re.search(r"[=,\s\[\](){}:]", value) or value[0] in "'\"[{" or "${" in value:
        return argument
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


@contextmanager
def one_line_errors(name: str, wants_traceback: bool, composing: bool = False) -> Iterator[None]:
    """Turns what goes wrong into one line and an exit status; what fails while composing is the user's mistake."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if wants_traceback:
            raise
        sys.stderr.write(f"vae-{name}: {in_words(error, name)}\n")
        mistake = isinstance(error, UsageError | HydraException | OmegaConfBaseException)
        # What is composed with a sweep also runs it, so that not all that fails there is a mistake.
        sys.exit(MISTAKE if mistake or (composing and name != "sweep") else FAILURE)


def in_words(error: Exception, name: str) -> str:
    """One line for any error."""
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return config.describe_composition_error(error, name)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (HYDRA_FULL_ERROR=1 shows where)"


def describe(images: "ImageSet") -> str:
    """A data set in a few lines: counts, shape, splits, classes."""
    channels, height, width = images.image_shape
    lines = [
        f"{images.name}: {len(images.images)} images of {height}×{width}×{channels}, from {images.source}",
        "splits: " + ", ".join(f"{split} {size}" for split, size in images.sizes().items()),
        f"fingerprint: {images.fingerprint}",
    ]
    if images.labels is not None:
        counts = Counter(images.labels.tolist())
        lines.append("classes: " + ", ".join(f"{c} {counts[i]}" for i, c in enumerate(images.classes)))
    return "\n".join(lines)


def print_summary(run: Run) -> None:
    """The metrics, the findings, and where everything is."""
    width = max(map(len, run.metrics), default=0)
    print("measured on the test split, and of new samples beside training images")
    for name, value in run.metrics.items():
        print(f"  {name:<{width}}  {value:.6g}")
    for found in run.info.get("findings", {}).values():
        print(*found, sep="\n")
    print(f"run folder: {run.folder}")

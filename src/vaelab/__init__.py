"""Train, compare and picture variational autoencoders."""

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from vaelab.models import GAN, EncoderDecoder
    from vaelab.runs.open_run import OpenedRun

__version__ = "0.1.0"


class UsageError(Exception):
    """A user's mistake: one line that names the thing, the place and the remedy; the commands exit with status 2."""


class Failure(Exception):
    """What failed without a user's mistake, in one line of the same kind; the commands exit with status 1."""


def open_run(
    folder: "str | os.PathLike[str]",
    data_dir: str | None = None,
    path: str | None = None,
    plugins: "Sequence[str]" = (),
) -> "OpenedRun":
    """Opens a run folder: .config .metrics .history .info .model() .images("test"); raises UsageError if it is none.

    Its images are found by their fingerprint where they are prepared, below `data_dir` or where the run had them; where
    they are prepared nowhere, `path` says where they are. A run of modules of one's own needs them as `plugins`.

    >>> run = open_run(folder)
    >>> images = run.images("test")[:8]                 # (8, C, H, W) in [0, 1]
    >>> model = run.model()
    >>> posterior = model.encode(images)                # mean and log_variance, each (8, latent_dim)
    >>> model.decode(posterior.mean).shape == images.shape
    True
    >>> round(run.metrics["psnr"]) > 0
    True
    """
    from vaelab.runs.open_run import OpenedRun

    return OpenedRun(folder, data_dir, path, plugins)


def from_pretrained(source: "str | os.PathLike[str]") -> "EncoderDecoder | GAN":
    """The network of a folder that vae-export to=hub has written, or of a name at Hugging Face, in evaluation mode.

    It has the methods of open_run(...).model(). Raises UsageError where there is none, or one of other classes than
    vaelab's; loads no pickle.

    >>> model = from_pretrained(exported)
    >>> model.decode(model.encode(images).mean).shape == images.shape
    True
    """
    from vaelab.export import pretrained

    return pretrained.load(source)


def train(*words: str, **keys: "Any") -> "OpenedRun":
    """Does what vae-train does with the same keys, and returns the run; one that is done is not trained again.

    Values are Python's; a key with a dot is a word, as on the command line, or `**{"likelihood.sigma": 0.1}`. The
    process stays as it was. Raises UsageError and Failure, in one line.

    >>> run = vaelab.train("likelihood.sigma=0.1", model="fc_vae", likelihood="gaussian", kl_weight=5, epochs=1)
    >>> run.config.kl_weight, run.config.likelihood.sigma
    (5, 0.1)
    >>> run.show("reconstructions").format
    'PNG'
    """
    from vaelab import functions

    return functions.train(words, keys)


class SweepPackage(ModuleType):
    """The package vaelab.sweep, which is also called: import gives a package the name that the function has."""

    def __call__(self, *words: str, **keys: "Any") -> "list[OpenedRun]":
        """Does what vae-sweep does with the same keys, prints its table and returns the runs: a list is several values.

        Of a key whose value is a list, a list of lists is. Raises UsageError, or Failure where runs failed, with a note
        on each of them.

        >>> runs = vaelab.sweep(model="fc_vae", kl_weight=[0, 5], epochs=1, evaluation=["test_metrics"])
        ... # doctest: +ELLIPSIS
        λ ...
        >>> [run.config.kl_weight for run in runs]
        [0, 5]
        """
        from vaelab import functions

        return functions.sweep(words, keys)


class ReportPackage(ModuleType):
    """The package vaelab.report, which is also called."""

    def __call__(self, *words: str, **keys: "Any") -> "Path":
        """Does what vae-report does with the same keys and returns the page; `runs` is a pattern or a list of runs.

        >>> vaelab.report(runs=[vaelab.train(model="fc_vae", epochs=1, evaluation=["test_metrics"])]).name
        'index.html'
        """
        from vaelab import functions

        return functions.report(words, keys)


def __getattr__(name: str) -> ModuleType:
    if name in ("sweep", "report"):
        return import_module(f"vaelab.{name}")
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")

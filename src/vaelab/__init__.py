"""Train, compare and picture variational autoencoders."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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

"""A run as the report sees it: what it is, and what it was told."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vaelab.keys import CONDITIONED, flatten, kl_weight_of, without
from vaelab.names import choice_of
from vaelab.quantities import Quantity, of_run
from vaelab.report.run_folder import RunFolder
from vaelab.report.values import number, or_nan
from vaelab.runs import older

PARTS = ("likelihood", "regulariser", "loss")  # groups whose choice stands for the class that it builds


@dataclass(frozen=True)
class Record(RunFolder):
    """One run folder that could be read; what is missing in it is absent here."""

    @property
    def status(self) -> str:
        """running, done, interrupted or failed."""
        return str(self.info.get("status", "running"))

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.info["dataset"]["name"])

    @property
    def chapter(self) -> str:
        """Where in the report it stands: with the other runs of this name, or with all of its data set."""
        return " ".join(str(self.config.get("chapter") or "").split())

    @property
    def fingerprint(self) -> str:
        """Of the images and their splits."""
        return str(self.info["dataset"].get("fingerprint", "unknown"))

    @property
    def sizes(self) -> dict[str, int]:
        """Images per split."""
        sizes = self.info["dataset"].get("sizes") or {}
        return {str(split): int(size) for split, size in sizes.items() if number(size) is not None}

    @property
    def classes(self) -> list[str]:
        """Names of the labels, or none."""
        return [str(name) for name in self.info["dataset"].get("classes") or []]

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.config["model"]["_target_"]).rpartition(".")[2]

    @property
    def kind(self) -> str:
        """AE, VAE or GAN."""
        return older.family(self.info, self.config)

    @property
    def is_conditioned(self) -> bool:
        """Whether its network is told λ, so that its numbers are those of one λ of many."""
        return self._regulariser.get("kl_weight") == CONDITIONED

    @property
    def _regulariser(self) -> Mapping[str, Any]:
        return self.config.get("regulariser") or {}

    @property
    def kl_weight(self) -> float | None:
        """λ, that at which a network told λ was measured, or what a target of the KL has led to, in three digits.

        None for a model without a KL term.
        """
        if self.is_conditioned:
            return number(self.config.get("kl_weight_at"))
        return number(kl_weight_of(self.config, self.metrics))

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What its numbers are called."""
        return of_run(self.info)

    @property
    def target(self) -> float | None:
        """The KL in nats that λ was driven for, or None where λ was given."""
        return number(self._regulariser.get("target"))

    @property
    def has_prior(self) -> bool:
        """Whether samples of a prior mean something: not in an autoencoder, nor at λ = 0."""
        return self.kind != "AE" and self.kl_weight != 0

    @property
    def beta_eff(self) -> float | None:
        """λ in common units; None without a KL term, or while a learned sigma is not known."""
        return number(self.info.get("beta_eff"))

    @property
    def seed(self) -> Any:
        """The training seed."""
        return self.config.get("seed")

    @property
    def convention(self) -> tuple[Any, ...]:
        """What decides which numbers in nats compare: the likelihood, and its sigma or scale where it has one."""
        likelihood = self.config.get("likelihood")
        if not isinstance(likelihood, dict):
            return ("none",)
        words = choice_of("likelihood", str(likelihood.get("_target_", "none")))
        scales = [likelihood[key] for key in ("sigma", "scale") if key in likelihood]
        return words, *(str(scale) if number(scale) is None else scale for scale in scales)

    @property
    def likelihood(self) -> str:
        """The convention in words."""
        return " with σ = ".join(map(str, self.convention))

    @property
    def reduction(self) -> str:
        """The convention of the optimised loss: sum or mean, and the tool whose weight of the KL is given."""
        unit = self.config.get("kl_weight_unit", "nats")
        return str(self.config["loss"].get("reduction", "sum")) + (
            "" if unit == "nats" else f", λ as in {unit}"
        )

    @property
    def epoch(self) -> int:
        """The last finished epoch."""
        return max((int(row.get("epoch", 0)) for row in self.history), default=0)

    @property
    def is_evaluated(self) -> bool:
        """Whether its numbers are those of a finished run; a GAN may have nothing but pictures and curves."""
        return self.status == "done" and (bool(self.metrics) or self.kind == "GAN")

    @property
    def findings(self) -> dict[str, list[str]]:
        """What each evaluation found, in sentences."""
        found = self.info.get("findings")
        lists = found.items() if isinstance(found, dict) else ()
        return {str(name): list(map(str, kept)) for name, kept in lists if isinstance(kept, list)}

    @cached_property
    def line(self) -> dict[str, Any]:
        """The configuration, flat, without what runs of one line along λ may differ in."""
        hidden = without("draws_lines")
        flat = flatten({key: value for key, value in self.config.items() if key not in hidden})
        for part in PARTS:
            if target := flat.pop(f"{part}._target_", None):
                flat[part] = choice_of(part, str(target))
        without_part = [part for part in PARTS if flat.get(part) is None]
        told = {"regulariser.kl_weight": CONDITIONED} if self.is_conditioned else {}
        return {key: value for key, value in flat.items() if key not in (*hidden, *without_part)} | told

    @property
    def reported(self) -> list[dict[str, Any]]:
        """What others have reported of such runs: numbers and findings."""
        entries = self.config.get("reported")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    @property
    def experiment(self) -> str:
        """The experiment's name, from the command or else the folder's name; empty where there is none."""
        command = self.info.get("command")
        for word in map(str, command if isinstance(command, list) else []):
            if given := re.fullmatch(
                r"experiment=([\w.-]+)", word
            ):  # that of a sweep may have several, with commas
                return given[1]
        for part in self.folder.name.split(","):
            if given := re.fullmatch(r"experiment=([\w.-]+?)(-\d+)?", part):  # -2 is of a run made again
                return given[1]
        return ""

    @property
    def weights_epoch(self) -> int | None:
        """The epoch whose weights a run has kept for its validation, or None where they are the last."""
        told = self.info.get("training")
        if not isinstance(told, dict) or self.flat.get("trainer.keep") != "best":
            return None
        epoch = number(told.get("weights_of_epoch"))
        return None if epoch is None else int(epoch)

    @property
    def weights(self) -> str:
        """Which weights were measured, in words; empty where they are those of the last epoch."""
        decay = self.flat.get("trainer.ema")
        words = (
            [f"of epoch {self.weights_epoch}, whose validation was the best"] if self.weights_epoch else []
        )
        words += [f"a moving average (decay {decay:g})"] if number(decay) else []
        return "; ".join(words)

    @cached_property
    def code_size(self) -> float:
        """Values of the code of one image, as the arrays have them, or else as it was asked for; NaN without."""
        for name, key, axis in (("latent_space", "mean", 1), ("kl_per_dimension", "kl", 0)):
            shape = self._shape(name, key)
            if len(shape) > axis:
                return or_nan(math.prod(shape[axis:]))
        return or_nan(self.config["model"].get("latent_dim"))

    def metric(self, name: str) -> float:
        """A number of the test split, NaN where there is none."""
        return or_nan(self.metrics.get(name)) if self.is_evaluated else math.nan

    def rank(self, name: str) -> float:
        """The same number to sort by: below all others where there is none."""
        found = self.metric(name)
        return -math.inf if math.isnan(found) else found

"""A run that a command asks for: its configuration, its folder, and how far it is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vaelab import UsageError, config, plugins, trackers
from vaelab.keys import CONDITIONED, PLACES, SWEEP_ONLY
from vaelab.names import values_of
from vaelab.runs.folder import Run
from vaelab.runs.identity import find, run_name
from vaelab.runs.lock import refuse_unwritable

Failures = dict[str, Exception]  # by the name of the run

# Numbers that fit all networks and data or none, as paths of the configuration.
NUMBERS = (("kl_weight",), ("regulariser", "kl_weight"), ("seed",), ("lr",), ("optimizer", "lr"))


@dataclass(frozen=True)
class Request:
    """One run of a command."""

    cfg: DictConfig
    run: Run
    command: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)  # what run.json says beside the run's own facts

    @property
    def name(self) -> str:
        """The run folder, for names alone come again with other models."""
        return str(self.run.folder)

    @property
    def state(self) -> str:
        """done, to continue or new."""
        if self.run.is_done():
            return "done"
        return "new" if self.run.checkpoint_facts() is None else "to continue"

    def shared(self) -> dict[str, Any]:
        """The configuration without the numbers that decide of no network and no data."""
        values = OmegaConf.to_container(self.cfg, resolve=True)
        assert isinstance(values, dict)
        for *path, key in NUMBERS:
            node = values
            for step in path:
                node = node.get(step) or {}
            if isinstance(node.get(key), int | float):  # kl_weight=conditioned is of another network
                del node[key]
        return {str(key): value for key, value in values.items()}


def ask(
    cfg: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str], command: Sequence[str]
) -> Request:
    """The run of a composed configuration; raises UsageError for a configuration that is none."""
    if any(re.match(r"[+~]*dataset_model\b", override) for override in overrides):
        raise UsageError("dataset_model follows from dataset and model: give these")
    _refuse_odd_names(choices)
    with open_dict(cfg):
        for key in SWEEP_ONLY:
            cfg.pop(key, None)
        config.drop_settings_of_unchosen_evaluations(cfg)
        _measure_the_curve(cfg, overrides)
    make_paths_absolute(cfg)
    values = config.check(cfg, config.Train)
    trackers.refuse_missing(values["trackers"])
    parent = Path(values["output_dir"], choices["dataset"], choices["model"])
    run = find(parent, run_name(overrides), values, values["rerun"])
    again = "give rerun=true" if run.is_done() else f"rename {run.folder} to start anew"
    plugins.refuse_changed(
        plugins.recorded(run.info, run.folder), values["plugins"], run.folder, f"put it back, or {again}"
    )
    if not run.is_done():  # which is told of on a disk that is read-only too
        refuse_unwritable(parent)
    return Request(cfg, run, tuple(command))


def _measure_the_curve(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Adds the curve of a network that is told λ to what is measured, where no other evaluations are asked for."""
    if cfg.kl_weight == CONDITIONED and not any(o.startswith("evaluation=") for o in overrides):
        cfg.evaluation.rate_distortion = values_of("evaluation", "rate_distortion")


def _refuse_odd_names(choices: Mapping[str, Any]) -> None:
    # Some of them become folders.
    for group, choice in choices.items():
        names = choice if isinstance(choice, list) else [choice]
        odd = [name for name in names if name is not None and not re.fullmatch(r"\w[\w.-]*", str(name))]
        if odd and not group.startswith("hydra"):
            raise UsageError(f"{group}={odd[0]} is not a name: give one of those that --help lists")


def make_paths_absolute(cfg: DictConfig) -> None:
    """So that a run folder says where its data are, wherever it is read from."""
    for key in PLACES:
        path = OmegaConf.select(cfg, key)
        if isinstance(path, str) and path != "embedded":
            OmegaConf.update(cfg, key, str(Path(path).expanduser().absolute()))

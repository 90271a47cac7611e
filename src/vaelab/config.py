"""The typed schema of the configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab import UsageError
from vaelab.bounds import Above, AtLeast, Between, Count, Dpi, Filled, Inside, Seed, Width
from vaelab.checks import Group, check_keys, required_keys
from vaelab.interpolations import followed
from vaelab.keys import CONDITIONED
from vaelab.mistakes import describe_value
from vaelab.names import CONF as CONF
from vaelab.names import choices, known_keys, nearest
from vaelab.trackers import Name as Tracker
from vaelab.units import Unit

Path = Annotated[str, Filled()]
Weight = Annotated[float, AtLeast(0)]


@dataclass
class Trainer:
    """conf/trainer."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "tf32", "bf16"]
    compile: Literal["auto"] | bool
    gradient_clip: Annotated[float, Above(0)] | None
    skip_gradient_above: Annotated[float, Above(0)] | None
    max_seconds: Annotated[float, Above(0)] | None
    ema: Annotated[float, Inside(0, 1)] | None
    keep: Literal["last", "best"]
    patience: Count | None


@dataclass
class Reported:
    """What others have reported: a number, shown beside that of runs with the values of `when`, or words."""

    metric: str | None = None  # as in evaluation/metrics.json
    value: float | None = None
    finding: str | None = None
    when: dict[str, Any] = field(default_factory=dict)  # by dotted keys of the configuration
    source: str | None = None
    split: Literal["test", "train"] = "test"  # whose images the number is of


@dataclass
class Train:
    """conf/train.yaml."""

    dataset: Group
    model: Group
    loss: Group
    optimizer: Group
    trainer: Trainer
    evaluation: dict[str, Group]
    kl_weight: Weight | Literal["conditioned"]
    kl_weight_unit: Unit
    kl_weight_range: list[Annotated[float, Above(0)]]
    kl_weight_at: Annotated[float, Above(0)]
    latent_dim: Width
    epochs: Count
    batch_size: Count
    lr: Annotated[float, Above(0)]
    lr_schedule: Literal["constant", "cosine", "step"]
    lr_warmup_epochs: Annotated[float, Above(0)] | None
    lr_step_epochs: Annotated[float, Above(0)]
    lr_step_factor: Annotated[float, Above(0)]
    seed: Seed
    train_images: Count | None
    snapshot_epochs: list[Count]
    log_every: Count | None
    dpi: Dpi
    chapter: str | None
    reported: list[Reported]
    data_dir: Path
    output_dir: Path
    rerun: bool
    plugins: list[Path]
    trackers: list[Tracker]
    likelihood: Group | None = None  # of losses that have one
    regulariser: Group | None = None


@dataclass
class Place:
    """Where the images of a run are now."""

    path: str | None


@dataclass
class Evaluate:
    """conf/evaluate.yaml."""

    dataset: Place
    evaluation: dict[str, Group]
    run: Path
    data_dir: Path | None
    device: Literal["auto", "cpu", "cuda"]
    dpi: Dpi
    plugins: list[Path]


@dataclass
class Foreign:
    """conf/foreign.yaml."""

    dataset: Group
    regulariser: Group
    loss: Group
    evaluation: dict[str, Group]
    foreign: Path
    kl_weight: Weight | None
    batch_size: Count
    seed: Seed
    chapter: str | None
    reported: list[Reported]
    data_dir: Path
    output_dir: Path
    device: Literal["auto", "cpu", "cuda"]
    dpi: Dpi
    plugins: list[Path]


@dataclass
class Data:
    """conf/data.yaml."""

    dataset: Group
    likelihood: Group
    action: Literal["prepare", "show", "spectrum", "list"]
    source: Path | None
    data_dir: Path
    output_dir: Path
    kl_weight: Weight | list[Weight] | None
    latent_dim: Width
    dpi: Dpi
    plugins: list[Path]


@dataclass
class Export:
    """conf/export.yaml."""

    run: Path
    to: Literal["onnx", "hub"]
    output: Path | None
    push: Path | None
    plugins: list[Path]


@dataclass
class Report:
    """conf/report.yaml."""

    runs: Path | list[Path]
    output_dir: Path
    dpi: Dpi
    tables: list[Path]


@dataclass
class Explore:
    """conf/explore.yaml."""

    runs: Path
    output_dir: Path
    data_dir: Path | None
    device: Literal["auto", "cpu", "cuda"]
    host: Path
    port: Annotated[int, Between(1, 65_535)] | None
    plugins: list[Path]


def schema_of(command: str) -> Any:
    """The schema of a command's file in conf/, by its name."""
    return {
        "train": Train,
        "sweep": Train,
        "evaluate": Evaluate,
        "foreign": Foreign,
        "report": Report,
        "explore": Explore,
        "data": Data,
        "export": Export,
    }[command]


def check(cfg: DictConfig, schema: type) -> dict[str, Any]:
    """The configuration as plain values.

    Raises UsageError, in one line, for the first key that is unknown, missing, mistyped or out of range.
    """
    values = _resolved(cfg)
    hints = get_type_hints(schema, include_extras=True)
    # Hydra leaves an empty list of choices out.
    complete = {"evaluation": {}, **values} if "evaluation" in hints else values
    check_keys(complete, hints, "", required_keys(schema))
    for number, reported in enumerate(values.get("reported", [])):
        if ("finding" in reported) == ("metric" in reported) or ("metric" in reported) != (
            "value" in reported
        ):
            raise UsageError(f"reported[{number}] is not one thing: give metric and value, or finding")
        _check_conditions(reported.get("when", {}), f"reported[{number}].when", complete)
    return values


def has_kl_weight(cfg: DictConfig) -> bool:
    """Whether a loss or its regulariser has a λ."""
    return any("kl_weight" in (cfg.get(group) or {}) for group in ("regulariser", "loss"))


def refuse_unused_kl_weight(configs: Iterable[DictConfig], overrides: Iterable[str]) -> None:
    """Raises UsageError where overrides give a kl_weight to losses of which none has a λ."""
    configs, overrides = list(configs), list(overrides)
    given = [override for override in overrides if override.lstrip("+").startswith("kl_weight=")]
    if given and not any(map(has_kl_weight, configs)):
        raise UsageError(f"{given[0]} weights nothing, for the chosen loss has no λ: leave it out")
    of_all = [one for one in overrides if one.lstrip("+").startswith(("kl_weight_at=", "kl_weight_range="))]
    if of_all and not any(cfg.kl_weight == CONDITIONED for cfg in configs):
        raise UsageError(
            f"{of_all[0]} is of a network for all λ: give kl_weight=conditioned, or leave it out"
        )


def drop_settings_of_unchosen_evaluations(cfg: DictConfig) -> None:
    """Removes what an experiment sets of evaluations that another list of evaluations has left out.

    A name that no evaluation has stays, to be refused.
    """
    known = choices("evaluation")
    chosen = cfg.get("evaluation")
    plain = OmegaConf.to_container(chosen, resolve=False) if isinstance(chosen, DictConfig) else {}
    assert isinstance(plain, dict)
    for name, settings in plain.items():
        if name in known and isinstance(settings, dict) and "_target_" not in settings:
            del cfg.evaluation[name]


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    try:
        values = followed(OmegaConf.to_container(cfg, resolve=False)) or OmegaConf.to_container(
            cfg, resolve=True
        )
    except OmegaConfBaseException as error:
        raise UsageError(describe_value(error)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _check_conditions(conditions: Mapping[str, Any], path: str, values: Mapping[str, Any]) -> None:
    own = _single_values(values)
    for key in conditions:
        if key not in own:  # it would never hold, unless another choice of a group has the key
            known = [*own, *(k for k in known_keys("train") if "." in k)]
            if key not in known:
                raise UsageError(f"{path}: there is no single value {key}{nearest(str(key), known)}")


def _single_values(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of all that holds no further keys."""
    found = []
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        found += _single_values(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return found

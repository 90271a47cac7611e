"""Configuration to objects: builds what the registry names, which is vaelab's own, and torch's optimizers."""

import inspect
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import UnionType
from typing import Any, get_args

import torch
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer

from vaelab import UsageError, checks, conditioning, config, data, losses, models, names, plugins, units
from vaelab import evaluations as measures
from vaelab.data import ImageSet, Loader
from vaelab.losses import Loss

PACKAGES = {
    "dataset": data,
    "model": models,
    "likelihood": losses.likelihoods,
    "regulariser": losses.regularisers,
    "loss": losses,
    "evaluation": measures,
}
# All that a configuration may build, by group and by its _target_.
BUILDABLE: dict[str, dict[str, Callable[..., Any]]] = {
    **{
        group: {f"{package.__name__}.{built.__name__}": built for built in package.BUILDABLE}
        for group, package in PACKAGES.items()
    },
    "optimizer": {
        f"torch.optim.{name}": built
        for name, built in vars(torch.optim).items()
        if inspect.isclass(built) and issubclass(built, Optimizer) and built is not Optimizer
    },
}
EVALUATION_BATCH = 256  # images at least: small training batches would make evaluations slow

# What the program itself passes to each group's target.
PARTS = ("likelihood", "regulariser")  # of a loss
GIVEN = {
    "model": ("image_shape", "classes"),
    "regulariser": ("data_size",),
    "loss": PARTS,
    "optimizer": ("params",),
}
GROUPS = ("dataset", "model", *PARTS, "loss", "optimizer")

# What losses and evaluations may need of a model, in words.
NEEDED = {
    "encoder": "an encoder",
    "prior": "a prior",
    "posterior": "a posterior",
    "gaussian": "a Gaussian posterior of independent units",
    "quantiser": "a codebook",
    "layers": "a code of layers",
    "generator": "a generator",
    "classes": "classes to ask for",
    "kl_weights": "one network for all λ (kl_weight=conditioned)",
}
Network = models.EncoderDecoder | models.GAN


def check(cfg: DictConfig) -> None:
    """Raises UsageError where a group's keys do not fit what it builds; builds nothing and reads no data."""
    values = OmegaConf.to_container(conditioning.at_one_weight(cfg), resolve=True)
    assert isinstance(values, dict)
    for group in GROUPS:
        if values.get(group):
            _check_group(values[group], group)
    for name, evaluation in (values.get("evaluation") or {}).items():
        if not re.fullmatch(r"\w[\w-]*", str(name)):  # it becomes the name of files
            raise UsageError(f"evaluation.{name} is not a name: use letters, digits, '_' and '-'")
        _check_group(evaluation, f"evaluation.{name}")


def own_modules(cfg: DictConfig) -> list[str]:
    """The modules of a user's own whose classes make up a run, which its evaluations do not."""
    return sorted({target.rpartition(".")[0] for target in plugins.foreign(cfg, GROUPS).values()})


def refuse_foreign(cfg: DictConfig, modules: Collection[str]) -> None:
    """Raises UsageError for a class of neither vaelab nor torch nor these modules, whatever else is allowed."""
    evaluations = [f"evaluation.{name}" for name in cfg.get("evaluation") or {}]
    for path, target in plugins.foreign(cfg, [*GROUPS, *evaluations]).items():
        if target.rpartition(".")[0] not in modules:
            raise plugins.refusal(path, target)


def _check_group(node: Mapping[str, Any], path: str) -> None:
    checks.check_arguments(_target(node, path), node, path, GIVEN.get(path, ()))


def _target(node: Mapping[str, Any], path: str) -> Callable[..., Any]:
    known = BUILDABLE[path.partition(".")[0]]
    name = str(node.get("_target_"))
    if plugins.is_of_plugin(name):
        return plugins.find(name, path)
    if name not in known:
        if "." in name and plugins.is_foreign(name):
            raise plugins.refusal(path, name)
        raise UsageError(
            f"{path}._target_={name} is refused: it is none of {', '.join(known)}{config.nearest(name, known)}"
        )
    return known[name]


def _build(node: DictConfig, path: str, **given: Any) -> Any:
    values = OmegaConf.to_container(node, resolve=True)
    assert isinstance(values, dict)
    plain = {str(key): value for key, value in values.items()}
    target = _target(plain, path)
    checks.check_arguments(target, plain, path, given)
    del plain["_target_"]
    try:
        return target(**plain, **given)
    except Exception as error:
        if plugins.is_of_plugin(str(values["_target_"])) and not isinstance(error, UsageError):
            raise UsageError(f"{path}: {plugins.in_words(error)}") from error
        if not isinstance(error, ValueError | TypeError | RuntimeError):
            raise
        raise UsageError(f"{path}: {str(error).splitlines()[0]}") from error


def _of_kind(kind: type | UnionType, built: Any, path: str) -> Any:
    """What was built, which a user's own class may be of no right kind; raises UsageError then."""
    if not isinstance(built, kind):
        wanted = " or ".join(c.__name__ for c in (get_args(kind) or (kind,)))
        raise UsageError(f"{path}: {type(built).__name__} is no {wanted}: derive it from vaelab's")
    return built


def rehearse(cfg: DictConfig) -> None:
    """Builds all but the data, without memory, for images of a common size: refuses what fits no data at all."""
    with torch.device("meta"):
        network = model(cfg, (1, 32, 32), classes=2)
    loss(cfg, network, 1024, (1, 32, 32))
    evaluations(cfg, network)
    _refuse_optimizer(cfg)
    _refuse_unfit_trainer(cfg, network)


def _refuse_optimizer(cfg: DictConfig) -> None:
    try:
        _build(cfg.optimizer, "optimizer", params=[])
    except UsageError as error:  # torch looks at the settings first
        if "empty parameter list" not in str(error):
            raise
    if cfg.trainer.skip_gradient_above is not None and not cfg.optimizer.get("fused"):
        raise UsageError(
            "trainer.skip_gradient_above needs optimizer.fused=true, as optimizer=adam and adamw have it"
        )


def _refuse_unfit_trainer(cfg: DictConfig, network: Network) -> None:
    if "generator" not in network.offers:
        return
    if cfg.trainer.ema is not None:
        raise UsageError("trainer.ema: a GAN keeps an average of its generator by itself: use model.ema")
    for key, off in (("keep", "last"), ("patience", None)):
        if cfg.trainer[key] != off:
            raise UsageError(
                f"trainer.{key}={cfg.trainer[key]}: the losses of a GAN's two players tell no best epoch: leave it out"
            )


def dataset(cfg: DictConfig) -> ImageSet:
    """The images of the configuration, prepared if they are not yet; raises UsageError for fewer than train_images."""
    images: ImageSet = _of_kind(ImageSet, _build(cfg.dataset, "dataset"), "dataset")
    return images.with_training_images(cfg.get("train_images"))


def model(cfg: DictConfig, image_shape: tuple[int, int, int], classes: int = 0) -> Network:
    """The network for images (C, H, W) of so many classes (0: unlabelled), with weights that follow from the seed."""
    torch.manual_seed(cfg.seed)
    facts = {"image_shape": image_shape, "classes": classes}
    wanted = checks.arguments_of(_target(cfg.model, "model"))
    network = _build(cfg.model, "model", **{name: fact for name, fact in facts.items() if name in wanted})
    network = conditioning.conditioned(cfg, _of_kind(Network, network, "model"), image_shape)
    for name in ("encode", "decode") if "encoder" in network.offers else ():
        if len(inspect.signature(getattr(network, name)).parameters) < 2:
            raise UsageError(
                f"model: {type(network).__name__}.{name} takes no labels: write {name}(self, ..., labels=None)"
            )
    return network


def loss(cfg: DictConfig, network: Network, data_size: int, image_shape: tuple[int, int, int]) -> Loss:
    """The loss for so many images of this shape; raises UsageError where it does not fit the network or its parts."""
    cfg = conditioning.at_one_weight(cfg)
    target = _target(cfg.loss, "loss")
    wanted, name = checks.arguments_of(target), f"loss={target.__name__.lower()}"
    _refuse_misfit(name, target, network)
    if "prior" in network.offers and getattr(target, "needs", None) == "encoder":
        remedy = "use kl_weight=0" if "posterior" in network.offers else _fitting(network)
        raise UsageError(f"{name} leaves the posterior of a VAE without a meaning: {remedy}")
    for part in PARTS:
        if cfg.get(part) and part not in wanted:
            raise UsageError(f"{name} takes no {part}: leave {part}=... out")
        if part in wanted and not cfg.get(part):
            raise UsageError(f"{name} needs a {part}: give one of those that --help lists")
    if "regulariser" in wanted:
        part = names.choice_of("regulariser", str(cfg.regulariser.get("_target_")))
        _refuse_misfit(f"regulariser={part}", _target(cfg.regulariser, "regulariser"), network)
    cfg = units.in_nats(cfg, network, image_shape)
    parts = {part: part_of(cfg[part], part, data_size) for part in PARTS if part in wanted}
    built = _of_kind(Loss, _build(cfg.loss, "loss", **parts), "loss")
    likelihood = getattr(built, "likelihood", None)
    if likelihood is not None and likelihood.of_means and not network.bounded:
        raise UsageError(
            f"a {likelihood.words} likelihood is one of pixels in [0, 1], which this model decodes to any value: "
            "use likelihood=gaussian"
        )
    return built


def part_of(node: DictConfig, part: str, data_size: int) -> Any:
    """The likelihood or regulariser of a loss."""
    wanted = checks.arguments_of(_target(node, part))
    built = _build(node, part, **({"data_size": data_size} if "data_size" in wanted else {}))
    return _of_kind({"likelihood": losses.Likelihood, "regulariser": losses.Regulariser}[part], built, part)


def evaluations(cfg: DictConfig, network: Network, images: ImageSet | None = None) -> dict[str, Any]:
    """The evaluations by name; raises UsageError where one needs what the network does not offer.

    With the images also where one names rows or dimensions of the code that are not there.
    """
    built = {name: _build(node, f"evaluation.{name}") for name, node in (cfg.get("evaluation") or {}).items()}
    for name, evaluation in built.items():
        if not callable(evaluation):
            raise UsageError(f"evaluation.{name}: {type(evaluation).__name__} has no __call__(context)")
        _refuse_misfit(f"evaluation={name}", evaluation, network)
    if images is not None and not images.sizes()["test"]:
        for name, evaluation in built.items():
            if getattr(evaluation, "needs", None) is not None and "encoder" in network.offers:
                raise UsageError(
                    f"evaluation={name} needs test images, and none of the {len(images.images)} images of "
                    f"{images.name} is in the test split: use more images, or evaluation=[]"
                )
    naming = [evaluation for evaluation in built.values() if hasattr(evaluation, "refuse_missing")]
    if naming and images is not None:
        code = math.prod(network.code_shape)  # type: ignore[arg-type]
        for evaluation in naming:
            evaluation.refuse_missing(len(images.images), code)
    return {str(name): evaluation for name, evaluation in built.items()}


def _refuse_misfit(what: str, built: Any, network: Network) -> None:
    needs = getattr(built, "needs", None)
    if needs is not None and needs not in network.offers:
        remedy = "leave it out" if needs == "kl_weights" else _fitting(network)
        raise UsageError(f"{what} needs {NEEDED.get(needs, needs)}, which this model has not: {remedy}")


def _fitting(network: Network) -> str:
    if "generator" in network.offers:
        other = " or [acgan]" if "classes" in network.offers else ""
        return f"use loss=adversarial and evaluation=[gan]{other}"
    if "quantiser" in network.offers:
        return "use loss=elbo regulariser=commitment and evaluation=[quantised]"
    if "layers" in network.offers:
        return "use loss=elbo regulariser=kl and evaluation=[layered]"
    if "prior" in network.offers:
        return "use loss=elbo regulariser=kl and evaluation=[vae]"
    return "use loss=reconstruction and evaluation=[autoencoder], or a VAE"


def optimizers(
    cfg: DictConfig, players: Mapping[str, Sequence[Any]], device: torch.device
) -> dict[str, Optimizer]:
    """The optimizer of each player, for its parameters, such that a step can be captured on a GPU."""
    built = {
        player: _build(cfg.optimizer, "optimizer", params=list(parameters))
        for player, parameters in players.items()
    }
    for optimizer in built.values():
        if device.type == "cuda" and "capturable" in optimizer.defaults:
            for group in optimizer.param_groups:
                group["capturable"] = True
    return built


def loaders(cfg: DictConfig, images: ImageSet, device: torch.device) -> tuple[Loader, Loader]:
    """The loaders of the train and val splits; raises UsageError where a batch is larger than train."""
    train = Loader(images, "train", batch_size=cfg.batch_size, device=device, shuffle=True, drop_last=True)
    return train, evaluation_loader(images, "val", cfg.batch_size, device)


def evaluation_loader(images: ImageSet, split: str, batch_size: int, device: torch.device) -> Loader:
    """A whole split in index order, in batches of a size that does not depend on small training batches."""
    size = max(batch_size, EVALUATION_BATCH)
    # In memory the images are there as a file already, which is read in order: a copy would only double them.
    resident = False if device.type == "cpu" else None
    return Loader(
        images, split, batch_size=size, device=device, shuffle=False, drop_last=False, resident=resident
    )

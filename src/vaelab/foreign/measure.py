"""The run folder of somebody else's VAE: its configuration, its weights, and all that is measured of it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError, build, config, files, hardware, names, plugins
from vaelab.data import ImageSet
from vaelab.foreign.checkpoints import Checkpoint, read
from vaelab.hardware import Hardware
from vaelab.losses import Loss
from vaelab.runs import checkpoint, identity, measure, perform
from vaelab.runs.folder import Run
from vaelab.runs.job import Job
from vaelab.runs.lock import refuse_unwritable
from vaelab.runs.request import make_paths_absolute
from vaelab.units import FACTORS


def evaluate(
    cfg: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str], command: Sequence[str]
) -> Run:
    """Measures a checkpoint of another tool on a data set, in a run folder of its own, which it returns.

    Raises UsageError for a checkpoint that is none, is of other images or does not say its λ, before data are read
    where it can.
    """
    make_paths_absolute(cfg)
    config.check(cfg, config.Foreign)
    plugins.allow(cfg.plugins)
    found = read(cfg.foreign)
    weight = weight_of(found, cfg.kl_weight)
    parent = Path(cfg.output_dir, choices["dataset"], found.tool)
    refuse_unwritable(parent)
    chosen = Hardware(torch.device(hardware.device(cfg.device)), "fp32", False, {})
    own = configuration(cfg, found)
    own.regulariser.kl_weight = weight
    build.check(own)
    images = build.dataset(own)
    refuse_other_images(found, images)
    with torch.device("meta"):  # first without memory, for a stranger's files may ask for any size
        network = build.model(own, images.image_shape)
    tensors = found.weights(network.state_dict())
    network = build.model(own, images.image_shape)
    network.load_state_dict(tensors)
    checkpoint.refuse_not_finite(found.file, network)
    in_nats(own, found, weight, network, images)
    job = prepared(own, chosen, images, network.to(chosen.device))
    # By its content, for one file has many spellings.
    called = f"foreign={found.tool}:{Path(cfg.foreign.partition(':')[2]).name}-{own.foreign.weights[:8]}"
    name = identity.run_name([called if one.startswith("foreign=") else one for one in overrides])
    run = identity.find(parent, name, identity.resolved(own), rerun=False)
    with run.locked():
        identity.refuse_change(run, own, images.fingerprint)
        with run.recorded():
            told = {**own.foreign, "kl_weight": weight, "kl_weight_unit": found.tool}
            run.start(own, command, perform.facts(job) | {"sweep": None, "foreign": told})
            run.save_weights(checkpoint.weights(job.network, job.criterion))
            read_by = measure.context(own, job.network, job.criterion, images, [], chosen.device, 0)
            measure.evaluate(run, job.evaluations, read_by, cfg.dpi)
            run.update(status="done", beta_eff=perform.beta_eff(job))
    return run


def weight_of(found: Checkpoint, given: float | None) -> float:
    """λ in the tool's own unit; raises UsageError where neither the checkpoint nor the command says it, or both do."""
    if found.kl_weight is None and given is None:
        raise UsageError(
            f"{found.tool}:{found.file} does not say the weight of its KL: give kl_weight=... as {found.tool} counts it"
        )
    if found.kl_weight is not None and given is not None:
        raise UsageError(
            f"{found.tool}:{found.file} says itself that the weight of its KL is {found.kl_weight:g}: "
            "leave kl_weight out"
        )
    return float(given if found.kl_weight is None else found.kl_weight)  # type: ignore[arg-type]


def configuration(cfg: DictConfig, found: Checkpoint) -> DictConfig:
    """The configuration of the run: what was given, the network and the likelihood of the checkpoint."""
    values = identity.resolved(cfg)
    del values["device"]
    likelihood = names.values_of("likelihood", found.likelihood)
    foreign = {
        "tool": found.tool,
        "path": str(found.file.absolute()),
        "weights": files.digest(found.file),
    }
    return OmegaConf.create(
        values
        | {"model": found.model, "likelihood": likelihood, "kl_weight_unit": "nats", "foreign": foreign}
    )


def refuse_other_images(found: Checkpoint, images: ImageSet) -> None:
    """Raises UsageError where a checkpoint says that it is of images of another shape."""
    if found.image_shape is None or found.image_shape == images.image_shape:
        return
    channels, height, width = found.image_shape
    ours = "×".join(map(str, (*images.image_shape[1:], images.image_shape[0])))
    raise UsageError(
        f"{found.tool}:{found.file} is of images of {height}×{width}×{channels}, and those of {images.name} are "
        f"{ours}: give dataset.size=[{height},{width}], or other images"
    )


def in_nats(
    own: DictConfig, found: Checkpoint, weight: float, network: build.Network, images: ImageSet
) -> None:
    """Puts λ in nats into a configuration, of a weight as the tool counts it."""
    pixels, units = math.prod(images.image_shape), math.prod(network.code_shape)  # type: ignore[arg-type]
    converted = weight * FACTORS[found.tool](pixels, units)
    if found.tool == "diffusers":  # whose images are in [-1, 1]: the squared error is four times as large
        converted /= 4
    own.kl_weight = own.regulariser.kl_weight = converted


def prepared(own: DictConfig, chosen: Hardware, images: ImageSet, network: build.Network) -> Job:
    """What evaluations and run.json need of a run that is not trained."""
    criterion: Loss = build.loss(own, network, images.sizes()["train"], images.image_shape)
    evaluations = build.evaluations(own, network, images)
    loader = build.evaluation_loader(images, "test", own.batch_size, chosen.device)
    return Job(own, chosen, images, (loader, loader), network, criterion.to(chosen.device), evaluations)

"""Several runs trained as one ensemble: members that differ in the KL weight, the seed or the learning rate."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from lightning_fabric import Fabric
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from vaelab import UsageError, build, losses, machine
from vaelab.data import Batch, Loader
from vaelab.losses import Loss
from vaelab.models import EncoderDecoder, Ensemble
from vaelab.runs import measure
from vaelab.runs import perform as jobs
from vaelab.runs.checkpoint import Terms, below, weights
from vaelab.runs.job import Job, prepare
from vaelab.runs.request import Failures, Request
from vaelab.sweep.processes import portable
from vaelab.training.loop import Member, OutOfTime, Plan, fit, seed_all

# Of the device's whole memory; what is free differs from hour to hour, and the size of an ensemble must not.
SHARE_OF_MEMORY = 0.7


def perform(asked: Sequence[Request]) -> Failures:
    """Does what is left of runs that differ in MEMBER_KEYS only, in one pass; returns those that failed.

    Raises UsageError for a mistake that all of them share.
    """
    # Members of one learning rate are stacked together.
    asked = sorted(asked, key=lambda a: float(a.cfg.optimizer.lr))
    first = prepare(asked[0].cfg)
    made = [first, *(prepare(a.cfg, like=first) for a in asked[1:])]
    failures: Failures = {}
    with ExitStack() as locks:
        held: list[tuple[Job, Request]] = []
        for job, one in zip(made, asked, strict=True):
            try:
                locks.enter_context(one.run.locked())
                if one.run.is_done():
                    continue
                jobs.begin(job, one)
                held.append((job, one))
            except UsageError as error:
                failures[one.name] = error
        with ExitStack() as ends:
            for _, one in held:
                ends.enter_context(one.run.recorded())
            if held:
                failures |= _train_and_finish(held)
    return failures


def _train_and_finish(held: Sequence[tuple[Job, Request]]) -> Failures:
    failures: Failures = {}
    members = train(held)
    for (job, one), member in zip(held, members, strict=True):
        if member.error is None and member.epoch < job.cfg.epochs:  # its time was over
            continue
        try:
            if member.error:
                raise member.error
            jobs.finish(job, one.run)
        except Exception as error:
            if not member.error:
                one.run.fail(error)
            failures[one.name] = portable(error)
    return failures


def train(held: Sequence[tuple[Job, Request]]) -> list[Member]:
    """Trains the members and saves the weights of those that came to the end."""
    made = [job for job, _ in held]
    jobs.reset_peak_memory(made[0])
    built = assemble(made)
    members = []
    for slot, (job, one) in zip(built.slots, held, strict=True):
        draw = partial(measure.draw_snapshot, job, one.run)
        members.append(Member(one.run, slot.state, slot.load, float(job.cfg.optimizer.lr), draw))
    parts = (built.model, built.criterion, built.optimizers, built.batches, made[0].loaders[1])
    try:
        fit(made[0].engine, *parts, members, built.plan)
    except OutOfTime as pause:
        for member in members:
            if member.error is None and member.epoch < built.plan.epochs:
                member.run.pause(str(pause))
    for job, member in zip(made, members, strict=True):
        if member.error is None and member.epoch == built.plan.epochs:
            member.run.save_weights(weights(job.network, job.criterion))
    return members


@dataclass(frozen=True)
class Assembled:
    """What fit() trains in the place of one run's network, loss, optimizers and batches."""

    model: nn.Module
    criterion: Loss
    optimizers: dict[str, Optimizer]
    batches: "Shared"
    plan: Plan
    slots: list["Slot"]


def assemble(made: Sequence[Job]) -> Assembled:
    """One ensemble of the jobs' networks, sorted by learning rate, and what it is trained with."""
    engine, cfg = made[0].engine, made[0].cfg
    streams = Streams([job.cfg.seed for job in made], engine.device)
    networks = [job.network.to(engine.device) for job in made if isinstance(job.network, EncoderDecoder)]
    groups = Counter(float(job.cfg.optimizer.lr) for job in made)
    ensemble = Ensemble(networks, list(groups.values()), streams.noise)
    criterion = losses.stack([job.criterion.to(engine.device) for job in made], engine.device)
    groups_of_parameters = [
        {"params": ensemble.group(number), "lr": rate} for number, rate in enumerate(groups)
    ]
    model, optimizers = build.setup(
        engine, ensemble, build.optimizers(cfg, {"model": groups_of_parameters}), made[0].hardware.compile
    )
    rows = [ensemble.rows(number) for number in range(len(made))]
    slots = [
        Slot(job.network, job.criterion, place, optimizers) for job, place in zip(made, rows, strict=True)
    ]
    plan = jobs.plan(made[0], streams.seed, partial(clip_members, rows, cfg.trainer.gradient_clip))
    return Assembled(model, criterion, optimizers, Shared(made[0].loaders[0], streams), plan, slots)


@dataclass(frozen=True)
class Slot:
    """What of an ensemble is one member's: the same tensors, by the same names, as those of a run of its own."""

    network: nn.Module  # its parameters are views of the stacked ones
    criterion: Loss
    rows: list[tuple[nn.Parameter, int]]
    optimizers: dict[str, Optimizer]

    def state(self) -> Terms:
        """Everything that training changes of this member, as one flat dict of tensors."""
        tensors = weights(self.network, self.criterion, prefix="model.")
        for player, optimizer in self.optimizers.items():
            for index, (leaf, row) in enumerate(self.rows):
                for name, value in optimizer.state.get(leaf, {}).items():
                    own = value[row] if value.shape == leaf.shape else value
                    tensors[f"optimizer.{player}.{index}.{name}"] = own
        return tensors

    @torch.no_grad()
    def load(self, tensors: Terms) -> None:
        """Puts back what state() gave."""
        self.network.load_state_dict(below(tensors, "model."))
        self.criterion.load_state_dict(below(tensors, "loss."))
        for player, optimizer in self.optimizers.items():
            for name, value in below(tensors, f"optimizer.{player}.").items():
                index, _, entry = name.partition(".")
                leaf, row = self.rows[int(index)]
                entries = optimizer.state[leaf]
                if value.shape == leaf.shape[1:]:
                    entries.setdefault(entry, torch.zeros_like(leaf))[row].copy_(value)
                else:
                    entries[entry] = value.to(_home_of_steps(optimizer, leaf))


def _home_of_steps(optimizer: Optimizer, leaf: nn.Parameter) -> torch.device:
    """Where torch keeps an optimizer's count of steps: on the device only for fused and capturable optimizers."""
    settings = optimizer.defaults
    return leaf.device if settings.get("fused") or settings.get("capturable") else torch.device("cpu")


class Streams:
    """The random numbers of members with these seeds: for each seed those that a run of its own would draw.

    A member's run draws from torch's global generators, so the states of these are swapped, one for each seed.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds = list(dict.fromkeys(seeds))
        self.places = torch.tensor([self.seeds.index(seed) for seed in seeds], device=device)
        self._cuda = device.type == "cuda"
        self._states: list[list[Tensor]] = []

    def seed(self, epoch: int) -> None:
        """Begins an epoch, as seed_all() does for one run."""
        self._states = []
        for seed in self.seeds:
            seed_all(seed, epoch)
            self._states.append(self._get())

    def draw(self, what: Callable[[], Any]) -> list[Any]:
        """What a call draws, once with each seed."""
        if len(self.seeds) == 1:
            return [what()]
        drawn = []
        for number, held in enumerate(self._states):
            self._set(held)
            drawn.append(what())
            self._states[number] = self._get()
        return drawn

    def noise(self, like: Tensor) -> Tensor:
        """Normal numbers for codes like these (B, ...): (B, ...) where all members share them, else (K, B, ...)."""
        # Not randn_like, whose numbers follow the order of the memory on a GPU.
        drawn = self.draw(lambda: torch.randn(like.shape, dtype=like.dtype, device=like.device))
        return drawn[0] if len(drawn) == 1 else torch.stack(drawn)[self.places]

    def _get(self) -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if self._cuda else [])]

    def _set(self, held: list[Tensor]) -> None:
        torch.set_rng_state(held[0])
        if self._cuda:
            torch.cuda.set_rng_state(held[1])


class Shared:
    """A training loader for all members: batches (B, C, H, W) for one seed, else each member's own (K, B, C, H, W)."""

    def __init__(self, loader: Loader, streams: Streams) -> None:
        self.batch_size = loader.batch_size
        self._loader = loader
        self._streams = streams

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        orders = self._streams.draw(lambda: iter(self._loader))
        return orders[0] if len(orders) == 1 else self._stacked(orders)

    def _stacked(self, orders: list[Iterator[Batch]]) -> Iterator[Batch]:
        places = self._streams.places
        for batches in zip(*orders, strict=True):
            images = torch.stack([batch.images for batch in batches])[places]
            yield Batch(images, None, torch.stack([batch.index for batch in batches])[places])


@torch.no_grad()
def clip_members(members: Sequence[Sequence[tuple[nn.Parameter, int]]], max_norm: float, player: str) -> None:
    """Scales each member's gradients to the largest norm, as torch.nn.utils.clip_grad_norm_ does for one model."""
    for rows in members:
        gradients = [leaf.grad[row] for leaf, row in rows if leaf.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))


def chunks(asked: Sequence[Request], most: int) -> list[list[Request]]:
    """Ensembles of nearly equal size, none larger than `most`."""
    count = math.ceil(len(asked) / most)
    bounds = [round(number * len(asked) / count) for number in range(count + 1)]
    return [list(asked[a:b]) for a, b in pairwise(bounds)]


def max_members(job: Job) -> int:
    """How many members of this kind fit in the device's memory, by their weights, their optimizer and one batch."""
    total, data = device_bytes(job.engine), job.images.images.nbytes
    left = SHARE_OF_MEMORY * total - (data if data < total / 2 else 0)  # larger data stay on the disk
    return max(1, int(left / member_bytes(job)))


def member_bytes(job: Job) -> int:
    """Bytes that one member needs: four of each parameter (Adam), and twice what a batch's backward pass keeps."""
    weight = sum(p.numel() * p.element_size() for p in job.network.parameters())
    with torch.device("meta"):
        network = build.model(job.cfg, job.images.image_shape, len(job.images.classes))
        criterion = build.loss(job.cfg, network).train()
        images = torch.empty(max(job.cfg.batch_size, build.EVALUATION_BATCH), *job.images.image_shape)
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        list(criterion(network, Batch(images, None, torch.empty(0))))
    return 4 * weight + 2 * kept


def device_bytes(engine: Fabric) -> int:
    """The whole memory of the device."""
    if engine.device.type == "cuda":
        return torch.cuda.get_device_properties(engine.device).total_memory
    return machine.total_memory()


def can_be_stacked(cfg: DictConfig) -> bool:
    """Whether networks of this configuration can be members of an ensemble."""
    with torch.device("meta"):
        network = build.model(cfg, (1, 32, 32), classes=2)
    if not isinstance(network, EncoderDecoder):
        return False
    try:
        Ensemble([network], [1], lambda like: like)
    except ValueError:
        return False
    return True

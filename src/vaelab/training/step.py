"""One step of training, from the index of a batch to updated weights and the step's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaelab.data import Feed
from vaelab.training.average import Average
from vaelab.training.capture import Lane, Repeated
from vaelab.training.rates import Rates
from vaelab.training.record import Record

Terms = dict[str, Tensor]


class Randomness:
    """Everything random in a training, which follows from the seed and the epoch's number alone.

    So a continued run needs no state of any generator, and nothing drawn in between disturbs it.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self.order = torch.Generator()  # of the images
        self.noise = self.order if device.type == "cpu" else torch.Generator(device)

    def begin(self, epoch: int) -> None:
        """Begins an epoch."""
        mixed = np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1)
        for generator in (self.order, self.noise):
            generator.manual_seed(int(mixed))
        torch.manual_seed(int(mixed))  # for networks that draw from torch's own, as dropout does


@dataclass(frozen=True)
class Bounds:
    """What keeps a step from going too far."""

    clip: float | None  # largest norm of a player's gradient, which is scaled down to it
    skip_above: (
        float | None
    )  # norm of a gradient with which the player's step is left out (Child 2021, vdvae)


class Step:
    """Does one step at each call; an epoch is begin(), as many calls as `steps`, and read().

    The device is waited for in read() alone. What changes from step to step lies in tensors on the device, so that the
    whole of a step can be captured: the batch's number, the time that schedules read, the learning rates.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        optimizers: Mapping[str, Optimizer],
        feed: Feed,
        randomness: Randomness,
        rates: Rates,
        bounds: Bounds,
        average: Average | None,
        lane: Lane,
    ) -> None:
        self.steps, self.batch_size = feed.steps, feed.loader.batch_size
        self._model, self._loss, self._optimizers = model, loss, optimizers
        self._feed, self._randomness, self._rates, self._bounds = feed, randomness, rates, bounds
        self._average = average
        self._lane = lane
        self._record = Record(self.steps, feed.loader.device)
        self._start = torch.zeros((), dtype=torch.float64, device=feed.loader.device)
        self._parameters = {
            player: [p for group in optimizer.param_groups for p in group["params"]]
            for player, optimizer in optimizers.items()
        }
        self.repeated = Repeated(self._work, lane)

    def begin(self, epoch: int) -> None:
        """Begins an epoch, counted from 1."""
        self._model.train()
        self._loss.train()
        self._randomness.begin(epoch)
        self._lane.follow()
        with self._lane.entered():
            self._start.fill_(epoch - 1)
            self._record.begin()
            self._rates.begin(epoch)
            self._feed.begin(self._randomness.order)

    def __call__(self) -> None:
        """Does the next step."""
        with self._lane.entered():
            self._feed.ready()
            self.repeated()

    def read(self) -> dict[str, np.ndarray]:
        """Each term's numbers of the epoch's steps; waits for the device."""
        with self._lane.entered():
            return self._record.read()

    def _work(self) -> None:
        number = self._record.number
        batch = self._feed.batch(number)
        torch.div(number.squeeze(0), self.steps, out=self._loss.epoch).add_(self._start)
        self._rates.set(number)
        turns = []
        for player, terms in self._loss(self._model, batch, self._randomness.noise):
            optimizer = self._optimizers[player]
            optimizer.zero_grad()
            terms["loss"].backward()
            turns.append((player, terms | self._bounded(player)))
            optimizer.step()
        if self._average is not None:
            self._average.update()
        self._record.add(named(turns))

    def _bounded(self, player: str) -> Terms:
        """Keeps the player's gradient in its bounds; the share of steps that are left out, where some may be."""
        clip, skip_above = self._bounds.clip, self._bounds.skip_above
        if clip is None and skip_above is None:
            return {}
        parameters = self._parameters[player]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        if skip_above is None:
            return {}
        # What mixed precision has for gradients that overflow: a fused optimizer then changes nothing.
        skipped = (~(norm <= skip_above)).float()
        self._optimizers[player].found_inf = skipped  # type: ignore[attr-defined]
        return {"skipped": skipped}


def named(turns: Sequence[tuple[str, Terms]]) -> Terms:
    """The terms of all turns of a step; where there are several players, each one's loss has its name."""
    if len(turns) == 1:
        return turns[0][1]
    return {
        f"{name}_{player}" if name in ("loss", "skipped") else name: term
        for player, terms in turns
        for name, term in terms.items()
    }

"""What a model is held to on images that it does not learn from, after each epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaelab.data import Batch, Feed, Loader
from vaelab.training.capture import Lane, Repeated
from vaelab.training.record import Numbers, Record
from vaelab.training.step import Terms, named


class Validation:
    """The means over a split of the loss's terms and of what `measure` gives of a batch, weighted by images.

    Batches of full size are captured where the split is on the device.
    """

    def __init__(
        self,
        model: Any,
        loss: Any,
        loader: Loader,
        measure: Callable[[Any, Batch], Terms],
        noise: torch.Generator,
        lane: Lane,
    ) -> None:
        self._model, self._loss, self._measure, self._noise = model, loss, measure, noise
        self._loader, self._lane = loader, lane
        self._feed = Feed(loader) if loader.split is not None and loader.size >= loader.batch_size else None
        self._record = Record(len(loader), loader.device)
        self.repeated = Repeated(self._whole, lane)

    @torch.no_grad()
    def __call__(self) -> Numbers:
        """The means; waits for the device. The random numbers go on from where the training has come to."""
        self._model.eval()
        self._loss.eval()
        self._lane.follow()
        with self._lane.entered():
            self._record.begin()
            sizes = self._fed() if self._feed is not None else self._iterated()
            rows = self._record.read()
        total = sum(sizes)
        return {name: float((values * sizes).sum() / total) for name, values in rows.items()}

    def _fed(self) -> list[int]:
        assert self._feed is not None
        self._feed.begin()
        size, steps = self._loader.batch_size, self._feed.steps
        for _ in range(steps):
            self.repeated()
        rest = self._loader.size - steps * size
        if not rest:
            return [size] * steps
        places = torch.arange(steps * size, self._loader.size, device=self._loader.device)
        self._add(self._loader.gather(places))
        return [size] * steps + [rest]

    def _iterated(self) -> list[int]:
        sizes = []
        for batch in self._loader:
            self._add(batch)
            sizes.append(len(batch.index))
        return sizes

    @torch.no_grad()
    def _whole(self) -> None:
        assert self._feed is not None
        self._add(self._feed.batch(self._record.number))

    def _add(self, batch: Batch) -> None:
        terms: dict[str, Tensor] = named(list(self._loss(self._model, batch, self._noise)))
        self._record.add(terms | self._measure(self._model, batch))

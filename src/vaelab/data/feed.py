"""The batches of a step that is captured: what the step reads lies where it lay before."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaelab.data.loader import Batch, Loader


class Feed:
    """An epoch after the other of a loader whose batches are all of one size.

    Before each step the host calls ready(); within the step, batch(number) reads the batch of that number, int64 (1,)
    on the device. Of a split that is on the device it is gathered there; else its pixels come ahead of their step, by a
    stream of copies beside the steps, into fixed buffers.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        steps, size = loader.size // loader.batch_size, loader.batch_size
        self.steps = steps
        self._order = torch.empty(steps, size, dtype=torch.int64, device=loader.device)
        self._ahead: Iterator[Batch] = iter(())
        self._next: Batch | None = None
        self._buffers: Batch | None = None
        self._copies = torch.cuda.Stream(loader.device) if loader.device.type == "cuda" else None

    def begin(self, order: torch.Generator | None = None) -> None:
        """Begins another epoch, in an order that is drawn from the generator."""
        drawn = self.loader.order(order)[: self._order.numel()]
        if self.loader.split is not None:
            if self._copies is not None:  # a copy from pinned memory is not waited for
                drawn = drawn.pin_memory()
            self._order.copy_(drawn.view_as(self._order), non_blocking=True)
            return
        self._ahead = self.loader.streamed(drawn)
        self._next = self._fetched()

    def ready(self) -> None:
        """Makes the next batch ready."""
        if self.loader.split is not None:
            return
        assert self._next is not None
        if self._copies is not None:
            torch.cuda.current_stream().wait_stream(self._copies)
        if self._buffers is None:
            self._buffers = Batch(*(None if part is None else part.clone() for part in self._next))  # type: ignore[arg-type]
        for buffer, part in zip(self._buffers, self._next, strict=True):
            if buffer is not None and part is not None:
                buffer.copy_(part, non_blocking=True)
                if self._copies is not None:  # its memory is free once this copy is done
                    part.record_stream(torch.cuda.current_stream())
        self._next = self._fetched()

    def batch(self, number: Tensor) -> Batch:
        """The batch of this number (1,); of streamed data the one that is ready."""
        if self.loader.split is not None:
            return self.loader.gather(self._order.index_select(0, number).squeeze(0))
        assert self._buffers is not None
        return self.loader.floats(*self._buffers)

    def _fetched(self) -> Batch | None:
        if self._copies is None:
            return next(self._ahead, None)
        with torch.cuda.stream(self._copies):
            return next(self._ahead, None)

"""Batches of one split: uint8 on the device, a batch is an index."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch

from vaelab import UsageError, machine
from vaelab.data.imageset import ImageSet

AHEAD = 2  # batches gathered before they are asked for, where the data stay on disk


class Batch(NamedTuple):
    """Images (B, C, H, W) float32 in [0, 1], channels_last on a GPU, labels and rows (B,) int64."""

    images: torch.Tensor
    labels: torch.Tensor | None
    index: torch.Tensor  # type: ignore[assignment]  # rows of the ImageSet; hides tuple.index on purpose


class Loader:
    """Iterates the batches of one split; shuffling draws one torch.randperm (global CPU generator) per epoch.

    `resident` None keeps the split on the device if it takes at most half of the free memory there, otherwise
    it stays memory-mapped and one thread gathers ahead. UsageError where drop_last would leave no batch.
    """

    def __init__(
        self,
        images: ImageSet,
        split: str,
        *,
        batch_size: int,
        device: torch.device,
        shuffle: bool,
        drop_last: bool,
        resident: bool | None = None,
    ) -> None:
        rows = images.indices(split)
        if drop_last and batch_size > len(rows):
            held = f"the {len(rows)} images of the {split} split of {images.name}"
            remedy = f"choose at most batch_size={len(rows)}"
            raise UsageError(f"batch_size={batch_size} is larger than {held}: {remedy}")
        self.batch_size = batch_size
        self.size = len(rows)
        self._device = device
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._images = images
        nbytes = len(rows) * images.images[0].nbytes
        self._resident = nbytes <= _free_bytes(device) // 2 if resident is None else resident
        home = device if self._resident else torch.device("cpu")
        self._rows = torch.from_numpy(rows).to(home)
        self._labels = None if images.labels is None else torch.from_numpy(images.labels[rows]).to(home)
        self._pixels = torch.from_numpy(images.images[rows]).to(home) if self._resident else None
        # A tensor on the device: CUDA multiplies by the reciprocal of a Python scalar, one rounding more.
        self._white = torch.tensor(255.0, device=device)

    def __len__(self) -> int:
        return self.size // self.batch_size if self._drop_last else -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(self.size) if self._shuffle else torch.arange(self.size)
        if self._pixels is None:
            return self._streamed(order)
        return self._gathered(self._pixels, order.to(self._device))

    def at(self, places: torch.Tensor) -> Batch:
        """The images at these places (N,) of the split, counted from 0 in index order."""
        if self._pixels is None:
            return self._moved(self._read(places))
        return self._gather(self._pixels, places.to(self._device))

    def _gathered(self, pixels: torch.Tensor, order: torch.Tensor) -> Iterator[Batch]:
        for position in self._positions(order):
            yield self._gather(pixels, position)

    def _gather(self, pixels: torch.Tensor, position: torch.Tensor) -> Batch:
        labels = None if self._labels is None else self._labels.index_select(0, position)
        return self._batch(pixels.index_select(0, position), labels, self._rows.index_select(0, position))

    def _streamed(self, order: torch.Tensor) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(1)
        ahead: deque[Future[Batch]] = deque()
        try:
            for position in self._positions(order):
                ahead.append(pool.submit(self._read, position))
                if len(ahead) > AHEAD:
                    yield self._moved(ahead.popleft().result())
            while ahead:
                yield self._moved(ahead.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)

    def _positions(self, order: torch.Tensor) -> Iterator[torch.Tensor]:
        for number in range(len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]

    def _read(self, position: torch.Tensor) -> Batch:
        index = self._rows[position]
        pixels = torch.from_numpy(self._images.images[index.numpy()])
        batch = Batch(pixels, None if self._labels is None else self._labels[position], index)
        if self._device.type != "cuda":
            return batch
        with torch.cuda.device(self._device):  # else pinning starts a second context on the first GPU
            labels = None if batch.labels is None else batch.labels.pin_memory()
            return Batch(batch.images.pin_memory(), labels, batch.index.pin_memory())

    def _moved(self, batch: Batch) -> Batch:
        pixels, labels, index = batch
        labels = None if labels is None else labels.to(self._device, non_blocking=True)
        pixels = pixels.to(self._device, non_blocking=True)
        return self._batch(pixels, labels, index.to(self._device, non_blocking=True))

    def _batch(self, pixels: torch.Tensor, labels: torch.Tensor | None, index: torch.Tensor) -> Batch:
        # (B, H, W, C) seen as (B, C, H, W) is channels_last already, which a GPU's convolutions like best.
        layout = torch.contiguous_format if self._device.type == "cpu" else torch.channels_last
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        return Batch(images.div_(self._white), labels, index)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return machine.free_memory()

"""Batches of one split: uint8 on the device, a batch is an index."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from vaelab import UsageError, machine
from vaelab.data.imageset import ImageSet

AHEAD = 2  # batches gathered before they are asked for, where the data stay on disk


class Batch(NamedTuple):
    """Images (B, C, H, W) float32 in [0, 1], channels_last on a GPU, labels and rows (B,) int64."""

    images: Tensor
    labels: Tensor | None
    index: Tensor  # type: ignore[assignment]  # rows of the ImageSet; hides tuple.index on purpose


class Split:
    """The pixels (N, H, W, C) uint8, labels and rows (N,) int64 of a split on a device."""

    def __init__(self, images: ImageSet, rows: Tensor, device: torch.device) -> None:
        self.pixels = torch.from_numpy(images.images[rows.numpy()]).to(device)
        self.labels = None if images.labels is None else torch.from_numpy(images.labels)[rows].to(device)
        self.rows = rows.to(device)


# Runs that share a device share the pixels of one split, by its fingerprint, name, size and device.
_resident: "WeakValueDictionary[tuple[str, str, int, str], Split]" = WeakValueDictionary()


class Loader:
    """Iterates the batches of one split; shuffling draws one torch.randperm per epoch.

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
        self.device = device
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._images = images
        self._rows = torch.from_numpy(rows)
        self.split = self._shared(split, resident)
        # A tensor on the device: CUDA multiplies by the reciprocal of a Python scalar, one rounding more.
        self._white = torch.tensor(255.0, device=device)

    def _shared(self, name: str, resident: bool | None) -> Split | None:
        key = (self._images.fingerprint, name, self.size, str(self.device))
        known = _resident.get(key)
        if resident is None:
            nbytes = self.size * self._images.images[0].nbytes
            resident = known is not None or nbytes <= _free_bytes(self.device) // 2
        if not resident:
            return None
        if known is None:
            known = _resident[key] = Split(self._images, self._rows, self.device)
        return known

    def __len__(self) -> int:
        return self.size // self.batch_size if self._drop_last else -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.order()
        if self.split is None:
            return (self.floats(*batch) for batch in self.streamed(order))
        return self._gathered(order.to(self.device))

    def order(self, generator: torch.Generator | None = None) -> Tensor:
        """Places in the split (N,) for another epoch, drawn from the generator, or from torch's own."""
        return torch.randperm(self.size, generator=generator) if self._shuffle else torch.arange(self.size)

    def at(self, places: Tensor) -> Batch:
        """The images at these places (N,) of the split, counted from 0 in index order."""
        if self.split is None:
            return self.floats(*self._moved(self._read(places)))
        return self.gather(places.to(self.device))

    def gather(self, places: Tensor) -> Batch:
        """The batch of these places (B,) of a split that is on the device."""
        assert self.split is not None
        labels = None if self.split.labels is None else self.split.labels.index_select(0, places)
        return self.floats(
            self.split.pixels.index_select(0, places), labels, self.split.rows.index_select(0, places)
        )

    def streamed(self, order: Tensor) -> Iterator[Batch]:
        """Batches of pixels (B, H, W, C) uint8 on the device, which a thread gathers ahead."""
        pool = ThreadPoolExecutor(max_workers=1)
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

    def floats(self, pixels: Tensor, labels: Tensor | None, index: Tensor) -> Batch:
        """The batch of pixels (B, H, W, C) uint8."""
        # (B, H, W, C) seen as (B, C, H, W) is channels_last already, which a GPU's convolutions like best.
        layout = torch.contiguous_format if self.device.type == "cpu" else torch.channels_last
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        return Batch(images.div_(self._white), labels, index)

    def _gathered(self, order: Tensor) -> Iterator[Batch]:
        for position in self._positions(order):
            yield self.gather(position)

    def _positions(self, order: Tensor) -> Iterator[Tensor]:
        for number in range(len(self)):
            yield order[number * self.batch_size : (number + 1) * self.batch_size]

    def _read(self, position: Tensor) -> Batch:
        index = self._rows[position]
        pixels = torch.from_numpy(self._images.images[index.numpy()])
        labels = None if self._images.labels is None else torch.from_numpy(self._images.labels[index.numpy()])
        batch = Batch(pixels, labels, index)
        if self.device.type != "cuda":
            return batch
        with torch.cuda.device(self.device):  # else pinning starts a second context on the first GPU
            labels = None if batch.labels is None else batch.labels.pin_memory()
            return Batch(batch.images.pin_memory(), labels, batch.index.pin_memory())

    def _moved(self, batch: Batch) -> Batch:
        pixels, labels, index = batch
        labels = None if labels is None else labels.to(self.device, non_blocking=True)
        pixels = pixels.to(self.device, non_blocking=True)
        return Batch(pixels, labels, index.to(self.device, non_blocking=True))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return machine.free_memory()

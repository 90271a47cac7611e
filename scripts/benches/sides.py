"""Three ways of training one network on the same images with the same loss; each call is one epoch."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benches.images import composed
from benches.measuring import quiet
from vaelab import build, hardware
from vaelab.runs import job, perform


class Training:
    """Training as vae-train does it."""

    def __init__(self, *overrides: str) -> None:
        self.cfg = composed(*overrides)
        with quiet():
            self.job = job.prepare(self.cfg)
        self.model = hardware.Placed(self.job.network, self.job.hardware)
        self.step = perform.assemble(self.job, self.model).step
        self.images = self.step.steps * self.step.batch_size
        self.epoch = 0
        self.means: dict[str, float] = {}

    def __call__(self) -> None:
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """One epoch, which yields after each step."""
        self.epoch += 1
        self.step.begin(self.epoch)
        for _ in range(self.step.steps):
            self.step()
            yield
        self.means = {name: float(values.mean()) for name, values in self.step.read().items()}


class Bare:
    """The least that trains the same network in the same precision: the limit of what a loop can reach."""

    def __init__(self, ours: Training) -> None:
        images, cfg = ours.job.images, ours.cfg
        self.device = ours.job.device
        gpu = self.device.type == "cuda"
        self.layout = torch.channels_last if gpu else torch.contiguous_format
        self.precision = torch.autocast(
            self.device.type, torch.bfloat16, enabled=ours.job.hardware.precision == "bf16"
        )
        self.kl_weight = cfg.kl_weight
        self.pixels = torch.from_numpy(images.images[images.indices("train")]).to(self.device)
        self.network: Any = build.model(cfg, images.image_shape)
        self.network.to(self.device).to(memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.network.parameters(), cfg.lr, fused=True, capturable=gpu)
        steps, size = ours.step.steps, ours.step.batch_size
        self.images = steps * size
        self.order = torch.zeros(steps, size, dtype=torch.int64, device=self.device)
        self.number = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.total = torch.zeros((), device=self.device)
        self.mean = 0.0
        # Captured in the first epoch, for that trains a little already.
        self.step = None if gpu else self.work

    def __call__(self) -> None:
        if self.step is None:
            self.step = self.captured()
        self.order.copy_(torch.randperm(len(self.pixels))[: self.images].view_as(self.order))
        self.number.zero_()
        self.total.zero_()
        for _ in range(len(self.order)):
            self.step()
        self.mean = self.total.item() / len(self.order)

    def work(self) -> None:
        rows = self.order.index_select(0, self.number).squeeze(0)
        pixels = self.pixels.index_select(0, rows).permute(0, 3, 1, 2)
        loss = self.loss(pixels.to(torch.float32, memory_format=self.layout).div_(255))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()
        self.number += 1

    def loss(self, images: Tensor) -> Tensor:
        """-ELBO in nats per image, of logits."""
        with self.precision:
            mean, log_variance = self.network.encoder(images).float().chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            logits = self.network.decoder(z).float()
        error = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        return (error + self.kl_weight * kl(mean, log_variance)) / len(images)

    def captured(self) -> Callable[[], None]:
        """The work in a CUDA graph, after three calls on a side stream."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.work()
                self.number.zero_()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.work()
        return graph.replay


class PlainTraining:
    """The training that most people write: files, a DataLoader, float32, .item() at each step."""

    def __init__(self, ours: Training, pictures: Path, workers: int) -> None:
        images, cfg = ours.job.images, ours.cfg
        self.device = ours.job.device
        self.model: Any = build.model(cfg, images.image_shape).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg.lr)
        self.kl_weight = cfg.kl_weight
        self.loader = DataLoader(
            PictureFiles(
                [pictures / images.names[row] for row in images.indices("train")], images.image_shape
            ),
            batch_size=cfg.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        self.images = len(self.loader) * cfg.batch_size
        self.mean = 0.0

    def __call__(self) -> None:
        total = 0.0
        for images in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(images.to(self.device))
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.mean = total / len(self.loader)

    def loss(self, images: Tensor) -> Tensor:
        """-ELBO in nats per image (Kingma & Welling 2014, equation 10 and appendix B)."""
        code = self.model.encode(images)
        mean, log_variance = code.mean, code.log_variance
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = F.binary_cross_entropy(self.model.decode(z), images, reduction="sum")
        return (error + self.kl_weight * kl(mean, log_variance)) / len(images)


class PictureFiles(Dataset[Tensor]):
    """Pictures decoded and resized each time they are asked for, as torchvision's ImageFolder does."""

    def __init__(self, files: Sequence[Path], image_shape: tuple[int, int, int]) -> None:
        channels, side, _ = image_shape
        self.files = files
        self.mode = {1: "L", 3: "RGB"}[channels]
        self.transform = transforms.Compose(
            [transforms.Resize(side), transforms.CenterCrop(side), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.files[row]) as picture:
            image: Tensor = self.transform(picture.convert(self.mode))
        return image


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) ‖ N(0, I)) in nats, summed over the batch."""
    return -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())

"""Whether generated images show the class that was asked for, as a classifier of real images sees it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelab import canvas
from vaelab.bounds import Count, Made, Seed
from vaelab.canvas import SMALL, Drawing, Panel, mark
from vaelab.evaluations.base import Batch, Context, Result, chosen, seeded, size_of, spread
from vaelab.evaluations.generation import generated
from vaelab.fonts import class_names, shorten
from vaelab.quantities import Quantity

MOST_IMAGES, MOST_BYTES = 60_000, 2**29  # of the train split that the classifier learns from
WIDTHS = (16, 32, 64, 128)
BATCH = 64
LEGIBLE = 5  # classes; the names and numbers of more are turned, and small
NAMED = 16  # classes; tables of more have numbers at their axes, and no text inside
LONGEST = 24  # characters of a class's name


@dataclass(frozen=True)
class GANTest:
    """GAN-test (Shmelkov et al. 2018): a small classifier learns from the train split and judges `count` samples.

    Its weights are those of the epoch with the best accuracy on the val split; its own accuracy on the test split
    stands beside. Of a large train split it sees a part, spread evenly.
    """

    count: Made
    epochs: Count
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "gan_test_accuracy", "GAN-test accuracy", digits=3, better="higher", of="samples", shown="always",
            beside="classifier_accuracy", whose="test images",
        ),
        Quantity("classifier_accuracy", "the classifier's accuracy on test images"),
    )  # fmt: skip
    needs: ClassVar[str] = "classes"

    def __call__(self, context: Context) -> Result:
        classes = len(context.classes)
        with torch.inference_mode(False), torch.enable_grad(), seeded(self.seed):
            classifier = trained(context, self.epochs)
        samples = generated(context, self.count, self.seed)
        assert samples.label is not None
        arrays = {
            "confusion": confusion(classifier, [(samples.images, samples.label)], classes),
            "confusion_data": confusion(classifier, labelled(context.batches("test")), classes),
        }
        accuracy, own = map(share, arrays.values())
        classes_drawn, told = class_names(context.classes)
        draw = drawing(
            {"generated images": arrays["confusion"], "test images": arrays["confusion_data"]},
            classes_drawn,
            f"GAN-test {accuracy:.1%}, classifier on test images {own:.1%} · {context.title}{told}",
        )
        return Result(arrays, draw, {"gan_test_accuracy": accuracy, "classifier_accuracy": own})


def drawing(tables: Mapping[str, np.ndarray], classes: Sequence[str], title: str) -> Drawing:
    """Counts (K, K) side by side as shares of a row: rows are the classes wanted, columns what a classifier said."""
    names = [shorten(name, LONGEST) for name in classes]
    panels = [_panel(name, table, names) for name, table in tables.items()]
    return partial(canvas.panels, panels, title, 4.2 if len(names) > LEGIBLE else 3.2)


def _panel(title: str, table: np.ndarray, names: Sequence[str]) -> Panel:
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    marks = [mark("imshow", shares, cmap="Blues", vmin=0, vmax=1)]
    if len(names) <= NAMED:
        many = len(names) > LEGIBLE
        inside: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL - 1.5 if many else SMALL}
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.6 else "black"
            marks.append(mark("text", column, row, f"{share:.0%}"[:-1], color=colour, **inside))
        places = [*range(len(names))]
        marks.append(mark("set_xticks", places, names, fontsize=SMALL, rotation=90 if many else 0))
        marks.append(mark("set_yticks", places, names, fontsize=SMALL))
    upward = "asked for" if "generated" in title else "label"
    return Panel("the classifier says (% of the row)", upward, marks, title, framed=True)


def network(image_shape: torch.Size, classes: int) -> nn.Module:
    """Images (B, C, H, W) to logits (B, classes): seen at 64×64, or 32×32 if smaller, by four convolutions."""
    channels, *sides = image_shape
    side = 64 if min(sides) > 32 else 32
    layers: list[nn.Module] = []
    for number, width in enumerate(WIDTHS):
        stride = 2 if number else 1
        layers += [
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        channels = width
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(side),
        *layers,
        nn.AvgPool2d(side // 32),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(16 * channels, classes),
    )


def trained(context: Context, epochs: int) -> nn.Module:
    """The classifier of the best epoch, in evaluation mode."""
    images, labels = held(context)
    device, steps = images.device, epochs * -(-len(images) // BATCH)
    classifier = network(images.shape[1:], len(context.classes)).to(device)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.05)  # the schedule has the rate
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    best, weights = -1.0, classifier.state_dict()
    for _ in range(epochs):
        classifier.train()
        for rows in torch.randperm(len(images)).to(device).split(BATCH):
            loss = F.cross_entropy(classifier(images[rows] / 255), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        table = confusion(classifier, labelled(context.batches("val")), len(context.classes))
        if (accuracy := share(table)) > best:
            best = accuracy
            weights = {name: value.clone() for name, value in classifier.state_dict().items()}
    classifier.load_state_dict(weights)
    return classifier.eval()


def held(context: Context) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) of the train split in bytes, a quarter of the memory, for they are shuffled; labels (N,)."""
    total = size_of(context, "train")
    shape = next(iter(context.batches("train"))).images.shape[1:]
    places = spread(total, max(1, min(MOST_IMAGES, MOST_BYTES // shape.numel())))
    images = labels = torch.empty(0)
    filled = 0
    for batch, inside in chosen(context, "train", places):
        assert batch.labels is not None
        if not filled:  # at once: parts that are joined would take twice the memory
            images = batch.images.new_empty((len(places), *shape), dtype=torch.uint8)
            labels = batch.labels.new_empty(len(places))
        rows = slice(filled, filled + len(inside))
        images[rows], labels[rows] = (batch.images[inside] * 255).round().byte(), batch.labels[inside]
        filled += len(inside)
    return images, labels


def share(table: np.ndarray) -> float:
    """The accuracy of a table of counts (K, K); 0 of none."""
    return float(np.trace(table) / max(1, table.sum()))


def labelled(batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of each batch."""
    return ((batch.images, batch.labels) for batch in batches if batch.labels is not None)


@torch.no_grad()
def confusion(classifier: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> np.ndarray:
    """Counts (K, K): rows are the labels, columns what the classifier says."""
    classifier.eval()
    counts = np.zeros((classes, classes), np.int64)
    for images, labels in batches:
        for part, wanted in zip(images.split(256), labels.split(256), strict=True):
            said: Any = classifier(part).argmax(1).cpu().numpy()
            np.add.at(counts, (wanted.cpu().numpy(), said), 1)
    return counts

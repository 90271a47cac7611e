"""The game of a generator and a discriminator, with or without classes."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.bounds import AtLeast
from vaelab.losses.augment import AUGMENTATIONS
from vaelab.losses.base import NATS, ImageBatch, Loss, Terms, Turn, mean_terms
from vaelab.quantities import Quantity

Augmentation = Literal["color", "translation", "cutout"]


class Adversarial(Loss):
    """The non-saturating game from logits (Goodfellow et al. 2014, section 3), with class terms for an ACGAN.

    The discriminator learns from targets that may be smoothed, noisy or flipped, in training only; `r1` weights its
    squared gradient at real images. What it sees is augmented. Raises ValueError for values out of range.
    """

    quantities: tuple[Quantity, ...] = (
        Quantity("loss_discriminator", "discriminator's loss", NATS),
        Quantity("loss_generator", "generator's loss", NATS),
        Quantity("accuracy_real", "discriminator's accuracy, real images"),
        Quantity("accuracy_fake", "discriminator's accuracy, generated images"),
        Quantity("class_loss_real", "class loss, real images", "nats"),
        Quantity("class_loss_fake", "class loss, generated images", "nats"),
        Quantity("class_accuracy_real", "class accuracy, real images"),
        Quantity("class_accuracy_fake", "class accuracy, generated images"),
    )
    needs: ClassVar[str] = "generator"

    def __init__(
        self,
        label_smoothing: float,
        label_noise: float,
        label_flips: float,
        r1: Annotated[float, AtLeast(0)],
        augment: Sequence[Augmentation],
    ) -> None:
        super().__init__()
        shares = {"label_smoothing": label_smoothing, "label_noise": label_noise, "label_flips": label_flips}
        for name, share in shares.items():
            if not 0 <= share < 0.5:
                raise ValueError(f"{name}={share} is not from 0 to below 0.5")
        if not r1 >= 0:
            raise ValueError(f"r1={r1} is not 0 or more")
        self.label_smoothing, self.label_noise, self.label_flips = label_smoothing, label_noise, label_flips
        self.r1, self.augment = r1, tuple(augment)

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """A turn of the "discriminator", then one of the "generator", on the same generated images.

        Generated images are of the batch's own classes, so that classes come as often as in the data.
        """
        label = batch.labels if "classes" in model.offers else None
        fake = model.generate(model.draw(len(batch.images), noise), label)
        yield "discriminator", self.discriminator_terms(model, batch.images, fake.detach(), label, noise)
        yield "generator", self.generator_terms(model, fake, label, noise)
        if self.training:
            model.update_average()

    def discriminator_terms(
        self, model: Any, real: Tensor, fake: Tensor, label: Tensor | None, noise: torch.Generator
    ) -> Terms:
        """loss, accuracy_real and accuracy_fake; with classes also their losses (nats) and accuracies."""
        penalised = self.training and self.r1 > 0
        real = real.detach().requires_grad_(penalised)
        on_real, on_fake = (model.discriminate(self.augmented(images, noise)) for images in (real, fake))
        loss = self.misjudged(on_real.real, 1 - self.label_smoothing, noise)
        loss = loss + self.misjudged(on_fake.real, 0.0, noise)
        if penalised:
            # Over the steps of images in [-1, 1], as in the paper, which are twice those in [0, 1].
            loss = loss + 0.5 * self.r1 * squared_gradient(on_real.real, real) / 4
        terms = {"accuracy_real": (on_real.real > 0).float(), "accuracy_fake": (on_fake.real <= 0).float()}
        if label is not None:
            for name, logits in (("real", on_real.classes), ("fake", on_fake.classes)):
                terms[f"class_loss_{name}"] = F.cross_entropy(logits, label, reduction="none")
                terms[f"class_accuracy_{name}"] = (logits.argmax(1) == label).float()
            loss = loss + terms["class_loss_real"] + terms["class_loss_fake"]
        return mean_terms(loss=loss, **terms)

    def generator_terms(
        self, model: Any, fake: Tensor, label: Tensor | None, noise: torch.Generator
    ) -> Terms:
        """loss: -log D(G(z)) and, with classes, -log of the asked-for class."""
        with model.frozen_discriminator():
            verdict = model.discriminate(self.augmented(fake, noise))
        loss = F.softplus(-verdict.real)
        if label is not None:
            loss = loss + F.cross_entropy(verdict.classes, label, reduction="none")
        return mean_terms(loss=loss)

    def misjudged(self, logits: Tensor, target: float, noise: torch.Generator) -> Tensor:
        """Binary cross-entropy (B,) in nats against the target, or what training makes of it."""
        targets = torch.full_like(logits, target if self.training else round(target))
        if self.training and self.label_noise:
            toward_other = 1 - 2 * targets.round()
            targets = targets + toward_other * self.label_noise * uniform_like(targets, noise)
        if self.training and self.label_flips:
            targets = torch.where(uniform_like(targets, noise) < self.label_flips, 1 - targets, targets)
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def augmented(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """What the discriminator sees of images in [0, 1]; while held-out images are measured, the images."""
        if not self.training:
            return images
        images = 2 * images - 1
        for name in self.augment:
            images = AUGMENTATIONS[name](images, noise)
        return (images + 1) / 2


def uniform_like(values: Tensor, noise: torch.Generator) -> Tensor:
    """Numbers in [0, 1), of the shape of these."""
    return torch.rand(values.shape, generator=noise, device=values.device)


def squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """The squared norm (B,) of each image's gradient (R1 of Mescheder et al. 2018, equation 9)."""
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)

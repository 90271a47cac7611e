"""The adversarial loss against closed forms, and what its turns leave alone."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab import models
from vaelab.losses import Adversarial, augment
from vaelab.models.gan import Verdict

PLAIN = {"label_smoothing": 0.0, "label_noise": 0.0, "label_flips": 0.0, "r1": 0.0, "augment": ()}


def loss(**settings: Any) -> Adversarial:
    return Adversarial(**(PLAIN | settings))


def gan(classes: int | None = None) -> models.GAN:
    torch.manual_seed(0)
    shape: models.ImageShape = (1, 8, 8)
    common = {"latent_dim": 4, "generator_maps": 4, "discriminator_maps": 4, "noise": "normal"}
    common |= {"discriminator_norm": "none", "ema": 0.9}
    if classes is None:
        return models.dcgan(shape, **common)  # type: ignore[arg-type]
    return models.acgan(shape, classes, **common, conditioning="one_hot")  # type: ignore[arg-type]


def batch(classes: int = 2) -> Any:
    torch.manual_seed(1)
    return SimpleNamespace(images=torch.rand(16, 1, 8, 8), labels=torch.arange(16) % classes)


class Linear:
    """A discriminator whose logit is a weight times the image in [-1, 1]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def discriminate(self, images: Tensor) -> Verdict:
        return Verdict(((2 * images - 1) * self.weight).flatten(1).sum(1), None)


@torch.no_grad()
def test_the_discriminators_loss_is_the_cross_entropy_of_the_game() -> None:
    model, data = gan().eval(), batch()
    turns = dict(loss().eval()(model, data, torch.default_generator))
    real = torch.sigmoid(model.discriminate(data.images).real).double()
    torch.manual_seed(1)
    torch.rand(16, 1, 8, 8)
    fake = torch.sigmoid(model.discriminate(model.generate(model.draw(16))).real).double()
    terms = turns["discriminator"]
    expected = -(real.log().mean() + (1 - fake).log().mean())
    assert float(terms["loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(terms["accuracy_real"]) == float((real > 0.5).double().mean())
    assert float(terms["accuracy_fake"]) == float((fake <= 0.5).double().mean())
    assert float(turns["generator"]["loss"]) == pytest.approx(-float(fake.log().mean()), rel=1e-5)


@torch.no_grad()
def test_class_terms_are_cross_entropies_of_logits_on_real_and_generated_images() -> None:
    model, data = gan(3).eval(), batch(3)
    with torch.no_grad():
        model.discriminator[-1].weight.mul_(1e6)  # type: ignore[index, union-attr, operator]
    torch.manual_seed(2)
    turns = dict(loss().eval()(model, data, torch.default_generator))
    terms = turns["discriminator"]
    torch.manual_seed(2)
    fake = model.generate(model.draw(16), data.labels)
    plain = F.binary_cross_entropy_with_logits
    total = 0.0
    for name, images, target in (("real", data.images, 1.0), ("fake", fake, 0.0)):
        verdict = model.discriminate(images)
        assert verdict.classes is not None
        log_probability = torch.log_softmax(verdict.classes.double(), 1)[torch.arange(16), data.labels]
        assert float(terms[f"class_loss_{name}"]) == pytest.approx(-float(log_probability.mean()), rel=1e-4)
        right = (verdict.classes.argmax(1) == data.labels).float().mean()
        assert float(terms[f"class_accuracy_{name}"]) == float(right)
        total += float(plain(verdict.real, torch.full((16,), target))) - float(log_probability.mean())
    assert float(terms["loss"]) == pytest.approx(total, rel=1e-4)
    # A softmax before the cross-entropy, the classic mistake, bounds it by log(e + 2).
    assert float(terms["class_loss_fake"]) > math.log(math.e + 2)


def test_r1_is_half_the_weighted_squared_gradient() -> None:
    weight = torch.randn(1, 8, 8)
    images = torch.rand(5, 1, 8, 8)
    found, without = (
        loss(r1=r1)
        .train()
        .discriminator_terms(Linear(weight), images, images, None, torch.default_generator)["loss"]
        for r1 in (3.0, 0.0)
    )
    assert (found - without).item() == pytest.approx(1.5 * float(weight.square().sum()), rel=1e-4)


def test_smoothing_noise_and_flips_move_the_targets_in_training_only() -> None:
    logits = torch.zeros(20_000) + 2.0

    def targets(target: float, **settings: float) -> Tensor:
        # cross-entropy = softplus(2) - 2 * target
        return (
            F.softplus(logits) - loss(**settings).train().misjudged(logits, target, torch.default_generator)
        ) / 2

    torch.testing.assert_close(targets(1 - 0.1, label_smoothing=0.1), torch.full_like(logits, 0.9))
    noisy = targets(1.0, label_noise=0.2)
    assert 0.8 <= float(noisy.min()) < 0.81 < 0.99 < float(noisy.max()) <= 1.0 + 1e-5
    assert float(targets(0.0, label_noise=0.2).min()) >= -1e-5
    flipped = targets(0.0, label_flips=0.1)
    assert float(flipped.mean()) == pytest.approx(0.1, abs=0.01)
    assert set(flipped.round(decimals=3).tolist()) == {0.0, 1.0}
    settings = {"label_smoothing": 0.1, "label_noise": 0.2, "label_flips": 0.4}
    plain = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="none")
    assert torch.equal(loss(**settings).eval().misjudged(logits, 0.9, torch.default_generator), plain)


def test_each_turn_gives_gradients_to_its_player_alone_and_the_average_moves_after_both() -> None:
    model = gan()
    turns = loss().train()(model, batch(), torch.default_generator)
    player, terms = next(turns)
    terms["loss"].backward()
    assert player == "discriminator"
    assert all(p.grad is not None for p in model.discriminator.parameters())
    assert all(p.grad is None for p in model.generator.parameters())
    model.zero_grad()
    player, terms = next(turns)
    terms["loss"].backward()
    assert player == "generator"
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())
    assert all(p.requires_grad for p in model.discriminator.parameters())
    assert int(model.averaged) == 0
    assert next(turns, None) is None
    assert int(model.averaged) == 1
    list(loss().eval()(model, batch(), torch.default_generator))
    assert int(model.averaged) == 1


def test_augmentation_is_for_training_and_lets_gradients_through() -> None:
    every = loss(augment=("color", "translation", "cutout"))
    images = torch.rand(6, 3, 16, 16, requires_grad=True)
    assert every.eval().augmented(images, torch.default_generator) is images
    seen = every.train().augmented(images, torch.default_generator)
    assert seen.shape == images.shape
    seen.sum().backward()
    assert images.grad is not None
    assert images.grad.any()


def test_translation_moves_whole_images_by_an_eighth_at_most() -> None:
    torch.manual_seed(0)
    images = torch.zeros(300, 2, 16, 24)
    images[:, :, 8, 12] = torch.tensor([1.0, 2.0])
    moved = augment.translation(images, torch.default_generator)
    assert torch.equal(moved.sum((2, 3)), images.sum((2, 3)))
    places = moved[:, 0].flatten(1).argmax(1)
    rows, columns = places // 24 - 8, places % 24 - 12
    assert {*rows.tolist()} == {*range(-2, 3)}
    assert {*columns.tolist()} == {*range(-3, 4)}
    assert torch.equal(moved[:, 1], 2 * moved[:, 0])


def test_cutout_takes_half_of_each_side_at_most() -> None:
    torch.manual_seed(0)
    gone = augment.cutout(torch.ones(500, 3, 16, 16), torch.default_generator) == 0
    assert torch.equal(gone[:, 0], gone[:, 2])
    assert int(gone[:, 0].flatten(1).sum(1).max()) == 64
    assert gone[:, 0].any(0).all()  # every pixel is taken at times


def test_color_changes_what_it_says_and_no_more() -> None:
    torch.manual_seed(0)
    flat = torch.full((400, 3, 4, 4), 0.25)
    brightness = augment.color(flat, torch.default_generator) - 0.25
    torch.testing.assert_close(brightness, brightness[:, :1, :1, :1].expand_as(brightness))
    assert -0.5 <= float(brightness.min()) < -0.45 < 0.45 < float(brightness.max()) <= 0.5
    gray = torch.rand(10, 1, 8, 8).expand(-1, 3, -1, -1)
    seen = augment.color(gray, torch.default_generator)
    torch.testing.assert_close(seen[:, 0], seen[:, 2])  # saturation has no hue to change
    ratio = seen.std((1, 2, 3)) / gray.std((1, 2, 3))
    assert 0.5 <= float(ratio.min()) < float(ratio.max()) <= 1.5

"""The adversarial networks: sizes, published shapes, initial weights, classes, the moving average."""

import pytest
import torch
from torch import nn

from vaelab import models
from vaelab.models import ACGAN, GAN
from vaelab.models.blocks import ImageShape

SIZES: list[ImageShape] = [(1, 8, 8), (1, 28, 28), (3, 50, 50), (3, 64, 64), (3, 128, 128), (3, 31, 9)]


def dcgan(shape: ImageShape = (1, 16, 16), maps: int = 4, **settings: object) -> GAN:
    torch.manual_seed(0)
    given = {"latent_dim": 6, "noise": "normal", "discriminator_norm": "batch", "ema": 0.9} | settings
    return models.dcgan(shape, generator_maps=maps, discriminator_maps=maps, **given)  # type: ignore[arg-type]


def acgan(shape: ImageShape = (1, 16, 16), classes: int = 3, conditioning: str = "one_hot") -> ACGAN:
    torch.manual_seed(0)
    return models.acgan(
        shape,
        classes,
        latent_dim=6,
        generator_maps=4,
        discriminator_maps=4,
        noise="normal",
        discriminator_norm="batch",
        ema=None,
        conditioning=conditioning,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_images_have_the_size_of_the_data_and_every_weight_learns(shape: ImageShape, norm: str) -> None:
    model = dcgan(shape, discriminator_norm=norm)
    images = model.generate(model.draw(4))
    assert images.shape == (4, *shape)
    assert images.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    verdict = model.discriminate(images)
    assert verdict.real.shape == (4,)
    assert verdict.classes is None
    # Not the sum itself, whose slope a batch norm takes away.
    (verdict.real * torch.randn(4)).sum().backward()
    players = model.players()
    assert all(p.grad is not None and p.grad.any() for player in players.values() for p in player)


def test_players_are_the_two_networks_and_the_average_is_nobodys() -> None:
    model = dcgan()
    players = model.players()
    assert list(players) == ["discriminator", "generator"]
    trained = {id(p) for player in players.values() for p in player}
    assert model.average is not None
    assert trained.isdisjoint(map(id, model.average.parameters()))
    assert trained | {*map(id, model.average.parameters())} == {*map(id, model.parameters())}


def test_the_generator_is_that_of_the_paper() -> None:
    """100 numbers to 4×4×1024, 512, 256, 128 maps and 64×64×3 (Radford et al. 2016, figure 1)."""
    model = dcgan((3, 64, 64), maps=128, latent_dim=100)
    bottom = next(m for m in model.generator.modules() if isinstance(m, nn.Linear))
    assert (bottom.in_features, bottom.out_features) == (100, 4 * 4 * 1024)
    layers = [m for m in model.generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in layers] == [512, 256, 128, 3]
    seen = [m for m in model.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in seen] == [128, 256, 512, 1024]
    norms = [m.num_features for m in model.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [256, 512, 1024]  # none at the input layer (section 3)


def test_initial_weights_have_the_deviation_of_the_paper() -> None:
    model = dcgan((3, 64, 64), maps=16)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=4 / module.weight.numel() ** 0.5)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.03)


def test_spectral_norm_bounds_every_layer() -> None:
    model = dcgan(discriminator_norm="spectral")
    for _ in range(50):  # power iterations
        model.discriminate(torch.rand(2, 1, 16, 16))
    layers = [m for m in model.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    norms = [torch.linalg.matrix_norm(m.weight.flatten(1), ord=2).item() for m in layers]
    assert norms == pytest.approx([1.0] * len(norms), abs=0.02)


@pytest.mark.parametrize(("noise", "low", "high"), [("normal", -9.0, 9.0), ("uniform", 0.0, 1.0)])
def test_noise_is_of_its_kind_and_follows_its_generator(noise: str, low: float, high: float) -> None:
    model = dcgan(noise=noise)
    z, again = (model.draw(2000, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(z, again)
    assert z.shape == (2000, 6)
    assert low <= z.min() <= z.max() <= high
    mean, variance = (0.0, 1.0) if noise == "normal" else (0.5, 1 / 12)
    assert float(z.mean()) == pytest.approx(mean, abs=0.03)
    assert float(z.var()) == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_the_generator_takes_standardised_noise(noise: str) -> None:
    model = dcgan(noise=noise)
    z = model.standardised(model.draw(20_000, torch.Generator().manual_seed(0)))
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.var().item() == pytest.approx(1, rel=0.02)


def test_the_average_follows_its_recurrence_and_makes_the_images_of_evaluation() -> None:
    model = dcgan(ema=0.5)
    weight = model.generator[0].weight  # type: ignore[index, union-attr]
    expected = weight.detach().clone()
    for update in range(1, 15):
        with torch.no_grad():
            weight.add_(torch.randn_like(weight))  # type: ignore[arg-type, operator]
        model.update_average()
        decay = min((1 + update) / (10 + update), 0.5)
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(model.average[0].weight, expected)  # type: ignore[index, union-attr]
    z = model.draw(3)
    assert not torch.allclose(model.train().generate(z), model.eval().generate(z))
    model.generator.load_state_dict(model.average.state_dict())  # type: ignore[union-attr]
    model.ema = None
    model.average = None
    torch.testing.assert_close(dcgan(ema=None).eval().generate(z), dcgan(ema=0.5).eval().generate(z))


@pytest.mark.parametrize("conditioning", ["one_hot", "embedding"])
def test_classes_reach_the_image_and_come_back_as_logits(conditioning: str) -> None:
    model = acgan(conditioning=conditioning).eval()
    z = model.draw(1).expand(3, -1)
    images = model.generate(z, torch.arange(3))
    assert not torch.allclose(images[0], images[1])
    torch.testing.assert_close(images[1:2], model.generate(z[:1], torch.tensor([1])))
    verdict = model.discriminate(images)
    assert verdict.real.shape == (3,)
    assert verdict.classes is not None
    assert verdict.classes.shape == (3, 3)
    assert (verdict.classes < 0).any()  # logits, not probabilities


def test_labels_are_asked_for_and_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"generate\(z, label\) takes labels 0 to 2"):
        acgan().generate(torch.zeros(1, 6))
    with pytest.raises(ValueError, match="takes no label"):
        dcgan().generate(torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"dataset\.attribute"):
        acgan(classes=0)


def test_the_same_seed_gives_the_same_networks() -> None:
    a, b = (dcgan().state_dict() for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)

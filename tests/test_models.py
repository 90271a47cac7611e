"""Every network at every size it promises, against what was published of it."""

import itertools

import pytest
import torch

from vaelab import models
from vaelab.models.blocks import ImageShape

SIZES: list[ImageShape] = [
    (1, 8, 8), (1, 28, 28), (3, 50, 50), (3, 64, 64), (3, 9, 13), (1, 33, 64), (3, 31, 8), (3, 255, 17), (3, 256, 256),
]  # fmt: skip


def build(name: str, image_shape: ImageShape) -> torch.nn.Module:
    torch.manual_seed(0)
    settings = {
        "conv_vae": {"latent_dim": 6, "channels": 8, "hidden": 16},
        "conv_ae": {"latent_dim": 6, "channels": 8},
        "burgess_vae": {"latent_dim": 6, "channels": 8, "hidden": 16},
        "fc_vae": {"latent_dim": 6, "hidden": [12], "activation": "tanh"},
        "fc_ae": {"latent_dim": 6, "hidden": [12], "negative_slope": 0.1},
        "spatial_vae": {"code_channels": 2, "channels": 4},
        "spatial_ae": {"code_channels": 2, "channels": 4},
        "conditional_vae": {"classes": 3, "latent_dim": 6, "channels": 8, "hidden": 16},
        "ladder_vae": {"layers": [6, 4, 2], "channels": 8, "hidden": 16},
        **{
            f"vq_vae {layout} {quantiser}": {"layout": layout, "quantiser": quantiser} | VQ
            for layout, quantiser in itertools.product(("spatial", "vector"), ("vq", "fsq"))
        },
    }
    return getattr(models, name.split()[0])(image_shape, **settings[name])


VQ = {"latent_dim": 6, "codes": 8, "code_dim": 4, "levels": [3, 2], "channels": 8, "blocks": 1, "hidden": 16}
NAMES = [
    "conv_vae",
    "conv_ae",
    "burgess_vae",
    "fc_vae",
    "fc_ae",
    "spatial_vae",
    "spatial_ae",
    "conditional_vae",
    "ladder_vae",
]


@pytest.mark.parametrize(
    "name", [*NAMES, "vq_vae spatial vq", "vq_vae spatial fsq", "vq_vae vector vq", "vq_vae vector fsq"]
)
@pytest.mark.parametrize("image_shape", SIZES, ids=str)
def test_images_come_back_in_shape_and_range_and_every_weight_learns(
    name: str, image_shape: ImageShape
) -> None:
    model = build(name, image_shape)
    for weights in model.parameters():  # what begins at zero lets nothing through to what is before it
        if not weights.any():
            torch.nn.init.normal_(weights, std=0.1)
    images, labels = torch.rand(3, *image_shape), torch.arange(3)  # of each class one, for each has weights
    code = model.encode(images, labels)
    z = code.sample(torch.default_generator)
    decoded = model.decode(z, labels)
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.float32
    assert (decoded >= 0).all()
    assert (decoded <= 1).all()
    assert code.mean.shape[1:] == model.code_shape
    learnt = [decoded, code.mean, *([] if code.variance is None else [code.variance])]
    sum(values.square().sum() for values in learnt).backward()
    if model.prior:
        drawn = model.draw(5, torch.Generator().manual_seed(0))
        assert drawn.shape == (5, *model.code_shape)
        assert torch.equal(drawn, model.draw(5, torch.Generator().manual_seed(0)))
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("latent_dim", [2, 512])
def test_conv_vae_takes_the_promised_latent_sizes(latent_dim: int) -> None:
    model = models.conv_vae((1, 28, 28), latent_dim=latent_dim, channels=8, hidden=16)
    assert model.encode(torch.rand(3, 1, 28, 28)).mean.shape == (3, latent_dim)


def test_conv_vae_sees_brightness_and_contrast() -> None:
    model = build("conv_vae", (3, 16, 16))
    image = torch.rand(1, 3, 16, 16)
    codes = [model.encode(x).mean.detach() for x in (image, 0.5 * image, 0.5 * image + 0.4)]
    assert min(float((a - b).norm() / a.norm()) for a, b in itertools.combinations(codes, 2)) > 0.05


@pytest.mark.parametrize("latent_dim", [1, 512])
def test_conv_vae_takes_codes_from_one_dimension_on(latent_dim: int) -> None:
    model = models.conv_vae((1, 28, 28), latent_dim=latent_dim, channels=8, hidden=16)
    code = model.encode(torch.rand(2, 1, 28, 28)).sample(torch.default_generator)
    assert code.shape == (2, latent_dim)
    assert model.decode(code).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("size", [(7, 28), (28, 257)])
def test_convolutions_refuse_other_image_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"dataset\.size"):
        build("conv_vae", (1, *size))


def test_fc_ae_is_the_published_network() -> None:
    widths = [12288, 1024, 512, 256, 128, 64]
    model = models.fc_ae((3, 64, 64), latent_dim=64, hidden=widths[1:-1], negative_slope=0.1)
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.in_features for m in linear] == [*widths[:-1], *widths[:0:-1]]
    assert linear[-1].out_features == 12288
    assert {m.negative_slope for m in model.modules() if isinstance(m, torch.nn.LeakyReLU)} == {0.1}
    z = torch.randn(2, 64)
    torch.testing.assert_close(model.decode(z), (torch.tanh(model.decoder(z)) + 1) / 2)


def test_fc_vae_is_784_400_20() -> None:
    model = models.fc_vae((1, 28, 28), latent_dim=20, hidden=[400], activation="relu")
    shapes = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, torch.nn.Linear)]
    # Mean and log variance come from one layer of 2 * 20, which is the same as two layers of 20.
    assert shapes == [(400, 784), (40, 400), (400, 20), (784, 400)]


def test_burgess_vae_is_the_published_network() -> None:
    model = models.burgess_vae((1, 32, 32), latent_dim=10, channels=32, hidden=256)
    # Three convolutions, 512-256-256-20 and back (disentangling-vae, 32×32).
    encoder = (16 + 1) * 32 + 2 * (32 * 16 + 1) * 32 + 513 * 256 + 257 * 256 + 257 * 20
    decoder = 11 * 256 + 257 * 256 + 257 * 512 + 2 * (32 * 16 + 1) * 32 + 32 * 16 + 1
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder


def test_spatial_code_is_64_48_48_for_images_of_50() -> None:
    model = models.spatial_vae((3, 50, 50), code_channels=64, channels=8)
    posterior = model.encode(torch.rand(2, 3, 50, 50))
    assert posterior.mean.shape == posterior.log_variance.shape == (2, 64, 48, 48)


def test_posterior_samples_have_its_mean_and_variance() -> None:
    torch.manual_seed(0)
    posterior = models.Gaussian(torch.full((50_000, 2), 3.0), torch.tensor([0.0, -2.0]).expand(50_000, 2))
    z = posterior.sample(torch.default_generator)
    torch.testing.assert_close(z.mean(0), torch.tensor([3.0, 3.0]), rtol=0, atol=0.02)
    torch.testing.assert_close(z.var(0).log(), torch.tensor([0.0, -2.0]), rtol=0, atol=0.03)


def test_log_variance_is_bounded_so_that_its_exponential_is_finite() -> None:
    model = build("fc_vae", (1, 8, 8))
    posterior = model.encode(torch.full((1, 1, 8, 8), 1e9))
    assert posterior.log_variance.exp().isfinite().all()

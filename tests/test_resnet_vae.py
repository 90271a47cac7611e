"""The residual VAE at every size it promises: what learns, what it sees, what it begins as."""

import itertools

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from vaelab import models
from vaelab.models import VAE
from vaelab.models.blocks import ImageShape
from vaelab.models.resnet import Residual

SIZES: list[ImageShape] = [
    (1, 8, 8), (1, 28, 28), (3, 50, 50), (3, 64, 64), (3, 81, 100), (2, 9, 13), (4, 31, 8), (3, 256, 256),
]  # fmt: skip


def build(image_shape: ImageShape, channels: int = 8, blocks: int = 1) -> VAE:
    torch.manual_seed(0)
    return models.resnet_vae(image_shape, latent_dim=6, channels=channels, blocks=blocks, hidden=16)


def loss(model: VAE, images: torch.Tensor) -> torch.Tensor:
    code = model.encode(images)
    decoded = model.decode(code.sample(torch.Generator().manual_seed(0)))
    return (decoded - images).square().sum() + code.kl().sum()


@pytest.mark.parametrize("image_shape", SIZES, ids=str)
def test_images_come_back_in_shape_and_range(image_shape: ImageShape) -> None:
    model, images = build(image_shape), torch.rand(2, *image_shape)
    code = model.encode(images)
    assert code.mean.shape == code.variance.shape == (2, 6)
    decoded = model.decode(code.mean)
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.float32
    assert (decoded >= 0).all()
    assert (decoded <= 1).all()


@pytest.mark.parametrize("image_shape", SIZES[:-1], ids=str)
def test_every_weight_learns_from_the_second_step_on(image_shape: ImageShape) -> None:
    """In the first one what stands before a convolution of zeros has no gradient."""
    model, images = build(image_shape, blocks=2), torch.rand(2, *image_shape)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        loss(model, images).backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("size", [(7, 28), (28, 257)])
def test_other_image_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"dataset\.size"):
        build((1, *size))


def test_blocks_begin_as_the_identity() -> None:
    x = torch.randn(2, 12, 5, 7)
    assert torch.equal(Residual(12)(x), x)


@torch.no_grad()
def test_weights_begin_such_that_the_variance_stays() -> None:
    """Default weights would leave a third of it at each of the six resolutions."""
    model = build((3, 256, 256), channels=32)
    down = model.encoder[:-3](torch.randn(2, 3, 256, 256))  # type: ignore[index]
    assert 0.5 < float(down.std()) < 2
    up = model.decoder[2:-2](torch.randn_like(down))  # type: ignore[index]
    assert 0.5 < float(up.std()) < 2


def test_it_sees_brightness_and_contrast() -> None:
    model, image = build((3, 16, 16)), torch.rand(1, 3, 16, 16)
    codes = [model.encode(x).mean.detach() for x in (image, 0.5 * image, 0.5 * image + 0.4)]
    assert min(float((a - b).norm() / a.norm()) for a, b in itertools.combinations(codes, 2)) > 0.05


@pytest.mark.parametrize(
    ("channels", "widths"), [(4, [4, 8, 16]), (96, [96, 192, 256]), (300, [300, 300, 300])]
)
def test_channels_double_up_to_256(channels: int, widths: list[int]) -> None:
    with torch.device("meta"):
        model = models.resnet_vae((3, 64, 64), latent_dim=6, channels=channels, blocks=1, hidden=16)
    found = [
        m.out_channels for m in model.encoder.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)
    ]
    assert found[:3] == widths


def test_each_block_adds_the_same_at_every_resolution() -> None:
    parameters = [sum(p.numel() for p in build((3, 64, 64), blocks=n).parameters()) for n in (1, 2, 3)]
    assert parameters[1] - parameters[0] == parameters[2] - parameters[1]
    counts = [sum(isinstance(m, Residual) for m in build((3, 64, 64), blocks=n).modules()) for n in (1, 3)]
    assert counts == [8, 24]  # of four resolutions, on the way down and up


def test_convolutions_before_a_norm_have_no_bias() -> None:
    for block in (m for m in build((1, 16, 16)).modules() if isinstance(m, Residual)):
        first, last = (m for m in block.modules() if isinstance(m, nn.Conv2d))
        assert first.bias is None
        assert last.bias is not None


def test_the_same_seed_gives_the_same_network_and_weights_come_back_from_a_file() -> None:
    image = torch.rand(2, 3, 20, 20)
    one, other = build((3, 20, 20)), build((3, 20, 20))
    for model in (one, other):
        loss(model, image).backward()
        torch.optim.SGD(model.parameters(), 1e-2).step()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    torch.manual_seed(1)
    read = models.resnet_vae((3, 20, 20), latent_dim=6, channels=8, blocks=1, hidden=16)
    read.load_state_dict(load(save(one.state_dict())))
    assert torch.equal(read.decode(read.encode(image).mean), one.decode(one.encode(image).mean))

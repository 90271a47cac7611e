"""The loop: it learns, repeats itself, clips, averages rightly, and names the step at which a loss is lost."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from vaelab import build, config, hardware, losses
from vaelab.data import ImageSet, Loader
from vaelab.evaluations import measure
from vaelab.losses.densities import bernoulli_nll
from vaelab.losses.likelihoods import Bernoulli
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Drawer, Workers
from vaelab.runs.folder import Run
from vaelab.runs.job import Job
from vaelab.training.capture import Lane, Plain
from vaelab.training.loop import NotFinite
from vaelab.training.validation import Validation

CPU = torch.device("cpu")


@pytest.fixture
def images() -> ImageSet:
    """64 training and 20 validation images: smooth blobs, each of its own place and brightness."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:8, :8]
    centres, brightness = rng.uniform(1, 7, (84, 2, 1, 1)), rng.uniform(60, 255, (84, 1, 1))
    blobs = brightness * np.exp(-((y - centres[:, 0]) ** 2 + (x - centres[:, 1]) ** 2) / 4)
    split = np.r_[np.zeros(64), np.ones(20)].astype(np.int8)
    return ImageSet("blobs", blobs.astype(np.uint8)[..., None], None, (), ("",) * 84, split, "0" * 16, "test")


def trained(
    folder: Path,
    images: ImageSet,
    epochs: int,
    lane: Callable[[torch.Generator], Lane] | None = None,
    max_epochs: int | None = None,
    **settings: Any,
) -> Run:
    """A run that is trained to this epoch, in a lane of its own if one is given, or ended after `max_epochs` more."""
    overrides = [f"{key}={value}" for key, value in settings.items()]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose(
            "train", ["trainer.device=cpu", "trainer.precision=fp32", f"epochs={epochs}", *overrides]
        )
    chosen = hardware.choose(cfg.trainer)
    network = build.model(cfg, images.image_shape, len(images.classes))
    loaders = build.loaders(cfg, images, CPU)
    criterion = build.loss(cfg, network, images.sizes()["train"], images.image_shape)
    job = Job(cfg, chosen, images, loaders, network, criterion, {})
    run = Run(folder)
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        if lane is not None:
            patch.setattr(jobs, "lane_of", lambda chosen, noise: lane(noise))
        steps = jobs.train(job, run, Drawer(Workers(0)))
        per_epoch = len(loaders[0])
        # An epoch is written down when the step after it is asked for.
        for _ in steps if max_epochs is None else islice(steps, max_epochs * per_epoch + 1):
            pass
    return run


def test_an_autoencoder_overfits_one_batch(images: ImageSet, tmp_path: Path) -> None:
    settings = {"model": "conv_ae", "batch_size": 64, "lr": 2e-3, "likelihood": "gaussian_learned"}
    run = trained(tmp_path, images, 400, **settings)
    first, last = run.history[0], run.history[-2]
    assert first["split"] == last["split"] == "train"
    # The optimal sigma turns nats into the error that is left: under 3 of 255 gray levels.
    nats_per_pixel = last["reconstruction"] / 64
    sigma = np.exp(nats_per_pixel - 0.5 * np.log(2 * np.pi) - 0.5)
    assert sigma < 3 / 255
    assert last["loss"] < first["loss"]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(images: ImageSet, tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / str(i), images, 2, batch_size=16, seed=seed) for i, seed in enumerate((0, 0, 1))
    ]
    weights = [(run.folder / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]


def test_gradients_are_clipped(images: ImageSet, tmp_path: Path) -> None:
    """Plain gradient descent with lr = 1 moves the weights by at most the clipped norm at each step."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["trainer.device=cpu"])
    before = build.model(cfg, images.image_shape).state_dict()
    descent = {
        "optimizer._target_": "torch.optim.SGD",
        "~optimizer.betas": "[0.9,0.999]",
        "optimizer.fused": "false",
        "trainer.gradient_clip": 1e-3,
    }
    after = trained(tmp_path, images, 1, batch_size=64, lr=1.0, **descent).load_weights()
    moved = sum(float((after[k] - before[k]).square().sum()) for k in before) ** 0.5
    assert 0.9e-3 < moved <= 1.001e-3


def test_validation_averages_over_images_not_over_batches(images: ImageSet) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["model=conv_ae", "trainer.device=cpu"])
    network = build.model(cfg, images.image_shape, len(images.classes))
    noise, loss = torch.Generator(), losses.Reconstruction(Bernoulli(), "sum")
    for resident in (True, False):  # whole batches that can be captured and the rest, or as they come
        uneven = Loader(
            images, "val", batch_size=16, device=CPU, shuffle=False, drop_last=False, resident=resident
        )
        found = Validation(network, loss, uneven, measure, noise, Plain("on a CPU"))()
        pixels = torch.from_numpy(images.images[images.indices("val")]).permute(0, 3, 1, 2) / 255
        decoded = network.decode(network.encode(pixels).mean).detach()
        mse = (pixels - decoded).square().mean(dim=(1, 2, 3))
        assert found["mse"] == pytest.approx(float(mse.mean()), rel=1e-5)
    assert found["psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), rel=1e-5)
    assert found["loss"] == pytest.approx(float(bernoulli_nll(pixels, decoded).mean()), rel=1e-5)


def test_weights_lost_at_an_epochs_last_step_are_not_kept(images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match=r"after step 1 \(epoch 1\)"):
        trained(tmp_path, images, 1, batch_size=64, lr=1e38)
    assert Run(tmp_path).load_checkpoint() is None


def test_the_schedule_reaches_the_history(images: ImageSet, tmp_path: Path) -> None:
    schedule = {"regulariser.schedule": "linear", "regulariser.schedule_epochs": 4, "kl_weight": 2.0}
    run = trained(tmp_path, images, 5, batch_size=32, **schedule)
    weights = [row["kl_weight"] for row in run.history if row["split"] == "train"]
    # Two steps an epoch, the mean of the weights at their starts.
    assert weights == pytest.approx([2 * (e + 0.25) / 4 for e in range(4)] + [2.0])


def test_a_lost_loss_names_its_step_and_keeps_the_last_good_checkpoint(
    images: ImageSet, tmp_path: Path
) -> None:
    trained(tmp_path, images, 1, batch_size=16)
    good = (tmp_path / "checkpoints" / "last.safetensors").read_bytes()
    with pytest.raises(NotFinite, match=r"step 6 \(epoch 2\)"):
        # The first step of the second epoch throws the weights away, the next one sees it.
        trained(tmp_path, images, 2, batch_size=16, **{"optimizer.weight_decay": 1e38, "optimizer": "adamw"})
    assert (tmp_path / "checkpoints" / "last.safetensors").read_bytes() == good


GAN = {"model": "dcgan", "model.generator_maps": 2, "model.discriminator_maps": 2, "batch_size": 16}


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_a_gan_that_was_stopped_goes_on_bit_for_bit(images: ImageSet, tmp_path: Path, norm: str) -> None:
    settings = GAN | {"model.discriminator_norm": norm, "loss.r1": 0.5, "loss.augment": "[color,cutout]"}
    whole = trained(tmp_path / "whole", images, 3, **settings)
    trained(tmp_path / "parts", images, 1, **settings)
    parts = trained(tmp_path / "parts", images, 3, **settings)
    assert (whole.folder / "model.safetensors").read_bytes() == (
        parts.folder / "model.safetensors"
    ).read_bytes()
    names = {name.split(".")[0] for name in whole.load_weights()}
    assert names == {"generator", "discriminator", "average", "averaged"}
    numbers = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (whole, parts)
    ]
    assert numbers[0] == numbers[1]


def test_both_players_are_clipped_and_named(images: ImageSet, tmp_path: Path) -> None:
    run = trained(tmp_path, images, 1, **GAN | {"trainer.gradient_clip": 1e-3})
    row = run.history[0]
    assert {"loss_discriminator", "loss_generator", "accuracy_real", "accuracy_fake"} <= set(row)
    assert not {"loss", "mse", "psnr"} & set(row)


def test_steps_inside_an_epoch_are_kept_and_change_nothing(images: ImageSet, tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", images, 2, batch_size=16)
    kept = trained(tmp_path / "kept", images, 2, batch_size=16, log_every=3)
    weights = [(run.folder / "model.safetensors").read_bytes() for run in (plain, kept)]
    assert weights[0] == weights[1]
    inside = [row for row in kept.history if row["split"] == "steps"]
    assert [row["step"] for row in inside] == [3, 6]  # of four steps an epoch; the second window begins anew
    every = trained(tmp_path / "every", images, 1, batch_size=16, log_every=1)
    single = [row["loss"] for row in every.history if row["split"] == "steps"]
    assert inside[0]["loss"] == pytest.approx(np.mean(single[:3]), rel=1e-6)
    means = [row["loss"] for row in every.history if row["split"] == "train"]
    assert means == pytest.approx([np.mean(single)], rel=1e-6)


def test_a_lost_game_stops(images: ImageSet, tmp_path: Path) -> None:
    with pytest.raises(NotFinite, match="the loss is not finite"):
        trained(tmp_path, images, 2, **GAN, lr=1e38)


def test_a_network_that_begins_from_the_data_sees_all_training_images_once(
    images: ImageSet, tmp_path: Path
) -> None:
    """At the closed-form optimum for them there is nothing left to learn."""
    settings = {
        "model": "linear_vae",
        "latent_dim": 3,
        "batch_size": 16,
        "likelihood.sigma": 0.1,
        "lr": 1e-12,
    }
    run = trained(tmp_path, images, 1, **settings, **{"model.init": "pca"})
    pixels = torch.from_numpy(images.images[images.indices("train")]).flatten(1).double() / 255
    variances, axes = torch.linalg.eigh(torch.cov(pixels.T, correction=0))
    amplitudes = (variances[-3:] - 0.1**2).clamp(min=0).sqrt()
    found = run.load_weights()["decoder.0.weight"].double()
    torch.testing.assert_close(
        found @ found.T, axes[:, -3:] @ torch.diag(amplitudes**2) @ axes[:, -3:].T, atol=1e-5, rtol=1e-3
    )
    torch.testing.assert_close(
        run.load_weights()["decoder.0.bias"].double(), pixels.mean(0), atol=1e-6, rtol=0
    )

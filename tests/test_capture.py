"""A step that is captured and replayed equals one that is called, for every kind of model, loss and setting."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tape import TapeLane
from tests.test_train import images as images  # the fixture
from tests.test_train import trained
from vaelab.data import ImageSet
from vaelab.training.capture import WARM_UP, Plain, Repeated

SMALL = {"model.channels": 4, "model.hidden": 8}
SMALL_GAN = {"model.generator_maps": 2, "model.discriminator_maps": 2}
CASES: dict[str, dict[str, Any]] = {
    "conv_vae": {},
    "fc_vae": {"model": "fc_vae", "model.hidden": "[16]"},
    "spatial_vae": {"model": "spatial_vae", "model.channels": 4},
    "conv_ae": {"model": "conv_ae", "likelihood": "gaussian"},
    "learned sigma": {"likelihood": "gaussian_learned"},
    "linear": {"regulariser.schedule": "linear", "regulariser.schedule_epochs": 2},
    "cyclical": {"regulariser.schedule": "cyclical", "regulariser.schedule_epochs": 2},
    "continuous_bernoulli": {"likelihood": "continuous_bernoulli"},
    "laplace": {"likelihood": "laplace"},
    "discretized_logistic": {"likelihood": "discretized_logistic"},
    "tc": {"regulariser": "tc"},
    "dip_i": {"regulariser": "dip_i"},
    "dip_ii": {"regulariser": "dip_ii"},
    "mmd": {"regulariser": "mmd"},
    "iwae": {"loss": "iwae"},
    "dreg": {"loss": "iwae", "loss.estimator": "dreg", "likelihood": "gaussian_learned"},
    "dreg of layers": {"model": "ladder_vae", **SMALL, "loss": "iwae", "loss.estimator": "dreg"},
    "free bits": {"regulariser.free_bits": 0.1},
    "capacity": {"regulariser.capacity": 5, "regulariser.capacity_epochs": 2},
    "target": {"regulariser.target": 5},
    "all weights": {"kl_weight": "conditioned", **SMALL},
    "clipped": {"trainer.gradient_clip": 0.5},
    "skipped": {"trainer.skip_gradient_above": 300},
    "average": {"trainer.ema": 0.9},
    "cosine": {"lr_schedule": "cosine", "lr_warmup_epochs": 0.5},
    "sgd": {"optimizer._target_": "torch.optim.SGD", "~optimizer.betas": "[0.9,0.999]", "lr": 1e-5},
    "log_every": {"log_every": 3},
    "conditional": {"model": "conditional_vae", **SMALL},
    "layers": {"model": "ladder_vae", **SMALL, "regulariser.free_bits": 0.5},
    "codebook": {"model": "vq_vae", **SMALL, "model.codes": 8, "model.code_dim": 3},
    "grid": {"model": "vq_vae", **SMALL, "model.quantiser": "fsq", "model.layout": "vector", "latent_dim": 3},
    "dcgan": {"model": "dcgan", **SMALL_GAN, "loss.augment": "[color,translation,cutout]"},
    "acgan": {
        "model": "acgan",
        **SMALL_GAN,
        "loss.r1": 0.5,
        "loss.label_noise": 0.1,
        "loss.label_flips": 0.1,
        "model.discriminator_norm": "spectral",
    },
}


@pytest.mark.parametrize("case", CASES)
def test_replayed_steps_equal_called_ones(case: str, images: ImageSet, tmp_path: Path) -> None:
    settings = {"batch_size": 8, **CASES[case]}
    if settings.get("model") in ("acgan", "conditional_vae"):
        object.__setattr__(images, "labels", (images.images.sum((1, 2, 3)) % 3).astype("int64"))
        object.__setattr__(images, "classes", ("a", "b", "c"))
        object.__setattr__(images, "fingerprint", "with labels")
    lane = TapeLane()
    called = trained(tmp_path / "called", images, 3, **settings)
    replayed = trained(tmp_path / "replayed", images, 3, lane=lambda noise: lane, **settings)
    assert replayed.info["training"]["captured"] is True
    assert lane.captures == 1  # of the training; validation on a CPU streams
    assert lane.replays == 3 * 8 - WARM_UP - 1
    assert (replayed.folder / "model.safetensors").read_bytes() == (
        called.folder / "model.safetensors"
    ).read_bytes()
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]
        for run in (called, replayed)
    ]
    assert rows[0] == rows[1]


def test_work_that_reads_a_number_back_is_called_and_the_reason_kept() -> None:
    total = torch.zeros(())

    def work() -> None:
        total.add_(1)
        float(total)

    repeated = Repeated(work, TapeLane())
    for _ in range(6):
        repeated()
    assert float(total) == 6
    assert not repeated.is_captured
    assert "operation not permitted when stream is capturing" in str(repeated.because)


def test_a_capture_that_fails_is_called_instead() -> None:
    class Failing(Plain):
        def tried(self, work: Any) -> None:
            work()

    total = torch.zeros(())
    repeated = Repeated(lambda: total.add_(1) and None, Failing("never"))
    for _ in range(6):
        repeated()
    assert float(total) == 6
    assert repeated.because == "its capture failed: never"


def test_what_python_decides_is_frozen_and_what_tensors_hold_is_not() -> None:
    given, seen, step = torch.zeros(()), torch.zeros(8), torch.zeros(1, dtype=torch.int64)
    number = 0

    def work() -> None:
        seen.index_copy_(0, step, (given + number).reshape(1))
        step.add_(1)

    repeated = Repeated(work, TapeLane())
    for number in range(6):
        given.fill_(10 * number)
        repeated()
    assert seen.tolist() == [0, 11, 22, 33, 43, 53, 0, 0]
    assert repeated.is_captured
    repeated.forget()
    number = 6
    repeated()
    assert seen.tolist()[6] == 56

"""Run folders with known numbers, as vae-train leaves them, written by hand."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

Make = Callable[..., Path]
SIDE = 8


def config(kl_weight: float | None, **changes: Any) -> dict[str, Any]:
    loss: dict[str, Any] = {
        "_target_": "vaelab.losses.ELBO",
        "kl_weight": kl_weight,
        "likelihood": "bernoulli",
    }
    if kl_weight is None:
        loss = {"_target_": "vaelab.losses.Reconstruction", "likelihood": "bernoulli"}
    model = "conv_ae" if kl_weight is None else "conv_vae"
    values = {
        "kl_weight": kl_weight or 1,
        "latent_dim": 4,
        "epochs": 2,
        "seed": 0,
        "model": {"_target_": f"vaelab.models.{model}", "latent_dim": 4},
        "loss": loss | {"sigma": 1.0, "reduction": "sum"},
        "evaluation": {},
        "reported": [],
    }
    for key, value in changes.items():
        *groups, last = key.split("__")
        node = values
        for group in groups:
            node = node[group]
        node[last] = value
    return values


def history(epochs: int, elbo: float) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "split": split,
            "loss": -elbo / epoch,
            "elbo": elbo / epoch,
            "reconstruction": -0.8 * elbo / epoch,
            "kl": -0.2 * elbo / epoch,
            "psnr": "" if split == "train" else 10.0 * epoch,
            "seconds": 3.0 if split == "train" else 1.0,
        }
        for epoch in range(1, epochs + 1)
        for split in ("train", "val")
    ]


def arrays(seed: int, mean: float, kl: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The files of arrays/: gray images of one value each, so that a picture tells where it comes from."""
    rng = np.random.default_rng(seed)

    def images(*axes: int) -> np.ndarray:
        return np.full((*axes, SIDE, SIDE, 1), mean, np.float32)

    index = np.arange(30, 46)
    original = np.linspace(0, 1, 16, dtype=np.float32)[:, None, None, None] * np.ones(
        (1, SIDE, SIDE, 1), np.float32
    )
    codes = rng.normal(size=(16, 2)).astype(np.float32)
    return {
        "reconstructions": {"original": original, "reconstruction": images(16), "index": index},
        "prior_samples": {"image": images(16), "z": np.random.default_rng(0).normal(size=(16, 4))},
        "interpolations": {
            "image": images(8, 9),
            "index": np.arange(16).reshape(8, 2),
            "z": images(8, 9)[..., 0, 0],
        },
        "kl_per_dimension": {"kl": kl, "active": kl > 0.1, "aggregate_variance": np.full(4, 4.0)},
        "latent_space": {"embedding": codes, "index": index, "label": np.arange(16) % 2},
        "latent_space_tsne": {"embedding": 2 * codes, "index": index, "label": np.arange(16) % 2},
        "atlas": {
            "slice": images(5, 5),
            "slice_dimension": np.array([1, 3]),
            "slice_value": np.linspace((-3, -3), (3, 3), 5).T,
            "slice_kl": kl[:2],
            "strip": images(2, 3),
            "strip_dimension": np.array([1, 3]),
            "strip_value": np.zeros((2, 3)),
            "strip_kl": kl[:2],
            "index": index,
            "original": original,
            "reconstruction": images(16),
        },
    }


@pytest.fixture
def run(tmp_path: Path) -> Make:
    """Makes the folder of a run: run("kl_weight=5", 5.0, elbo=-150.0, status="done", ...)."""

    def make(
        name: str,
        kl_weight: float | None,
        *,
        status: str = "done",
        metrics: dict[str, float] | None = None,
        info: dict[str, Any] | None = None,
        dataset: dict[str, Any] | None = None,
        stored: dict[str, dict[str, np.ndarray]] | None = None,
        rows: list[dict[str, Any]] | None = None,
        **changes: Any,
    ) -> Path:
        folder = tmp_path / "outputs" / name
        (folder / "evaluation").mkdir(parents=True)
        (folder / "arrays").mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(config(kl_weight, **changes)))
        data = {"name": "digits", "fingerprint": "abc", "sizes": {"train": 80, "val": 10, "test": 1234}}
        data |= {"shape": [1, SIDE, SIDE], "classes": ["zero", "one"]} | (dataset or {})
        facts = {"status": status, "dataset": data, "beta_eff": kl_weight, "versions": {"vaelab": "0.1.0"}}
        (folder / "run.json").write_text(json.dumps(facts | {"seconds": 12.5} | (info or {})))
        rows = rows or history(2, (metrics or {}).get("elbo", -100.0))
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)
        if status == "done":
            (folder / "evaluation" / "metrics.json").write_text(
                json.dumps({"psnr": 20.0, "ssim": 0.5} if metrics is None else metrics)
            )
            kl = np.array([2.0, 1.0, 0.01, 0.0], np.float32)
            for file_name, content in (stored or arrays(0, 0.25, kl)).items():
                path = folder / "arrays" / f"{file_name}.npz"
                path.parent.mkdir(exist_ok=True)
                np.savez(path, **content)
        return folder

    return make


def measured(
    elbo: float, kl: float, psnr: float, ssim: float, active: float | None = None
) -> dict[str, float]:
    found = {"elbo": elbo, "kl": kl, "reconstruction": -elbo - kl, "psnr": psnr, "ssim": ssim, "loss": -elbo}
    return found if active is None else found | {"active_units": active}


def game(epochs: int, classes: bool, inside: int = 0) -> list[dict[str, Any]]:
    """Rows of a GAN: its losses move from 2 to 1 and from 1 to 2, `inside` rows of split steps in each epoch."""
    rows: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        steps = [(10 * (epoch - 1) + 10 * (i + 1) // inside, "steps") for i in range(inside)]
        for step, split in [*steps, (10 * epoch, "train"), (10 * epoch, "val")]:
            share = step / (10 * epochs)
            row = {"epoch": epoch, "step": step, "split": split, "loss_discriminator": 2 - share}
            row |= {"loss_generator": 1 + share, "accuracy_real": 0.75, "accuracy_fake": 0.5}
            if classes:
                row |= {"class_loss_real": 0.5, "class_loss_fake": 0.25}
                row |= {"class_accuracy_real": 0.8, "class_accuracy_fake": 0.9}
            rows.append(row | ({} if split == "steps" else {"seconds": 4.0 if split == "train" else 1.0}))
    return rows


def drawn(classes: bool, mean: float = 0.75) -> dict[str, dict[str, np.ndarray]]:
    """The array files of a GAN: gray images of one value each."""

    def images(*axes: int) -> np.ndarray:
        return np.full((*axes, SIDE, SIDE, 1), mean, np.float32)

    z = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    label = {"label": np.arange(20) % 2} if classes else {}
    found = {
        "samples": {"image": images(20), "z": z} | label,
        "samples/epoch_0001": {"image": 0 * images(20), "z": z} | label,
        "samples/epoch_0002": {"image": images(20), "z": z} | label,
        "z_interpolations": {"image": images(2, 5), "z": np.zeros((2, 5, 3))}
        | ({"label": np.arange(2)} if classes else {}),
        "nearest_neighbours": {
            "image": images(8),
            "neighbour": np.linspace(0, 1, 4, dtype=np.float32)[:, None, None, None] + 0 * images(8, 4),
            "distance": np.linspace(0.1, 0.4, 4) + np.zeros((20, 1)),
            "index": np.arange(80).reshape(20, 4),
        },
    }
    if classes:
        found["class_pairs"] = {"image": images(2, 3), "z": np.zeros((3, 3)), "label": np.arange(2)}
    return found


def of_samples(diversity: float, sharpness: float, nearest: float) -> dict[str, float]:
    """Metrics of samples beside those of the data, which are the same for all runs."""
    data = {"diversity_ms_ssim_data": 0.29, "sharpness_data": 0.014, "nearest_distance_data": 0.02}
    own = {"diversity_ms_ssim": diversity, "sharpness": sharpness, "nearest_distance": nearest}
    return own | data


@pytest.fixture
def gan(run: Make) -> Make:
    """Makes the folder of a GAN: gan("dcgan/default", metrics=..., inside=2), gan("acgan/default", "acgan")."""

    def make(name: str, model: str = "dcgan", *, epochs: int = 2, inside: int = 0, **changes: Any) -> Path:
        classes = model == "acgan"
        changes = {"stored": drawn(classes), "metrics": of_samples(0.31, 0.012, 0.021)} | changes
        return run(
            name,
            None,
            loss={"_target_": "vaelab.losses.Adversarial", "label_smoothing": 0.0, "augment": []},
            model={"_target_": f"vaelab.models.{model}", "latent_dim": 3},
            latent_dim=3,
            epochs=epochs,
            rows=game(epochs, classes, inside),
            **changes,
        )

    return make


@pytest.fixture
def sweep(run: Make, tmp_path: Path) -> Path:
    """The folder that holds three runs along λ and an autoencoder."""
    run("vae/zero", 0.0, metrics=measured(-400.0, 300.0, 25.0, 0.95, 4))
    run("vae/one", 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3))
    run("vae/hundred", 100.0, metrics=measured(-330.0, 0.001, 9.0, 0.1, 0))
    run("ae/default", None, metrics={"psnr": 26.5, "ssim": 0.97, "reconstruction": 85.0, "loss": 85.0})
    return tmp_path / "outputs"

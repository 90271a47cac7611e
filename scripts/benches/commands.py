"""Benches of whole commands and of what they do beside training."""

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benches.images import COUNTS, DIGITS, EYES, anime_jpegs, composed, networks, on
from benches.measuring import at_least, at_most, python, quiet, rate, rates, side_by_side, timed
from vaelab import build, hardware, metrics
from vaelab.runs.folder import Run

TRAIN = "from vaelab.cli import train; train()"
REPORT = "from vaelab.cli import report; report()"
SWEEP = "import sys; from vaelab.cli import sweep; sys.argv[0] = 'vae-sweep'; sweep()"
NOTHING_DRAWN = ["evaluation=[]", "snapshot_epochs=[]"]

ADAM_STEP = """
import torch
layer = torch.nn.Linear(2, 2, device="cuda" if torch.cuda.is_available() else "cpu")
optimizer = torch.optim.Adam(layer.parameters())
layer(layer.weight).sum().backward()
optimizer.step()
"""

# The command itself, ended by torch's own hook after the first step of any optimizer.
TRAIN_STEP = """
import os
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

def end(*_):
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    os._exit(0)

register_optimizer_step_post_hook(end)
from vaelab.cli import train
try:
    train()
finally:
    os._exit(3)  # no step was made
"""


def start(
    samples: Path, folder: Path, count: int = 1900, batch_size: int = 128, rounds: int = 3
) -> Iterator[str]:
    """From the start of the process to the end of the first training step, on prepared images."""
    overrides = [*on("anime", anime_jpegs(samples, folder, count), folder), f"batch_size={batch_size}"]
    prepared(*overrides)
    sides = {
        "import torch": lambda: python("import torch"),
        "import torch and one step of Adam": lambda: python(ADAM_STEP),
        "vae-train": lambda: python(TRAIN_STEP, *overrides, f"output_dir={tempfile.mkdtemp(dir=folder)}"),
    }
    seconds = side_by_side(sides, rounds)
    torch_alone, adam, ours = seconds.values()
    yield ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    yield f"more than import torch: {at_most(ours - torch_alone, 2, 's')}"
    yield f"more than import torch and one step of Adam: {ours - adam:.3g} s"


def prepared(*overrides: str) -> None:
    """Prepares the images, so that no later command does."""
    with quiet():
        build.dataset(composed(*overrides))


def prepare(samples: Path, folder: Path, count: int = 6000, rounds: int = 3) -> Iterator[str]:
    """Preparing JPEG files of 96×96 at 64×64, and opening them again."""
    pictures = anime_jpegs(samples, folder, count)
    first, second = [], []
    for _ in range(rounds):
        load = partial(prepared, *on("anime", pictures, Path(tempfile.mkdtemp(dir=folder))))
        first.append(timed(load))
        second.append(timed(load))
    yield f"{count} JPEG files: {at_most(statistics.median(first), 6, 's')}"
    yield f"opened again in {1000 * statistics.median(second):.1f} ms"


def measures(samples: Path, folder: Path, count: int = 1000, rounds: int = 3) -> Iterator[str]:
    """PSNR and SSIM of 64×64×3 images against a loop over scikit-image."""
    images, noisy = image_pairs(anime_jpegs(samples, folder, count), folder)
    device = torch.device(hardware.device("auto"))
    x, y = images.to(device), noisy.to(device)
    sides = {"vaelab": lambda: measured(x, y), "scikit-image": lambda: measured_one_by_one(images, noisy)}
    seconds = side_by_side(sides, rounds)
    difference = (measured(x, y) - measured_one_by_one(images, noisy)).abs().max().item()
    yield rates(seconds, count)
    yield at_least(seconds["scikit-image"] / seconds["vaelab"], 10)
    yield f"largest difference {at_most(difference, 1e-4, 'dB or units of SSIM')}"


def image_pairs(pictures: Path, folder: Path) -> tuple[Tensor, Tensor]:
    """Drawn faces (N, 3, 64, 64) in [0, 1] and the same with noise, which stands for reconstructions."""
    with quiet():
        pixels = build.dataset(composed(*on("anime", pictures, folder))).images
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()) / 255
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images, (images + 0.1 * noise).clamp(0, 1)


def measured(x: Tensor, y: Tensor) -> Tensor:
    """PSNR and SSIM of each image by vaelab, (2, N)."""
    return torch.stack([metrics.psnr(x, y), metrics.ssim(x, y)]).cpu()


def measured_one_by_one(x: Tensor, y: Tensor) -> Tensor:
    """The same by scikit-image, image after image."""
    from skimage.metrics import (  # not needed on a machine with a GPU
        peak_signal_noise_ratio,
        structural_similarity,
    )

    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    rows = []
    for a, b in zip(x.movedim(1, -1).numpy(), y.movedim(1, -1).numpy(), strict=True):
        psnr = peak_signal_noise_ratio(a, b, data_range=1)
        rows.append((psnr, structural_similarity(a, b, channel_axis=-1, **settings)))
    return torch.tensor(rows).T


def parallel(samples: Path, folder: Path, counts: tuple[int, int] = COUNTS, epochs: int = 4) -> Iterator[str]:
    """As many runs at once as there are cores, with one thread each, against one after the other with all threads."""
    cores = torch.get_num_threads()
    weights = ",".join(str(weight) for weight in range(cores))
    for label, overrides in networks(samples, folder, counts).items():
        rates = {}
        for strategy in ("serial", "parallel"):
            out = folder / f"{label} {strategy}"
            arguments = [*overrides, *NOTHING_DRAWN, f"kl_weight={weights}", f"epochs={epochs}"]
            python(SWEEP, *arguments, f"hydra.launcher.strategy={strategy}", f"output_dir={out}")
            runs = [Run(path.parent).info["images_per_second"] for path in out.rglob("run.json")]
            rates[strategy] = sum(runs) if strategy == "parallel" else statistics.mean(runs)
        shown = ", ".join(f"{name} {rate(value)}" for name, value in rates.items())
        yield f"{label}: {shown}; {cores} at once are {rates['parallel'] / rates['serial']:.2f} times as fast"


def evaluation(samples: Path, folder: Path, epochs: int = 30, rounds: int = 1) -> Iterator[str]:
    """What all evaluations, figures and snapshots add to a run on handwritten digits."""
    arguments = [*on("tibetan_mnist", samples / DIGITS, folder), f"epochs={epochs}"]
    prepared(*arguments)
    whole, without, training = [], [], []
    for _ in range(rounds):
        whole.append(trained(folder, *arguments)[0])
        seconds, of_training = trained(folder, *arguments, *NOTHING_DRAWN)
        without.append(seconds)
        training.append(of_training)
    added, steps = statistics.median(whole) - statistics.median(without), statistics.median(training)
    command = f"{statistics.median(whole):.1f} s"
    if torch.cuda.is_available():
        command = at_most(statistics.median(whole), 20, "s")
    yield f"{epochs} epochs: the whole command {command}, training {steps:.1f} s"
    if torch.cuda.is_available():
        yield f"evaluations and figures add {at_most(added, 5, 's')}"
    else:
        share = at_most(added / steps, 1 / 3, "of the training")
        yield f"evaluations and figures add {added:.1f} s, {share}"


def trained(folder: Path, *arguments: str) -> tuple[float, float]:
    """Seconds of a vae-train, and of the training in it."""
    out = Path(tempfile.mkdtemp(dir=folder))
    seconds = timed(partial(python, TRAIN, *arguments, f"output_dir={out}"))
    (run,) = out.rglob("run.json")
    return seconds, float(Run(run.parent).info["seconds"])


def report(samples: Path, folder: Path, runs: int = 100, epochs: int = 3) -> Iterator[str]:
    """vae-report on copies of two real runs."""
    originals, out = folder / "originals", folder / "copies"
    for dataset, source in (("eyes", EYES), ("tibetan_mnist", DIGITS)):
        arguments = [*on(dataset, samples / source, folder), f"epochs={epochs}", f"output_dir={originals}"]
        python(TRAIN, *arguments)
    copy(originals, out, runs // 2)
    seconds = timed(partial(python, REPORT, f"output_dir={out}"))
    size = (out / "report" / "index.html").stat().st_size / 1e6
    yield f"{runs} runs: {at_most(seconds, 8, 's')}; a page of {at_most(size, 20, 'MB')}"


def copy(originals: Path, out: Path, times: int) -> None:
    """So many copies of each run, each with another seed, so that all are read and shown."""
    for original in (path.parent for path in originals.rglob("run.json")):
        config = (original / "config.yaml").read_text()
        for seed in range(times):
            run = out / original.parts[-3] / f"seed={seed}"
            shutil.copytree(original, run, ignore=shutil.ignore_patterns("*.safetensors", "figures"))
            Run(run).write_text("config.yaml", config.replace("seed: 0\n", f"seed: {seed}\n", 1))

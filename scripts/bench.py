"""Measures vaelab beside the plain way of doing the same: scripts/run python scripts/bench.py [name ...]."""

import contextlib
import difflib
import io
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from tqdm import tqdm

from vaelab import build, config, metrics
from vaelab.evaluations import measure
from vaelab.runs import job
from vaelab.runs.folder import Run
from vaelab.sweep import together
from vaelab.training.loop import Plan, seed_all, train_epoch

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("VAELAB_SHARED_DATA", ROOT.parent / "shared" / "data"))
ANIME, DIGITS, EYES = "anime/anime_tagged_6k.zip", "tibetan_mnist/TibetanMNIST.npz", "eyes/data.npy"

Bench = Callable[..., Iterator[str]]  # samples, temporary folder -> lines of its report

# ---- measuring


def interleaved(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each side, measured A B A B ... after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds + 1):
        for name, side in sides.items():
            seconds[name].append(timed(side))
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call, with everything that it left to do on a GPU."""
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def at_least(value: float, target: float) -> str:
    return f"{value:.2f} times (target: at least {target:g}, {'reached' if value >= target else 'MISSED'})"


def at_most(value: float, target: float, unit: str) -> str:
    return f"{value:.3g} {unit} (target: at most {target:g} {unit}, {'reached' if value <= target else 'MISSED'})"


# ---- the two ways of training


class Training:
    """Training as vae-train does it; each call is one epoch."""

    def __init__(self, *overrides: str) -> None:
        self.cfg = composed(*overrides)
        with quiet():
            self.job = job.prepare(self.cfg)
        optimizers = build.optimizers(self.cfg, self.job.network.players())
        self.model, self.optimizers = build.setup(
            self.job.engine, self.job.network, optimizers, self.job.hardware.compile
        )
        self.criterion = self.job.criterion.to(self.job.engine.device)
        self.batches = self.job.loaders[0]
        self.images = len(self.batches) * self.batches.batch_size
        seed = partial(seed_all, self.cfg.seed)
        self.plan = Plan(epochs=1, seed=seed, clip=None, max_seconds=None, measure=measure)
        self.epoch = self.step = 0
        self.means: dict[str, float] = {}

    def __call__(self) -> None:
        self.epoch += 1
        self.plan.seed(self.epoch)
        trained = train_epoch(
            self.job.engine,
            self.model,
            self.criterion,
            self.optimizers,
            self.batches,
            self.plan,
            tqdm(disable=True),
            self.epoch,
            self.step,
        )
        (self.means,), self.step = trained.means, trained.step


class Together:
    """Training of one ensemble with these KL weights, as vae-sweep does it; each call is one epoch."""

    def __init__(self, weights: Sequence[float], *overrides: str) -> None:
        with quiet():
            first = job.prepare(composed(*overrides, f"kl_weight={weights[0]}"))
            others = [job.prepare(composed(*overrides, f"kl_weight={w}"), like=first) for w in weights[1:]]
        self.engine = first.engine
        self.built = together.assemble([first, *others])
        self.epoch = self.step = 0

    def __call__(self) -> None:
        self.epoch += 1
        built = self.built
        built.plan.seed(self.epoch)
        parts = (built.model, built.criterion, built.optimizers, built.batches, built.plan)
        trained = train_epoch(self.engine, *parts, tqdm(disable=True), self.epoch, self.step)
        self.step = trained.step


class PictureFiles(Dataset[Tensor]):
    """Pictures decoded and resized each time they are asked for, as torchvision's ImageFolder does."""

    def __init__(self, files: Sequence[Path], image_shape: tuple[int, int, int]) -> None:
        channels, side, _ = image_shape
        self.files = files
        self.mode = {1: "L", 3: "RGB"}[channels]
        self.transform = transforms.Compose(
            [transforms.Resize(side), transforms.CenterCrop(side), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> Tensor:
        with Image.open(self.files[row]) as picture:
            image: Tensor = self.transform(picture.convert(self.mode))
        return image


class PlainTraining:
    """The same network, images and loss as most people write them; each call is one epoch."""

    def __init__(self, ours: Training, pictures: Path, workers: int) -> None:
        images, cfg = ours.job.images, ours.cfg
        self.device = ours.job.engine.device
        self.model: Any = build.model(cfg, images.image_shape).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=cfg.lr)
        self.kl_weight = cfg.kl_weight
        self.loader = DataLoader(
            PictureFiles(
                [pictures / images.names[row] for row in images.indices("train")], images.image_shape
            ),
            batch_size=cfg.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        self.images = len(self.loader) * cfg.batch_size
        self.mean = 0.0

    def __call__(self) -> None:
        total = 0.0
        for images in self.loader:
            self.optimizer.zero_grad()
            loss = self.loss(images.to(self.device))
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.mean = total / len(self.loader)

    def loss(self, images: Tensor) -> Tensor:
        """-ELBO in nats per image (Kingma & Welling 2014, equation 10 and appendix B)."""
        mean, log_variance = self.model.encode(images)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        error = F.binary_cross_entropy(self.model.decode(z), images, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return (error + self.kl_weight * kl) / len(images)


def composed(*overrides: str) -> DictConfig:
    """The configuration that vae-train would compose."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", list(overrides))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars among the figures."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield


# ---- the pictures


def anime_jpegs(samples: Path, folder: Path, count: int) -> Path:
    """A folder with the first JPEG files of the drawn faces."""
    target = folder / f"anime_{count}"
    if not target.is_dir():
        with zipfile.ZipFile(samples / ANIME) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            archive.extractall(target, names[:count])
    return target


def digit_pngs(samples: Path, folder: Path, count: int) -> Path:
    """A folder with PNG files of handwritten digits, spread evenly over the classes."""
    target = folder / f"digits_{count}"
    if not target.is_dir():
        target.mkdir()
        images = np.load(samples / DIGITS, allow_pickle=False)["image"]
        for row in np.linspace(0, len(images) - 1, count).astype(int):
            Image.fromarray(images[row]).save(target / f"{row:05d}.png")
    return target


# ---- the benches


def train_color(
    samples: Path, folder: Path, count: int = 1900, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training on JPEG files at 64×64×3."""
    pictures = anime_jpegs(samples, folder, count)
    return compare_training("anime", pictures, folder, batch_size, rounds, target=1.8)


def train_gray(
    samples: Path, folder: Path, count: int = 5000, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training on PNG files of 28×28×1."""
    pictures = digit_pngs(samples, folder, count)
    return compare_training("tibetan_mnist", pictures, folder, batch_size, rounds, target=2)


def compare_training(
    dataset: str, pictures: Path, folder: Path, batch_size: int, rounds: int, target: float
) -> Iterator[str]:
    """Images per second of vae-train's epochs and of plain ones; the better number of workers is the plain side."""
    ours = Training(*on(dataset, pictures, folder), f"batch_size={batch_size}")
    plain = {workers: PlainTraining(ours, pictures, workers) for workers in (0, 2)}
    sides: dict[str, Callable[[], object]] = {f"plain, {n} workers": side for n, side in plain.items()}
    seconds = interleaved({"vaelab": ours} | sides, rounds)
    yield rates(seconds, ours.images) + f"; vaelab computes in {ours.job.hardware.precision}"
    yield at_least(min(seconds[name] for name in sides) / seconds["vaelab"], target)


def start(
    samples: Path, folder: Path, count: int = 1900, batch_size: int = 128, rounds: int = 3
) -> Iterator[str]:
    """From the start of the process to the end of the first training step, on prepared images."""
    overrides = [*on("anime", anime_jpegs(samples, folder, count), folder), f"batch_size={batch_size}"]
    with quiet():
        build.dataset(composed(*overrides))
    sides = {
        "import torch": lambda: python("import torch"),
        "import torch and one step of Adam": lambda: python(ADAM_STEP),
        "vae-train": lambda: python(TRAIN_STEP, *overrides, f"output_dir={tempfile.mkdtemp(dir=folder)}"),
    }
    seconds = interleaved(sides, rounds)
    torch_alone, adam, ours = seconds.values()
    yield ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    yield f"more than import torch: {at_most(ours - torch_alone, 2, 's')}"
    yield f"more than import torch and one step of Adam: {ours - adam:.3g} s"


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


def python(code: str, *arguments: str) -> None:
    """Runs code in a fresh interpreter; raises CalledProcessError if it fails."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def prepare(samples: Path, folder: Path, count: int = 6000, rounds: int = 3) -> Iterator[str]:
    """Preparing JPEG files of 96×96 at 64×64, and opening them again."""
    pictures = anime_jpegs(samples, folder, count)
    first, second = [], []
    for _ in range(rounds):
        cfg = composed(*on("anime", pictures, Path(tempfile.mkdtemp(dir=folder))))
        load = partial(build.dataset, cfg)
        with quiet():
            first.append(timed(load))
        second.append(timed(load))
    yield f"{count} JPEG files: {at_most(statistics.median(first), 6, 's')}"
    yield f"opened again in {1000 * statistics.median(second):.1f} ms"


def metrics_(samples: Path, folder: Path, count: int = 1000, rounds: int = 3) -> Iterator[str]:
    """PSNR and SSIM of 64×64×3 images against a loop over scikit-image."""
    images, noisy = image_pairs(anime_jpegs(samples, folder, count), folder)
    device = torch.device(build.device("auto"))
    x, y = images.to(device), noisy.to(device)
    sides = {"vaelab": lambda: measured(x, y), "scikit-image": lambda: measured_one_by_one(images, noisy)}
    seconds = interleaved(sides, rounds)
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
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    rows = []
    for a, b in zip(x.movedim(1, -1).numpy(), y.movedim(1, -1).numpy(), strict=True):
        psnr = peak_signal_noise_ratio(a, b, data_range=1)
        rows.append((psnr, structural_similarity(a, b, channel_axis=-1, **settings)))
    return torch.tensor(rows).T


def batch_size(
    samples: Path, folder: Path, sizes: tuple[int, int] = (4, 128), rounds: int = 3
) -> Iterator[str]:
    """Training of conv_vae on 50×50×3 images in small and in large batches."""
    small, large = (Training(*on("eyes", samples / EYES, folder), f"batch_size={size}") for size in sizes)
    seconds = interleaved({"small": small, "large": large}, rounds)
    per_image = [seconds["small"] / small.images, seconds["large"] / large.images]
    yield ", ".join(f"batches of {n}: {1 / s:.0f} images/s" for n, s in zip(sizes, per_image, strict=True))
    yield f"an image of a small batch costs {at_most(per_image[0] / per_image[1], 30, 'times as much')}"


def precision(
    samples: Path,
    folder: Path,
    counts: tuple[int, int] = (1900, 5000),
    batch_size: int = 128,
    rounds: int = 5,
) -> Iterator[str]:
    """Training in fp32 and in bf16."""
    for label, overrides in networks(samples, folder, counts).items():
        overrides.append(f"batch_size={batch_size}")
        sides = {name: Training(*overrides, f"trainer.precision={name}") for name in ("fp32", "bf16")}
        seconds = interleaved(sides, rounds)
        ratio = seconds["fp32"] / seconds["bf16"]
        yield f"{label}: {rates(seconds, sides['fp32'].images)}; bf16 is {ratio:.2f} times as fast"


def ensemble(
    samples: Path,
    folder: Path,
    counts: tuple[int, int] = (640, 5000),
    weights: Sequence[float] = (0, 0.1, 1, 5, 100),
    rounds: int = 5,
) -> Iterator[str]:
    """One ensemble of a sweep over the KL weight against one run, and against the same runs one after the other."""
    targets = {"conv_vae 28×28×1": 1.3, "conv_vae 64×64×3": 2.0}  # of a GPU
    for label, overrides in networks(samples, folder, counts).items():
        one = Training(*overrides)
        seconds = interleaved({"one run": one, "ensemble": Together(weights, *overrides)}, rounds)
        ratio = seconds["ensemble"] / seconds["one run"]
        told = f"{ratio:.2f} times one run"
        if torch.cuda.is_available() and label in targets:
            told = at_most(ratio, targets[label], "times one run")
        after = f"{ratio / len(weights):.2f} times the same runs one after the other"
        yield f"{label}: {len(weights)} members take {told}, {after}"


def parallel(
    samples: Path, folder: Path, counts: tuple[int, int] = (640, 5000), epochs: int = 4
) -> Iterator[str]:
    """As many runs at once as there are cores, with one thread each, against one after the other with all threads."""
    cores = torch.get_num_threads()
    weights = ",".join(str(weight) for weight in range(cores))
    for label, overrides in networks(samples, folder, counts).items():
        rates = {}
        for strategy in ("serial", "parallel"):
            out = folder / f"{label} {strategy}"
            arguments = [
                *overrides,
                f"kl_weight={weights}",
                f"epochs={epochs}",
                "snapshot_epochs=[]",
                "evaluation=[]",
            ]
            program = "import sys; from vaelab.cli import sweep; sys.argv[0] = 'vae-sweep'; sweep()"
            python(program, *arguments, f"hydra.launcher.strategy={strategy}", f"output_dir={out}")
            runs = [Run(path.parent).info["images_per_second"] for path in out.rglob("run.json")]
            rates[strategy] = sum(runs) if strategy == "parallel" else statistics.mean(runs)
        shown = ", ".join(f"{name} {rate:.0f} images/s" for name, rate in rates.items())
        yield f"{label}: {shown}; {cores} at once are {rates['parallel'] / rates['serial']:.2f} times as fast"


def report(samples: Path, folder: Path, runs: int = 100, epochs: int = 3) -> Iterator[str]:
    """vae-report on copies of two real runs, each with another seed, so that all are read and shown."""
    out = folder / "reported"
    for dataset, source in (("eyes", EYES), ("tibetan_mnist", DIGITS)):
        arguments = [
            *on(dataset, samples / source, folder),
            f"epochs={epochs}",
            f"output_dir={folder / 'one'}",
        ]
        python("from vaelab.cli import train; train()", *arguments)
    for original in (path.parent for path in (folder / "one").rglob("run.json")):
        config = (original / "config.yaml").read_text()
        for seed in range(runs // 2):
            run = out / original.parts[-3] / f"seed={seed}"
            shutil.copytree(original, run, ignore=shutil.ignore_patterns("*.safetensors", "figures"))
            Run(run).write_text("config.yaml", config.replace("seed: 0\n", f"seed: {seed}\n", 1))
    seconds = timed(partial(python, "from vaelab.cli import report; report()", f"output_dir={out}"))
    size = (out / "report" / "index.html").stat().st_size / 1e6
    yield f"{runs} runs: {at_most(seconds, 10, 's')}; a page of {at_most(size, 20, 'MB')}"


def networks(samples: Path, folder: Path, counts: tuple[int, int]) -> dict[str, list[str]]:
    """The overrides of three networks on real images of their size."""
    color = on("anime", anime_jpegs(samples, folder, counts[0]), folder)
    gray = on("tibetan_mnist", digit_pngs(samples, folder, counts[1]), folder)
    return {
        "conv_vae 64×64×3": [*color, "model=conv_vae"],
        "conv_vae 28×28×1": [*gray, "model=conv_vae"],
        "fc_vae 28×28×1": [*gray, "model=fc_vae"],
    }


def on(dataset: str, path: Path, folder: Path) -> list[str]:
    """The overrides that train on these images, prepared in the temporary folder."""
    return [f"dataset={dataset}", f"dataset.path={path}", f"data_dir={folder / 'data'}"]


def rates(seconds: Mapping[str, float], images: int) -> str:
    return ", ".join(f"{name} {images / value:.0f} images/s" for name, value in seconds.items())


BENCHES: dict[str, Bench] = {
    "train_color": train_color,
    "train_gray": train_gray,
    "start": start,
    "prepare": prepare,
    "metrics": metrics_,
    "batch_size": batch_size,
    "precision": precision,
    "ensemble": ensemble,
    "parallel": parallel,
    "report": report,
}

# ---- the command


def heading() -> str:
    """The machine, its threads and the versions, in two lines."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    bf16 = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
    machine = [processor(), f"{os.cpu_count()} cores", *bf16, f"{torch.get_num_threads()} threads", gpu]
    packages = [f"{name} {version(name)}" for name in ("vaelab", "torch", "torchvision", "scikit-image")]
    return f"{', '.join(machine)}\nPython {platform.python_version()}, {', '.join(packages)}"


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def mistake(names: Sequence[str], samples: Path) -> str | None:
    """One line for an unknown name or missing images, or None."""
    for name in names:
        if name not in BENCHES:
            near = difflib.get_close_matches(name, BENCHES, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            return f"bench.py: there is no bench {name}{hint}; known: {', '.join(BENCHES)}"
    missing = [str(samples / file) for file in (ANIME, DIGITS, EYES) if not (samples / file).is_file()]
    if missing:
        return f"bench.py: no real images at {missing[0]}: set VAELAB_SHARED_DATA to the folder that has them"
    return None


def main(names: Sequence[str]) -> int:
    """Runs the benches of these names, or all; 0, or 2 for a mistake."""
    if line := mistake(names, SAMPLES):
        print(line, file=sys.stderr)
        return 2
    print(heading(), flush=True)
    with tempfile.TemporaryDirectory(prefix="vaelab-bench-") as folder:
        for name in names or BENCHES:
            for line in BENCHES[name](SAMPLES, Path(folder)):
                print(f"{name:<12} {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

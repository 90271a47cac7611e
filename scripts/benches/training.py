"""Benches of training: against other ways of writing it, compiled, in other precisions, batches and company."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import torch

from benches.images import COUNTS, EYES, anime_jpegs, digit_pngs, networks, on
from benches.measuring import at_least, at_most, rate, rates, side_by_side, timed
from benches.sides import Bare, PlainTraining, Training

GPU = torch.cuda.is_available()
# Images per second that one H100 or H200 should reach, uncompiled and compiled.
ALONE = {
    "conv_vae 64×64×3": (65_000, 95_000),
    "conv_vae 28×28×1": (170_000, 220_000),
    "fc_vae 28×28×1": (450_000, None),
    "dcgan 64×64×3": (43_000, None),
}
IN_TURN = {  # of each of five runs
    "conv_vae 64×64×3": (19_000, 30_000),
    "conv_vae 28×28×1": (85_000, 110_000),
    "fc_vae 28×28×1": (300_000, None),
}
SHARES = {"conv_vae 64×64×3": 0.9, "conv_vae 28×28×1": 0.9, "fc_vae 28×28×1": 0.8}  # of bare, on a CPU
COMPILED = "trainer.compile=true"


def target(targets: dict[str, tuple[int, int | None]], label: str, compiled: bool = False) -> float | None:
    """The target of a network on a GPU."""
    return targets[label][compiled] if GPU else None


def train_color(
    samples: Path, folder: Path, count: int = 1900, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training on JPEG files at 64×64×3."""
    pictures = anime_jpegs(samples, folder, count)
    return compare_training("anime", pictures, folder, batch_size, rounds, least=1.8)


def train_gray(
    samples: Path, folder: Path, count: int = 5000, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training on PNG files of 28×28×1."""
    pictures = digit_pngs(samples, folder, count)
    return compare_training("tibetan_mnist", pictures, folder, batch_size, rounds, least=2)


def compare_training(
    dataset: str, pictures: Path, folder: Path, batch_size: int, rounds: int, least: float
) -> Iterator[str]:
    """Images per second of vae-train's epochs and of plain ones; the better number of workers is the plain side."""
    ours = Training(*on(dataset, pictures, folder), f"batch_size={batch_size}")
    plain = {workers: PlainTraining(ours, pictures, workers) for workers in (0, 2)}
    sides: dict[str, Callable[[], object]] = {f"plain, {n} workers": side for n, side in plain.items()}
    seconds = side_by_side({"vaelab": ours} | sides, rounds)
    yield rates(seconds, ours.images) + f"; vaelab computes in {ours.job.hardware.precision}"
    yield at_least(min(seconds[name] for name in sides) / seconds["vaelab"], least)


def train(
    samples: Path, folder: Path, counts: tuple[int, int] = COUNTS, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training of each network, and of a GAN."""
    gan = [*on("anime", anime_jpegs(samples, folder, counts[0]), folder), "model=dcgan"]
    for label, overrides in (networks(samples, folder, counts) | {"dcgan 64×64×3": gan}).items():
        ours = Training(*overrides, f"batch_size={batch_size}")
        seconds = side_by_side({"vaelab": ours}, rounds)["vaelab"]
        captured = "captured" if ours.step.repeated.is_captured else f"called ({ours.step.repeated.because})"
        told = rate(ours.images / seconds, target(ALONE, label))
        yield f"{label}: {told}, {ours.job.hardware.precision}, {captured}"


def bare(
    samples: Path, folder: Path, counts: tuple[int, int] = COUNTS, batch_size: int = 128, rounds: int = 7
) -> Iterator[str]:
    """Our share of what the least loop reaches with the same network, loss and data."""
    for label, overrides in networks(samples, folder, counts).items():
        ours = Training(*overrides, f"batch_size={batch_size}")
        seconds = side_by_side({"vaelab": ours, "bare": Bare(ours)}, rounds)
        share = seconds["bare"] / seconds["vaelab"]
        told = f"{share:.2f} of bare" if GPU else at_least(share, SHARES[label], "of bare")
        yield f"{label}: {rates(seconds, ours.images)}; {told}"


def compiled(
    samples: Path, folder: Path, counts: tuple[int, int] = COUNTS, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training with compiled methods against uncompiled, and the seconds that compiling takes."""
    for label, overrides in networks(samples, folder, counts).items():
        overrides.append(f"batch_size={batch_size}")
        plain = Training(*overrides)
        with compiler_cache(folder / "compiled"):
            quick, cold = first_epoch(*overrides)
            if not quick.job.hardware.compile:
                yield f"{label}: {quick.job.hardware.reasons['compile']}"
                continue
            again, warm = first_epoch(*overrides)
            seconds = side_by_side({"uncompiled": plain, "compiled": again}, rounds)
        steady = seconds["compiled"]
        told = rate(again.images / steady, target(ALONE, label, compiled=True))
        yield (
            f"{label}: uncompiled {rate(plain.images / seconds['uncompiled'])}, compiled {told}, "
            f"{seconds['uncompiled'] / steady:.2f} times as fast; compiling took {cold - steady:.1f} s, "
            f"{warm - steady:.1f} s with a warm cache"
        )


def first_epoch(*overrides: str) -> tuple[Training, float]:
    """A compiled training and the seconds of its first epoch."""
    torch.compiler.reset()
    training = Training(*overrides, COMPILED)
    return training, timed(training)


@contextmanager
def compiler_cache(folder: Path) -> Iterator[None]:
    """While within, what was compiled before is looked for in this folder alone."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def interleaved(
    samples: Path,
    folder: Path,
    counts: tuple[int, int] = COUNTS,
    weights: Sequence[float] = (0, 0.1, 1, 5, 100),
    batch_size: int = 128,
    rounds: int = 3,
) -> Iterator[str]:
    """Several runs that take steps in turn, against one run alone and against one after the other."""
    for label, overrides in networks(samples, folder, counts).items():
        overrides.append(f"batch_size={batch_size}")
        for extra in [[], [COMPILED]] if GPU and IN_TURN[label][1] else [[]]:
            torch.compiler.reset()
            runs = [Training(*overrides, *extra, f"kl_weight={weight}") for weight in weights]
            alone = Training(*overrides, *extra)
            with compiler_cache(folder / "in_turn"):
                turns, after = InTurn(runs), After(runs)
                seconds = side_by_side({"alone": alone, "in turn": turns, "after": after}, rounds)
            images = runs[0].images
            each = rate(images / seconds["in turn"], target(IN_TURN, label, compiled=bool(extra)))
            yield (
                f"{label}{', compiled' if extra else ''}: one run alone {rate(images / seconds['alone'])}; "
                f"{len(runs)} in turn, each {each}; one after the other, "
                f"each {rate(images / seconds['after'])}; in turn is "
                f"{seconds['after'] / seconds['in turn']:.2f} times as fast"
            )


class InTurn:
    """Each call is one epoch of all runs, whose steps are taken in turn."""

    def __init__(self, runs: Sequence[Training]) -> None:
        self.runs = runs

    def __call__(self) -> None:
        for _ in zip_longest(*(run.steps() for run in self.runs)):
            pass


class After(InTurn):
    """Each call is one epoch of all runs, one after the other."""

    def __call__(self) -> None:
        for run in self.runs:
            run()


def batch_size(
    samples: Path, folder: Path, sizes: tuple[int, int] = (4, 128), rounds: int = 3
) -> Iterator[str]:
    """Training of conv_vae on 50×50×3 images in small and in large batches."""
    small, large = (Training(*on("eyes", samples / EYES, folder), f"batch_size={size}") for size in sizes)
    seconds = side_by_side({"small": small, "large": large}, rounds)
    per_image = [seconds["small"] / small.images, seconds["large"] / large.images]
    yield ", ".join(f"batches of {n}: {rate(1 / s)}" for n, s in zip(sizes, per_image, strict=True))
    yield f"an image of a small batch costs {at_most(per_image[0] / per_image[1], 3, 'times as much')}"


def precision(
    samples: Path, folder: Path, counts: tuple[int, int] = COUNTS, batch_size: int = 128, rounds: int = 5
) -> Iterator[str]:
    """Training in fp32, in bf16, and on a GPU in tf32."""
    for label, overrides in networks(samples, folder, counts).items():
        overrides.append(f"batch_size={batch_size}")
        names = ("fp32", "bf16", "tf32") if GPU else ("fp32", "bf16")
        sides = {name: Training(*overrides, f"trainer.precision={name}") for name in names}
        seconds = side_by_side(sides, rounds)
        faster = [f"{name} is {seconds['fp32'] / seconds[name]:.2f} times as fast" for name in names[1:]]
        yield f"{label}: {rates(seconds, sides['fp32'].images)}; {', '.join(faster)}"

"""Measures vaelab beside the plain way of doing the same: scripts/run python scripts/bench.py [name ...]."""

import difflib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from vaelab import __version__, machine

if __name__ == "__main__":
    machine.share_cores()  # as the commands do, before torch loads

import torch

from benches import commands, training
from benches.images import ANIME, DIGITS, EYES

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = Path(os.environ.get("VAELAB_SHARED_DATA", ROOT.parent / "shared" / "data"))

Bench = Callable[..., Iterator[str]]  # samples, temporary folder -> lines of its report

BENCHES: dict[str, Bench] = {
    "train_color": training.train_color,
    "train_gray": training.train_gray,
    "train": training.train,
    "bare": training.bare,
    "compiled": training.compiled,
    "interleaved": training.interleaved,
    "batch_size": training.batch_size,
    "precision": training.precision,
    "start": commands.start,
    "prepare": commands.prepare,
    "metrics": commands.measures,
    "parallel": commands.parallel,
    "evaluation": commands.evaluation,
    "report": commands.report,
}


def heading() -> str:
    """The machine, its threads and the versions, in two lines."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    bf16 = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
    machine = [processor(), f"{os.cpu_count()} cores", *bf16, f"{torch.get_num_threads()} threads", gpu]
    packages = [f"vaelab {__version__}", *(f"{name} {version(name)}" for name in ("torch", "torchvision"))]
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

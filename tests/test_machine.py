"""Memory and cores, and a system without the modules that only Unix has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from vaelab import machine

WITHOUT = """
import psutil  # which needs them on Unix alone
import sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
import importlib, pkgutil, warnings
warnings.simplefilter("ignore")  # filelock says that its lock is a soft one
import vaelab
for module in pkgutil.walk_packages(vaelab.__path__, "vaelab."):
    importlib.import_module(module.name)
from hydra import compose, initialize_config_dir
from vaelab import config
from vaelab.runs import request as asked, perform as job
with initialize_config_dir(str(config.CONF), version_base="1.3"):
    overrides = ["model=fc_vae", "dataset.size=8", "epochs=1", "batch_size=512", "evaluation=[test_metrics]"]
    cfg = compose("train", [*overrides, "data_dir=data", "output_dir=outputs"])
one = asked.ask(cfg, {"dataset": "digits", "model": "fc_vae"}, overrides, ["vae-train"])
job.perform(one)
assert one.run.is_done()
assert one.run.info["peak_memory_bytes"] > 2**20
"""


# In a process that has loaded none of the libraries, as those that draw.
EMBEDDED = """
import numpy as np
from threadpoolctl import threadpool_info
from vaelab import embeddings, machine
machine.own_cores = lambda: 3
embeddings._tsne = lambda codes: {(pool["user_api"], pool["num_threads"]) for pool in threadpool_info()}
print(sorted(embeddings.embed(np.eye(4), "tsne")))
"""


def test_memory_and_cores_are_those_of_this_machine() -> None:
    assert 2**20 < machine.free_memory() < machine.total_memory()
    assert 1 <= machine.cores() <= psutil.cpu_count()
    before = machine.peak_memory()
    assert before >= psutil.Process().memory_info().rss / 2
    held = np.ones(before // 8 + 2**23)
    assert machine.peak_memory() >= held.nbytes


def test_a_run_is_trained_without_the_modules_of_unix(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("threads", ["1", "7"])
def test_an_embedding_has_the_cores_that_it_is_given(threads: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads}  # which a library takes when it loads
    done = subprocess.run([sys.executable, "-c", EMBEDDED], env=environment, capture_output=True, text=True)
    assert done.stdout.strip().endswith("('openmp', 3)]"), done.stderr


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, (None, machine.SPINS)),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
        ({"GOMP_SPINCOUNT": "7"}, (None, "7")),
    ],
)
def test_threads_give_their_core_away_unless_the_user_says_otherwise(
    said: dict[str, str], found: tuple[str | None, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    machine.share_cores()
    assert (os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")) == found


def test_a_command_says_it_before_torch_is_there() -> None:
    code = """
import os, sys
from vaelab import cli
try:
    sys.argv = ["vae-train", "--version"]
    cli.train()
except SystemExit:
    pass
assert os.environ["GOMP_SPINCOUNT"], os.environ
assert "torch" not in sys.modules
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

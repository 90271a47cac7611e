"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# The tests of several files run side by side; more threads than cores would wait on each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real sample images; tests that need it skip where it is missing."""
    folder = Path(os.environ.get("VAELAB_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder} (set VAELAB_SHARED_DATA)")
    return folder


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """The environment is the same for each test, whatever a command that ran in this process has set."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)

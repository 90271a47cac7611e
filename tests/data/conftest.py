"""Fixtures of the tests of the data: a folder to prepare in, and `load` with every argument given."""

from pathlib import Path
from typing import Any

import pytest
from data_samples import DEFAULTS, Load

from vaelab.data import ImageSet, load


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The folder that data sets are looked for and prepared in."""
    return tmp_path / "data"


@pytest.fixture
def load_data(data_dir: Path) -> Load:
    """`load` with every argument given; the test overrides what it is about."""

    def call(path: Path | str | None = None, **overrides: Any) -> ImageSet:
        arguments = DEFAULTS | {"data_dir": str(data_dir), "path": None if path is None else str(path)}
        return load(**(arguments | overrides))

    return call

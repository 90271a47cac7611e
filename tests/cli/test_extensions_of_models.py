"""Networks and evaluations that others bring; beside test_extensions.py, so that two processes share the work."""

from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.cli.test_extensions import BROUGHT, PARTS, goes_all_the_way


@pytest.mark.parametrize("module", [name for name in BROUGHT if name not in PARTS])
def test_an_extension_goes_all_the_way(module: str, vae: Command, tmp_path: Path) -> None:
    goes_all_the_way(module, vae, tmp_path)

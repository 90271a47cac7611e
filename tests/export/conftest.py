"""Run folders that are there already, and vae-export in this process."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vaelab import cli

OLDER = Path(__file__).resolve().parent.parent / "older" / "outputs" / "digits"
Answer = tuple[int, str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a finished run of the fully connected VAE."""
    run = next((OLDER / "fc_vae").glob("epochs=2,*"))
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """export("run=...", "to=onnx"): the exit status of vae-export, and what it said."""
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def called(*words: str) -> Answer:
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        monkeypatch.setattr(sys, "argv", ["vae-export", *words])
        with pytest.raises(SystemExit) as ended:
            cli.export()
        said = capsys.readouterr()
        return int(str(ended.value.code or 0)), (said.out + said.err).strip()

    return called

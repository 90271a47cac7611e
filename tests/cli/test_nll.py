"""loss=iwae and evaluation=nll through the real commands."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command
from tests.cli.test_mistakes import refused
from vaelab.runs.folder import Run

SMALL = [
    "model=fc_vae",
    "model.hidden=[32]",
    "latent_dim=4",
    "dataset.size=8",
    "epochs=3",
    "snapshot_epochs=[]",
]
NLL = ["evaluation=[nll,test_metrics]", "evaluation.nll.samples=200"]


@pytest.mark.parametrize("estimator", ["standard", "dreg"])
def test_a_run_with_the_bound_is_trained_measured_and_reported(
    estimator: str, vae: Command, tmp_path: Path
) -> None:
    done = vae("train", *SMALL, *NLL, "loss=iwae", f"loss.estimator={estimator}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nll_standard_error" in done.stdout
    (file,) = tmp_path.rglob("run.json")
    run = Run(file.parent)
    rows, metrics = run.history, run.metrics
    assert rows[-1]["iwae"] > rows[1]["iwae"]
    for row in rows:
        assert row["loss"] == pytest.approx(-row["iwae"])
        assert row["elbo"] == pytest.approx(-(row["reconstruction"] + row["kl"]), rel=1e-5)
        assert row["iwae"] > row["elbo"]
        assert "kl_weight" not in row
    assert run.info["beta_eff"] == 1
    # More draws are a higher bound, of the same images but for noise.
    assert metrics["nll"] < -metrics["iwae"] + 0.5 < -metrics["elbo"] + 0.5
    assert metrics["nll"] + metrics["nll_gap"] == pytest.approx(-metrics["elbo"], abs=0.5)
    assert run.info["quantities"]["nll"]["unit"] == "nats per image"
    assert run.info["quantities"]["iwae"]["sign"] == -1
    with np.load(run.folder / "arrays" / "nll.npz") as arrays:
        assert metrics["nll"] == pytest.approx(float(arrays["nll"].mean()))
    assert (run.folder / "figures" / "nll.png").is_file()
    done = vae("report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nll" in (tmp_path / "outputs" / "report" / "table.csv").read_text()


def test_a_finished_run_is_measured_by_its_nll(vae: Command, tmp_path: Path) -> None:
    done = vae("train", *SMALL, "evaluation=[test_metrics]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.rglob("run.json")
    run = Run(file.parent)
    settings = ["evaluation=[nll]", "evaluation.nll.samples=200", "evaluation.nll.images=50"]
    done = vae("evaluate", f"run={run.folder}", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"elbo", "nll", "nll_standard_error"} <= run.metrics.keys()
    assert run.metrics["nll_gap"] > 0
    assert run.info["findings"]["nll"] == ["nll is of 50 of 205 test images"]


def test_the_bound_has_no_lambda(vae: Command, tmp_path: Path) -> None:
    done = vae("train", *SMALL, "loss=iwae", "kl_weight=5", cwd=tmp_path)
    refused(done, "kl_weight=5 weights nothing, for the chosen loss has no λ: leave it out")
    listed = vae("sweep", *SMALL, "loss=elbo,iwae", "kl_weight=1,5", "list=true", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.count("loss=iwae") == 1
    assert listed.stdout.count("loss=elbo") == 2

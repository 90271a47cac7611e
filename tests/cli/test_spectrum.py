"""vae-data spectrum and vae-sweep kl_weight=auto, as users call them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import QUICK, Command
from vaelab import spectrum
from vaelab.runs.folder import Run

GAUSSIAN = [*QUICK, "evaluation=[test_metrics]", "likelihood=gaussian", "likelihood.sigma=0.5"]


def test_the_spectrum_is_printed_kept_and_drawn(vae: Command, tmp_path: Path) -> None:
    done = vae("data", "spectrum", "likelihood.sigma=0.5", "latent_dim=8", "kl_weight=[2,0.5]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "outputs" / "spectrum" / "digits"
    with np.load(folder / "spectrum.npz", allow_pickle=False) as arrays:
        kept = dict(arrays)
    assert kept["eigenvalues"].shape == (1024,)
    assert kept["kl_weight"].tolist() == [0.5, 2]
    truth = [spectrum.predict(kept["eigenvalues"], weight, 0.5, 8) for weight in (0.5, 2)]
    assert kept["rate"].tolist() == [one.rate for one in truth]
    assert kept["active_units"].tolist() == [one.active_units for one in truth]
    assert [line.split()[1] for line in done.stdout.splitlines()[2:4]] == [f"{o.rate:.2f}" for o in truth]
    assert f"from λ = {kept['eigenvalues'][0] / 0.25:.4g} on all units collapse" in done.stdout
    with Image.open(folder / "spectrum.png") as figure:
        assert min(figure.size) > 300


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "spectrum", "likelihood=bernoulli"], "has no closed form: use likelihood=gaussian"),
        (["data", "spectrum", "kl_weight=-1"], "kl_weight=-1 is not a number at least 0"),
        (["data", "spectrum", "dataset=eyes", "data_dir=none"], "the images of dataset=eyes are not here"),
        (
            ["sweep", "kl_weight=auto", "dataset=eyes", "data_dir=none"],
            "the images of dataset=eyes are not here",
        ),
        (["sweep", "kl_weight=auto", "n=1"], "n=1 is not a whole number from 2 to 100"),
        (["sweep", "n=3"], "n=3 is how many λ kl_weight=auto has"),
        (["sweep", "kl_weight=auto", "likelihood=laplace"], "needs likelihood=gaussian or bernoulli"),
        (
            ["sweep", "kl_weight=auto", "likelihood=gaussian", "kl_weight_unit=pythae"],
            "kl_weight=auto counts in nats: leave kl_weight_unit=pythae out",
        ),
        (["sweep", "kl_weight=auto", "lr=-1"], "lr=-1 is not"),
        (["sweep", "kl_weight=auto", "model=conv_ae"], "kl_weight=auto weights nothing"),
        (["train", "kl_weight=auto"], "vae-sweep does a run for each"),
        (["train", "n=3"], "there is no key n"),
    ],
)
def test_mistakes_are_one_line(words: list[str], said: str, vae: Command, tmp_path: Path) -> None:
    done = vae(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_each_lambda_of_auto_is_an_ordinary_run(vae: Command, tmp_path: Path) -> None:
    settings = [*GAUSSIAN, "kl_weight=auto", "n=3"]
    listed = vae("sweep", *settings, "list=true", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "a linear VAE with Gaussian noise of σ = 0.5 collapses from λ = 37.6 on" in listed.stderr
    done = vae("sweep", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = [Run.open(file.parent) for file in tmp_path.rglob("run.json")]
    assert sorted(run.config.kl_weight for run in runs) == [0.31, 3.4, 38]
    assert all(str(run.folder.relative_to(tmp_path)) in listed.stdout for run in runs)
    assert all("n" not in run.config and ",n=" not in run.folder.name for run in runs)
    again = vae("train", *GAUSSIAN, "kl_weight=38", cwd=tmp_path)
    assert "already done" in again.stdout
    most = max(runs, key=lambda run: run.config.kl_weight)
    assert most.metrics["kl"] < 0.1


def test_auto_stands_in_lists_and_follows_the_likelihood(vae: Command, tmp_path: Path) -> None:
    settings = [*QUICK, "kl_weight=0,auto", "n=2", "likelihood=gaussian,bernoulli", "model=fc_vae,conv_ae"]
    done = vae("sweep", *settings, "list=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "near its collapse Gaussian noise of variance μ(1 − μ)" in done.stderr
    names = [line.split("/")[-1] for line in done.stdout.splitlines()[1:]]
    weights = [part for name in names for part in name.split(",") if part.startswith("kl_weight=")]
    expected = [0, 0, 0.076, 9.4, 0.37, 45]
    assert weights == [f"kl_weight={weight}" for weight in expected]
    assert done.stdout.count("conv_ae") == 2  # once for each likelihood

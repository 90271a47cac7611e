"""VAEs of other tools: the same numbers as theirs, in ordinary run folders; mistakes in one line."""

import json
import math
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

import vaelab
from vaelab import UsageError, cli, models
from vaelab.foreign.checkpoints import read
from vaelab.runs.open_run import OpenedRun

SIDE, UNITS = 8, 3
D = SIDE * SIDE
Evaluate = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def evaluate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data_dir: Path, tmp_path: Path
) -> Evaluate:
    """evaluate("foreign=..."): the exit status of vae-evaluate on digits of 8×8, and the last line that it said."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> tuple[int, str]:
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        small = ["evaluation=[test_metrics]"]
        if any(word.startswith("foreign=") for word in words):
            small += [f"dataset.size={SIDE}"] if not any("dataset.size" in word for word in words) else []
        monkeypatch.setattr(sys, "argv", ["vae-evaluate", *words, *small, f"data_dir={data_dir}"])
        with pytest.raises(SystemExit) as ended:
            cli.evaluate()
        said = capsys.readouterr()
        code = int(str(ended.value.code or 0))
        return code, (said.err if code else said.out).strip().splitlines()[-1]

    return called


def run_of(told: str) -> OpenedRun:
    return vaelab.open_run(told.removeprefix("run folder: "))


def pythae_folder(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """A folder as pythae 0.1.2 saves it, and its weights by name."""
    torch.manual_seed(0)
    layers = {
        "encoder.layers.0.0": nn.Linear(D, 512),
        "encoder.embedding": nn.Linear(512, UNITS),
        "encoder.log_var": nn.Linear(512, UNITS),
        "decoder.layers.0.0": nn.Linear(UNITS, 512),
        "decoder.layers.1.0": nn.Linear(512, D),
    }
    weights = {
        f"{name}.{part}": value.detach()
        for name, layer in layers.items()
        for part, value in layer.named_parameters()
    }
    config = {
        "name": "BetaVAEConfig",
        "input_dim": [1, SIDE, SIDE],
        "latent_dim": UNITS,
        "uses_default_encoder": True,
        "uses_default_decoder": True,
        "reconstruction_loss": "mse",
        "beta": 4.0,
    }
    folder.mkdir(exist_ok=True)
    (folder / "model_config.json").write_text(json.dumps(config | changes))
    (folder / "environment.json").write_text('{"name": "EnvironmentConfig", "python_version": "3.11"}')
    torch.save({"model_state_dict": weights}, folder / "model.pt")
    return weights


def pythae_loss(
    weights: dict[str, Tensor], images: Tensor, draws: int, kind: str
) -> tuple[float, float, float]:
    """Reconstruction of draws and of the means, and the KL, as pythae's loss_function has them, means over images."""

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def error(z: Tensor) -> float:
        decoded = linear("decoder.layers.1.0", F.relu(linear("decoder.layers.0.0", z))).sigmoid()
        if kind == "bce":
            return float(F.binary_cross_entropy(decoded, x, reduction="none").sum(1).mean())
        return float(0.5 * F.mse_loss(decoded, x, reduction="none").sum(1).mean())

    x = images.flatten(1)
    hidden = F.relu(linear("encoder.layers.0.0", x))
    mean, log_variance = linear("encoder.embedding", hidden), linear("encoder.log_var", hidden)
    kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
    drawn = [error(mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)) for _ in range(draws)]
    return sum(drawn) / draws, error(mean), float(kl.mean())


@pytest.mark.parametrize("kind", ["mse", "bce"])
def test_the_numbers_of_pythae_are_its_own(kind: str, evaluate: Evaluate, tmp_path: Path) -> None:
    weights = pythae_folder(tmp_path / "theirs", reconstruction_loss=kind)
    status, told = evaluate("foreign=pythae:theirs")
    assert status == 0, told
    run = run_of(told)
    sampled, at_mean, kl = pythae_loss(weights, run.images("test"), 20, kind)
    constant = D / 2 * math.log(2 * math.pi) if kind == "mse" else 0
    assert run.metrics["kl"] == pytest.approx(kl, rel=1e-5)
    assert run.metrics["reconstruction"] - constant == pytest.approx(sampled, rel=0.02)
    if kind == "mse":
        assert D / 2 * run.metrics["mse"] == pytest.approx(at_mean, rel=1e-5)
    assert run.metrics["kl_weight"] == run.info["beta_eff"] == run.config.kl_weight == 4
    foreign = {key: run.info["foreign"][key] for key in ("tool", "kl_weight", "kl_weight_unit")}
    assert foreign == {"tool": "pythae", "kl_weight": 4.0, "kl_weight_unit": "pythae"}
    assert run.info["status"] == "done"


def test_a_foreign_run_is_an_ordinary_run_folder(evaluate: Evaluate, tmp_path: Path) -> None:
    pythae_folder(tmp_path / "theirs")
    first, told = evaluate("foreign=pythae:theirs")
    assert first == 0, told
    run, folder = run_of(told), Path(told.removeprefix("run folder: "))
    assert folder == Path("outputs", "digits", "pythae", folder.name)
    before = dict(run.metrics)
    assert evaluate(f"run={folder}")[0] == 0
    assert run.metrics == before
    assert evaluate("foreign=pythae:theirs")[1] == told, "the same weights are the same run"
    assert evaluate("foreign=pythae:./theirs/")[1] == told, "however their place is written"
    torch.manual_seed(1)
    weights = pythae_folder(tmp_path / "theirs")
    torch.save({"model_state_dict": {k: v + 0.01 for k, v in weights.items()}}, tmp_path / "theirs/model.pt")
    assert evaluate("foreign=pythae:theirs")[1] != told, "other weights are another"
    from vaelab import report

    written = report.write("outputs/**", tmp_path / "report", ["vae-report"], 50, [])
    assert not written.problems
    assert "pythae_vae" in written.page.read_text(encoding="utf-8")


def test_a_vae_that_pythae_trained(evaluate: Evaluate, tmp_path: Path) -> None:
    pytest.importorskip("pythae", reason="pythae is not installed: pip install pythae")
    from pythae.models import BetaVAE, BetaVAEConfig

    pythae_folder(tmp_path / "theirs")
    status, told = evaluate("foreign=pythae:theirs")
    assert status == 0, told
    images, test = run_of(told).images("train"), run_of(told).images("test")
    torch.manual_seed(0)
    model = BetaVAE(BetaVAEConfig(input_dim=(1, SIDE, SIDE), latent_dim=UNITS, beta=0.1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(5):
        for batch in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            model({"data": images[batch]}).loss.backward()
            optimizer.step()
    model.eval().save(str(tmp_path / "trained"))
    with torch.no_grad():
        own = [model({"data": test}) for _ in range(20)]
    status, told = evaluate("foreign=pythae:trained")
    assert status == 0, told
    metrics = run_of(told).metrics
    assert metrics["kl"] == pytest.approx(float(own[0].reg_loss), rel=1e-4)
    sampled = sum(float(one.recon_loss) for one in own) / len(own)
    assert metrics["reconstruction"] - D / 2 * math.log(2 * math.pi) == pytest.approx(sampled, rel=0.02)
    assert metrics["kl_weight"] == pytest.approx(0.1)


def pytorch_vae_weights(hidden: list[int]) -> dict[str, Tensor]:
    """Weights of a VanillaVAE by their names in a Lightning checkpoint."""
    torch.manual_seed(0)
    network = models.pytorch_vae((1, SIDE, SIDE), UNITS, hidden)
    for name, value in network.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.normal_(std=0.3)
    return {f"model.{name}": value for name, value in network.state_dict().items()}


def pytorch_vae_forward(weights: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the code and its reconstruction, layer by layer from the names of the weights."""
    w = {name.removeprefix("model."): value for name, value in weights.items()}

    def normed(name: str, x: Tensor) -> Tensor:
        parts = [w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.leaky_relu(F.batch_norm(x, *parts))

    def grown(name: str, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 2, 1, 1)

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = images
    for i in range(2):
        name = f"encoder.{i}"
        x = normed(f"{name}.1", F.conv2d(x, w[f"{name}.0.weight"], w[f"{name}.0.bias"], 2, 1))
    mean = linear("fc_mu", x.flatten(1))
    x = linear("decoder_input", mean).view(len(images), -1, 2, 2)
    x = normed("decoder.0.1", grown("decoder.0.0", x))
    x = normed("final_layer.1", grown("final_layer.0", x))
    return mean, torch.tanh(F.conv2d(x, w["final_layer.3.weight"], w["final_layer.3.bias"], padding=1))


def test_pytorch_vae_computes_as_there_and_has_its_weight_in_nats(evaluate: Evaluate, tmp_path: Path) -> None:
    weights = pytorch_vae_weights([4, 6])
    exp = {"exp_params": {"kld_weight": 0.025, "LR": 0.005}}
    torch.save({"state_dict": weights, "hyper_parameters": exp, "epoch": 3}, tmp_path / "last.ckpt")
    status, told = evaluate("foreign=pytorch_vae:last.ckpt")
    assert status == 0, told
    run = run_of(told)
    images = run.images("test")
    mean, decoded = pytorch_vae_forward(weights, images)
    with torch.no_grad():
        torch.testing.assert_close(run.model().encode(images).mean, mean)
    assert run.metrics["mse"] == pytest.approx(float((decoded - images).square().mean()), rel=1e-4)
    assert run.metrics["kl_weight"] == pytest.approx(0.025 * D / 2), "mean squared error + w · KL"


def test_diffusers_computes_as_there(evaluate: Evaluate, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'vaelab[diffusers]'")
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    model = AutoencoderKL(1, 1, *blocks, (4, 8), latent_channels=2, norm_num_groups=2, sample_size=SIDE)
    model.save_pretrained(tmp_path / "theirs")
    status, told = evaluate("foreign=diffusers:theirs", "kl_weight=0.8")
    assert status == 0, told
    run = run_of(told)
    images = run.images("test")
    with torch.no_grad():
        posterior = model.eval().encode(2 * images - 1).latent_dist
        decoded = (model.decode(posterior.mean).sample + 1) / 2
    assert run.metrics["kl"] == pytest.approx(float(posterior.kl().mean()), rel=1e-4)
    assert run.metrics["mse"] == pytest.approx(float((decoded - images).square().mean()), rel=1e-4)
    assert run.metrics["kl_weight"] == pytest.approx(0.1), (
        "summed squared error of images in [-1, 1] + w · KL"
    )


class Evil:
    """What a pickle may hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("touched"),)


def damaged_pythae(folder: Path) -> None:
    pythae_folder(folder)
    torch.save({"model_state_dict": {"encoder": Evil()}}, folder / "model.pt")


def other_shapes(folder: Path) -> None:
    weights = pythae_folder(folder)
    wider = {**weights, "encoder.embedding.weight": torch.zeros(UNITS + 1, 512)}
    torch.save({"model_state_dict": wider}, folder / "model.pt")


def own_encoder(folder: Path) -> None:
    pythae_folder(folder, uses_default_encoder=False)
    (folder / "encoder.pkl").write_bytes(pickle.dumps([1]))


MISTAKES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no tool": (pythae_folder, "keras:theirs", "foreign=keras:theirs is none of pythae:PATH, pytorch_vae:PATH"),
    "no path": (pythae_folder, "pythae", "foreign=pythae is none of pythae:PATH"),
    "nothing there": (pythae_folder, "pythae:nowhere", "pythae:nowhere has no model_config.json"),
    "no checkpoint": (pythae_folder, "pytorch_vae:nowhere", "pytorch_vae:nowhere is no file"),
    "a pickle": (damaged_pythae, "pythae:theirs", "could run any code when it is read: save its state_dict alone"),
    "another network": (own_encoder, "pythae:theirs", "has a network of its own in encoder.pkl, a pickle"),
    "other shapes": (other_shapes, "pythae:theirs", "encoder.embedding.weight is [4, 512], and would be [3, 512]"),
    "another model": (lambda f: pythae_folder(f, name="VAMPConfig"), "pythae:theirs", "is a VAMPConfig: only VAE"),
    "other images": (
        lambda f: pythae_folder(f, input_dim=[1, 28, 28]), "pythae:theirs", "give dataset.size=[28,28], or other",
    ),
    "sizes that no memory has": (
        lambda f: pythae_folder(f, latent_dim=60_000), "pythae:theirs", "is [3, 512], and would be [60000, 512]",
    ),
    "no VanillaVAE": (pythae_folder, "pytorch_vae:theirs/model.pt", "model.pt holds no state_dict of tensors"),
    "no torch file": (pythae_folder, "pytorch_vae:theirs/model_config.json", "model_config.json"),
    "no AutoencoderKL": (pythae_folder, "diffusers:theirs", "diffusers:theirs has no config.json"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, evaluate: Evaluate, tmp_path: Path) -> None:
    make, given, said = MISTAKES[mistake]
    make(tmp_path / "theirs")
    status, told = evaluate(f"foreign={given}")
    assert status == 2, told
    assert told.startswith("vae-evaluate: ")
    assert said in told
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "outputs").exists()


def test_lambda_is_given_once(evaluate: Evaluate, tmp_path: Path) -> None:
    pythae_folder(tmp_path / "theirs")
    assert evaluate("foreign=pythae:theirs", "kl_weight=1")[1].endswith(
        "says itself that the weight of its KL is 4: leave kl_weight out"
    )
    torch.save(pytorch_vae_weights([4, 6]), tmp_path / "weights.pt")
    assert evaluate("foreign=pytorch_vae:weights.pt")[1].endswith(
        "does not say the weight of its KL: give kl_weight=... as pytorch_vae counts it"
    )


def test_diffusers_is_named_where_it_is_missing(
    evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    save_file({"a": torch.zeros(1)}, tmp_path / "theirs" / "diffusion_pytorch_model.safetensors")
    status, told = evaluate("foreign=diffusers:theirs", "kl_weight=1")
    assert (status, told) == (
        2,
        "vae-evaluate: an AutoencoderKL needs diffusers: pip install 'vaelab[diffusers]'",
    )
    (tmp_path / "theirs" / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(UsageError, match="is a VQModel: only AutoencoderKL is measured"):
        read(f"diffusers:{tmp_path / 'theirs'}")

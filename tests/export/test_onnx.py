"""ONNX: every shipped model, computed by ONNX Runtime as by torch; what has no ONNX says which layer."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import vaelab
from vaelab import UsageError, models
from vaelab.export import graphs
from vaelab.names import CONF

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SHAPE = (1, 8, 8)
SMALL = {"latent_dim": 3, "channels": 8, "hidden": 8}
VQ = SMALL | {"codes": 8, "code_dim": 4, "levels": [3, 2], "blocks": 1}
GAN = {"latent_dim": 3, "generator_maps": 4, "discriminator_maps": 4, "discriminator_norm": "none"}
SETTINGS = {
    "conv_ae": {"latent_dim": 3, "channels": 8},
    "fc_ae": {"latent_dim": 3, "hidden": [5], "negative_slope": 0.1},
    "spatial_ae": {"code_channels": 2, "channels": 4},
    "conv_vae": SMALL,
    "burgess_vae": SMALL,
    "fc_vae": {"latent_dim": 3, "hidden": [5], "activation": "relu"},
    "linear_vae": {"latent_dim": 3, "init": "random"},
    "spatial_vae": {"code_channels": 2, "channels": 4},
    "resnet_vae": SMALL | {"blocks": 1},
    "conditional_vae": SMALL | {"classes": 3},
    "ladder_vae": {"layers": [3, 2], "channels": 8, "hidden": 8},
    "vq_vae": VQ | {"layout": "spatial", "quantiser": "vq"},
    "dcgan": GAN | {"noise": "uniform", "ema": None},
    "acgan": GAN | {"noise": "normal", "ema": 0.9, "classes": 3, "conditioning": "one_hot"},
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    built: nn.Module = getattr(models, name)(SHAPE, **SETTINGS[name])
    return built.eval()


def test_all_models_are_here() -> None:
    assert set(SETTINGS) == {file.stem for file in (CONF / "model").glob("*.yaml")}


@pytest.mark.parametrize("name", SETTINGS)
def test_onnx_runtime_computes_what_torch_does(name: str, tmp_path: Path) -> None:
    model = network(name)
    written = dict(graphs.write(model, SHAPE, tmp_path))
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert max(written.values()) <= graphs.TOLERANCE
    told = {"labels": torch.tensor([0, 2])} if "classes" in model.offers else {}
    if "generator" in model.offers:
        z = model.draw(2)
        assert_equal(tmp_path / "generator.onnx", {"z": z} | told, [model.generate(z, *told.values())])
        return
    images = torch.rand(2, *SHAPE)
    code = model.encode(images, *told.values())
    moments = code.moments(code.mean)
    said = [code.mean] if moments is None else [code.mean, moments[1].view_as(code.mean)]
    assert_equal(tmp_path / "encoder.onnx", {"images": images} | told, said)
    decoded = [model.decode(code.mean, *told.values())]
    assert_equal(tmp_path / "decoder.onnx", {"z": code.mean} | told, decoded)


def assert_equal(file: Path, inputs: dict[str, Tensor], wanted: list[Tensor]) -> None:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(inputs)
    assert all(one.shape[0] == "batch" for one in session.get_inputs())
    given = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    for ours, theirs in zip(wanted, given, strict=True):
        np.testing.assert_allclose(theirs, ours.detach().numpy(), atol=1e-5)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Singular(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linalg.svdvals(x.flatten(2)).sum()


@pytest.mark.parametrize(
    ("layer", "reason"), [(Branch(), "data-dependent"), (Singular(), "ONNX has no _linalg_svd")]
)
def test_what_has_no_onnx_says_which_layer(
    layer: nn.Module, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = network("fc_vae")
    model.decoder.append(layer)
    with pytest.raises(
        UsageError, match=rf"the decoder, layer decoder\.2 \({type(layer).__name__}\),.*{reason}"
    ):
        list(graphs.write(model, SHAPE, tmp_path))
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]


def test_a_file_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "largest_difference", lambda path, part: float("nan"))
    with pytest.raises(vaelab.Failure, match="differs from torch by nan"):
        list(graphs.write(network("fc_vae"), SHAPE, tmp_path))
    assert not any(tmp_path.iterdir())


def test_the_command_writes_into_the_run_folder_and_says_the_difference(
    folder: Path, export: Callable[..., tuple[int, str]]
) -> None:
    status, said = export(f"run={folder}", "to=onnx")
    assert status == 0, said
    assert "ONNX Runtime equals torch: the largest difference is " in said.splitlines()[-1]
    run = vaelab.open_run(folder)
    images = torch.rand(2, *run.info["dataset"]["shape"])
    code = run.model().encode(images)
    with torch.no_grad():
        assert_equal(folder / "onnx" / "encoder.onnx", {"images": images}, [code.mean, code.log_variance])
    assert run.info["status"] == "done", "what is beside a run is no part of it"


def test_a_missing_package_is_one_line(
    folder: Path, export: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, said = export(f"run={folder}", "to=onnx")
    assert status == 2
    assert said.endswith("to=onnx needs onnx, onnxscript and onnxruntime: pip install 'vaelab[onnx]'")

"""The folder for Hugging Face: its card, what from_pretrained makes of it, its upload to a stand-in on this machine."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import vaelab
from tests.conftest import ROOT
from vaelab import UsageError
from vaelab.export import card
from vaelab.export.card import LICENCES
from vaelab.runs.folder import Run

Export = Callable[..., tuple[int, str]]
SHA = "0" * 40


@pytest.fixture
def exported(folder: Path, export: Export, tmp_path: Path) -> Path:
    (folder / "figures").mkdir(exist_ok=True)
    Image.new("L", (8, 8)).save(folder / "figures" / "reconstructions.png")
    status, said = export(f"run={folder}", "to=hub", f"output={tmp_path / 'exported'}")
    assert status == 0, said
    return tmp_path / "exported"


def test_the_folder_is_the_run_without_its_folder(folder: Path, exported: Path) -> None:
    run = vaelab.open_run(folder)
    there = [str(path.relative_to(exported)) for path in sorted(exported.rglob("*")) if path.is_file()]
    assert there == ["README.md", "config.json", "figures/reconstructions.png", "model.safetensors"]
    images = torch.rand(3, *run.info["dataset"]["shape"])
    shutil.rmtree(folder)
    before = torch.get_rng_state()
    model = vaelab.from_pretrained(exported)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random numbers go on"
    assert not model.training
    code = model.encode(images)
    assert torch.equal(model.decode(code.mean), model.decode(code.mean))
    assert set(load_file(exported / "model.safetensors")) == set(model.state_dict())
    assert json.loads((exported / "config.json").read_text())["metrics"] == run_metrics(exported)


def run_metrics(exported: Path) -> dict[str, float]:
    card = (exported / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    (result,) = header["model-index"][0]["results"]
    stored = json.loads((exported / "config.json").read_text())["metrics"]
    for metric in result["metrics"]:
        assert abs(metric["value"]) == abs(stored[metric["type"].lstrip("-")])
    return dict(stored)


def test_it_encodes_and_decodes_as_the_run_does(folder: Path, exported: Path) -> None:
    run = vaelab.open_run(folder)
    images = torch.rand(3, *run.info["dataset"]["shape"])
    ours, theirs = run.model(), vaelab.from_pretrained(exported)
    assert torch.equal(ours.encode(images).mean, theirs.encode(images).mean)
    z = torch.randn(2, *ours.code_shape)
    assert torch.equal(ours.decode(z), theirs.decode(z))


def test_the_docstring_of_from_pretrained_is_true(folder: Path, exported: Path) -> None:
    import doctest

    images = torch.rand(3, *vaelab.open_run(folder).info["dataset"]["shape"])
    given = {"from_pretrained": vaelab.from_pretrained, "exported": exported, "images": images}
    parsed = doctest.DocTestParser().get_doctest(vaelab.from_pretrained.__doc__ or "", given, "door", None, 0)
    assert doctest.DocTestRunner().run(parsed) == (0, 2)


def test_the_card_says_what_it_is(folder: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["library_name"] == "vaelab"
    assert header["model-index"][0]["name"] == "fc_vae on digits, λ = 1"
    assert "Licence of the images: CC BY 4.0" in card
    assert "![test images above what is decoded of their codes](figures/reconstructions.png)" in card
    assert "    vae-train model=fc_vae" in card
    assert f"{vaelab.open_run(folder).metrics['psnr']:.2f}" in card
    assert 'vaelab.from_pretrained(".")' in card


def test_the_card_names_no_folder_of_the_machine(folder: Path, export: Export, tmp_path: Path) -> None:
    run = Run(folder)
    run.update(command=["vae-train", "dataset.path=/home/someone/images.zip", "output_dir=/home/x", "lr=0.1"])
    status, said = export(f"run={folder}", "to=hub", f"output={tmp_path / 'exported'}")
    assert status == 0, said
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert "    vae-train lr=0.1\n" in card
    assert "/home" not in card + (tmp_path / "exported" / "config.json").read_text()


def test_the_licences_are_those_of_the_docs() -> None:
    table = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = dict(row.split("|")[1::2][:2] for row in table.splitlines() if row.startswith("| `"))
    for name, licence in LICENCES.items():
        words = re.findall(r"\w[\w.-]*", licence.partition(" (")[0])
        assert set(words) - {"for", "none", "stated"} <= set(re.findall(r"\w[\w.-]*", rows[f" `{name}` "])), (
            name
        )


def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(
    folder: Path, exported: Path, export: Export, tmp_path: Path
) -> None:
    assert export(f"run={folder}", "to=hub", f"output={exported}")[0] == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.md").write_text("mine")
    status, said = export(f"run={folder}", "to=hub", f"output={other}")
    assert status == 2
    assert said.endswith("holds something else: give a folder that is empty or not there yet")
    assert (other / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["to=diffusers"],
            "to=diffusers is refused: spatial_vae, whose code has the image's layout, has not the",
        ),
        (["to=torchscript"], "to=torchscript is refused: PyTorch has deprecated TorchScript"),
        (["to=tflite"], "to=tflite is not one of onnx, hub"),
        ([], "to is missing: give to=onnx or hub"),
        (["to=onnx", "push=me/mine"], "push=me/mine goes with to=hub"),
        (["to=hub", "push=mine"], "push=mine is no name at Hugging Face: give push=USER/NAME"),
        (["to=hub", "push=me/mine"], "push=me/mine needs a login: give `hf auth login`, or set HF_TOKEN"),
        (["to=hub", "run=nowhere"], "nowhere is not a folder"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], told: str, folder: Path, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    given = [] if any(word.startswith("run=") for word in words) else [f"run={folder}"]
    status, said = export(*given, *words)
    assert status == 2
    assert said.startswith(f"vae-export: {told}")
    assert len(said.splitlines()) == 1
    assert not (folder / "hub").exists()


def changed(exported: Path, **values: Any) -> None:
    stored = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps(stored | values))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"model": {"_target_": "os.system", "command": "true"}}, "model._target_=os.system is refused"),
        ({"model": {"_target_": "torch.load", "f": "x"}}, "model._target_=torch.load is refused"),
        ({"model": {"_target_": "vaelab.cli.train"}}, "model._target_=vaelab.cli.train is refused"),
        ({"model": {"_target_": "${oc.env:HOME}"}}, "which is never resolved there"),
        ({"image_shape": [1, 0, 8]}, "is damaged: image_shape, classes or model is missing"),
        ({"image_shape": [3, 60_000, 60_000]}, "holds the weights of another model"),
        (
            {
                "model": {
                    "_target_": "vaelab.models.fc_vae",
                    "latent_dim": 60_000,
                    "hidden": [60_000],
                    "activation": "relu",
                }
            },
            "of another model",
        ),
    ],
)
def test_a_strangers_folder_builds_nothing_else(exported: Path, values: dict[str, Any], told: str) -> None:
    changed(exported, **values)
    with pytest.raises(UsageError, match=told.replace("[", r"\[")):
        vaelab.from_pretrained(exported)


def test_damaged_weights_are_refused(exported: Path) -> None:
    weights = load_file(exported / "model.safetensors")
    data = bytearray((exported / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (exported / "model.safetensors").write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        vaelab.from_pretrained(exported)
    lost = {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()}
    save_file(lost, exported / "model.safetensors")
    with pytest.raises(UsageError, match="not finite"):
        vaelab.from_pretrained(exported)
    (exported / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"has no model\.safetensors"):
        vaelab.from_pretrained(exported)


class StandIn(BaseHTTPRequestHandler):
    """As much of the hub as an upload and a download of small files need."""

    protocol_version = "HTTP/1.1"
    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[tuple[str, str, str | None]]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(("POST", self.path, self.headers.get("Authorization")))
        if self.headers.get("Authorization") != "Bearer right":
            return self.answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            return self.answer({"url": f"http://{self.headers['Host']}/me/mine", "name": "me/mine"})
        if "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            return self.answer(
                {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]}
            )
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        self.answer(
            {
                "commitUrl": f"http://{self.headers['Host']}/me/mine/commit/{SHA}",
                "commitOid": SHA,
                "success": True,
            }
        )

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, self.headers.get("Authorization")))
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/me/mine/tree/"):
            listed = [{"type": "file", "path": n, "size": len(d), "oid": SHA} for n, d in self.files.items()]
            return self.answer(listed)
        if path.startswith("/api/models/me/mine"):
            siblings = [{"rfilename": name} for name in self.files]
            return self.answer({"id": "me/mine", "modelId": "me/mine", "sha": SHA, "siblings": siblings})
        data = self.files.get(path.partition(f"/resolve/{SHA}/")[2])
        if data is None:
            return self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        tag = f'"{len(data):040x}"'
        self.answer(data, 200, {"ETag": tag, "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, told: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The address of the stand-in, on this machine's loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    StandIn.files.clear()
    StandIn.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


# The real commands and the real door, in one process that knows the hub by HF_ENDPOINT alone.
SCRIPT = """
import os, sys
import torch
import vaelab
from vaelab import cli

def export(token):
    os.environ.pop("HYDRA_FULL_ERROR", None)
    os.environ["HF_TOKEN"] = token
    sys.argv = ["vae-export", "run=run", "to=hub", "push=me/mine"]
    try:
        cli.export()
    except SystemExit as ended:
        return ended.code

print("wrong", export("wrong"))
print("right", export("right"))
images = torch.rand(2, *vaelab.open_run("run").info["dataset"]["shape"])
ours, theirs = vaelab.open_run("run").model(), vaelab.from_pretrained("me/mine")
print("equal", torch.equal(ours.encode(images).mean, theirs.encode(images).mean))
for name in ("me/nothing", "a/b/c"):
    try:
        vaelab.from_pretrained(name)
    except vaelab.UsageError as error:
        print("none", error)
"""


def test_a_run_goes_up_and_comes_down_again(folder: Path, endpoint: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    given = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | given
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:vaelab", "-c", SCRIPT],
        cwd=folder.parent, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "wrong 1" in lines
    assert done.stderr.count("vae-export: push=me/mine failed: ") == 1
    assert f"uploaded: {endpoint}/me/mine" in lines
    assert "right None" in lines
    assert "equal True" in lines
    assert f"none me/nothing is neither a folder here nor a model at {endpoint}" in lines
    assert f"none a/b/c is neither a folder here nor a model at {endpoint}" in lines
    assert set(StandIn.files) == {"README.md", "config.json", "model.safetensors"}
    assert StandIn.files["model.safetensors"] == (folder / "hub" / "model.safetensors").read_bytes()


def test_what_a_run_folder_links_to_is_not_published(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "outside.png")
    figures = tmp_path / "run" / "figures"
    figures.mkdir(parents=True)
    (figures / "reconstructions.png").symlink_to(tmp_path / "outside.png")
    (figures / "samples.png").write_bytes(b"no picture")
    Image.new("L", (8, 8)).save(figures / "interpolations.png")
    assert card.figures(tmp_path / "run") == ["figures/interpolations.png"]


def test_the_command_is_shown_without_places_of_the_machine() -> None:
    words = [
        "vae-train",
        "kl_weight=5",
        "output_dir=out",
        "dataset.path=x.zip",
        "evaluation.fid.weights=/home/me/w.pt",
    ]
    assert card.command({"command": [*words, "plugins=[/home/me/p]"]}) == "vae-train kl_weight=5"

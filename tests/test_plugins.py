"""Modules of a user's own: what is allowed, for whom, and what is said otherwise."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaelab import UsageError, build, config, open_run, plugins
from vaelab.runs.perform import perform
from vaelab.runs.request import ask

NETWORK = """
import math
from tempfile import mkdtemp

from torch import load, nn

from vaelab.models import VAE


class Mine(VAE):
    def __init__(self, image_shape, width: int):
        pixels = math.prod(image_shape)
        decoder = nn.Sequential(nn.Linear(width, pixels), nn.Unflatten(1, image_shape))
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(pixels, 2 * width)), decoder, (width,))


class Labelless(Mine):
    def decode(self, z):
        return super().decode(z)


class Broken(Mine):
    def __init__(self, image_shape, width: int):
        {}["nothing"]


def wipe(path):
    open(path, "w").close()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a module, and an interpreter that has seen none of it before and after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setattr(plugins, "_allowed", {})
    (tmp_path / "my_net.py").write_text(NETWORK)
    yield tmp_path
    for name in ("my_net", "my_net_more", "my_broken"):
        __import__("sys").modules.pop(name, None)


def composed(*overrides: str):  # type: ignore[no-untyped-def]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", list(overrides))


def mine(target: str = "my_net.Mine"):  # type: ignore[no-untyped-def]
    cfg = composed(
        "model=fc_vae", "plugins=[my_net]", "dataset.size=8", "epochs=1", "evaluation=[test_metrics]"
    )
    cfg.model = {"_target_": target, "width": 3}
    cfg.trainer.device = "cpu"
    return cfg


def trained(here: Path) -> Path:
    cfg = mine()
    cfg.data_dir = cfg.output_dir = str(here / "outputs")
    asked = ask(cfg, {"dataset": "digits", "model": "mine"}, ["plugins=[my_net]"], ["vae-train"])
    perform(asked, processes=0)
    return asked.run.folder


def test_a_run_of_ones_own_opens_with_its_module_alone(here: Path) -> None:
    folder = trained(here)
    assert set(json.loads((folder / "run.json").read_text())["plugins"]) == {"my_net"}
    assert folder.name == "default", "plugins are no part of a run's name"
    assert open_run(folder).metrics["elbo"] < 0
    with pytest.raises(UsageError, match=r"is made of modules of a user's own: give plugins=\[my_net\]"):
        open_run(folder).model()
    assert open_run(folder, plugins=["my_net"]).model().code_shape == (3,)
    # What this run was given is not given to the next one that is opened.
    with pytest.raises(UsageError, match=r"give plugins=\[my_net\]"):
        open_run(folder).model()


def test_a_strangers_folder_gets_nothing_of_what_another_run_was_given(here: Path) -> None:
    folder, victim = trained(here), here / "precious"
    victim.write_text("mine")
    assert open_run(folder, plugins=["my_net"]).model()
    stored = OmegaConf.load(folder / "config.yaml")
    stored.model = {"_target_": "my_net.wipe", "path": str(victim)}
    info = json.loads((folder / "run.json").read_text())
    stranger = here / "stranger"
    stranger.mkdir()
    (stranger / "config.yaml").write_text(OmegaConf.to_yaml(stored))
    for recorded in ({}, {"my_net": "0" * 64}):
        (stranger / "run.json").write_text(json.dumps(info | {"plugins": recorded, "checksums": {}}))
        for given in ((), ("my_net",)):
            with pytest.raises(UsageError):
                open_run(stranger, plugins=given).model()
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["load", "mkdtemp", "nn", "math", "nothing", "Mine.__init__"])
def test_only_what_a_module_defines_itself_is_built(name: str, here: Path) -> None:
    plugins.allow(["my_net"])
    with pytest.raises(UsageError) as refused:
        build.check(mine(f"my_net.{name}"))
    assert "\n" not in str(refused.value)
    assert f"my_net.{name}" in str(refused.value)


def test_a_name_that_begins_like_an_allowed_one_is_none(here: Path) -> None:
    (here / "my_net_more.py").write_text("def wipe(path): pass\n")
    (here / "my_net.py").write_text(NETWORK + "\nfrom my_net_more import wipe\n")
    plugins.allow(["my_net"])
    with pytest.raises(UsageError, match=r"my_net\.py defines no wipe"):
        build.check(mine("my_net.wipe"))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Labelless", r"model: Labelless\.decode takes no labels: write decode\(self, \.\.\., labels=None\)"),
        ("Broken", r"model: my_net\.py, line \d+: KeyError: 'nothing'"),
    ],
)
def test_mistakes_of_a_network_are_told_before_the_data_are_read(
    target: str, message: str, here: Path
) -> None:
    plugins.allow(["my_net"])
    with pytest.raises(UsageError, match=message):
        build.rehearse(mine(f"my_net.{target}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", r"my_broken\.py, line 1: SyntaxError"),
        ("x = 1\nimport nonsense", r"my_broken\.py, line 2: ModuleNotFoundError: No module named 'nonsense'"),
        ("raise KeyError('why')", r"my_broken\.py, line 1: KeyError: 'why'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_with_its_line(text: str, message: str, here: Path) -> None:
    (here / "my_broken.py").write_text(text)
    with pytest.raises(UsageError, match=rf"plugins=\[my_broken\] cannot be imported: {message}"):
        plugins.allow(["my_broken"])


@pytest.mark.parametrize("name", ["nowhere", "my net", "../my_net", "sys", ""])
def test_what_is_no_module_is_refused(name: str, here: Path) -> None:
    with pytest.raises(UsageError, match="no module"):
        plugins.allow([name])


@pytest.mark.parametrize("recorded", [5, "abc", ["my_net"], {"my_net": 3}])
def test_a_damaged_record_of_modules_is_told(recorded: object, here: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.json is damaged: plugins"):
        plugins.recorded({"plugins": recorded}, here)


def test_a_package_is_hashed_with_all_its_files(here: Path) -> None:
    package = here / "my_package" / "inner"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").write_text("")
    before = plugins.hashes(["my_package"])
    (package / "more.py").write_text("x = 1\n")
    assert plugins.hashes(["my_package"]) != before

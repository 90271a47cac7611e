"""vaelab.train, sweep and report do what the commands do, in scripts, threads and notebooks that stay as they were."""

import doctest
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from PIL import Image

import vaelab
from tests.cli.conftest import Command
from vaelab import Failure, UsageError
from vaelab.commands import arguments
from vaelab.commands.from_python import words
from vaelab.names import CONF
from vaelab.runs.open_run import OpenedRun
from vaelab.sweep.strategies import choose

# Trained in an instant and not measured.
TINY: dict[str, Any] = {
    "model": "fc_vae",
    "model.hidden": [4],
    "latent_dim": 2,
    "epochs": 1,
    "evaluation": [],
}
TEXTS = [
    *(
        "digits",
        "a b",
        "5",
        "1e3",
        "true",
        "NULL",
        "nan",
        "-inf",
        "a,b",
        "[a]",
        "{a:1}",
        "choice(1,2)",
        "it's",
        '"x"',
    ),
    *(
        "'quoted'",
        "back\\slash",
        "end\\",
        "λ = 1",
        "图片",
        "a=b",
        "C:\\x",
        "line\nbreak",
        " ",
        "a:b",
        "#1",
        "$HOME",
        "~/x",
    ),
    *("１，２", "–help", "glob(*)", "x/y.z-1", "a.1e5", "e1", "_", "🙂"),
]
NUMBERS = [0, -3, 10**18, 0.1, -2.5e-7, 1e22, 1e-320, True, False, None]
NESTED = [
    [],
    [1, 2],
    ["a b", None, [True, "5"]],
    {"a": 1, "b.c": {"d": [0.5, "x,y"]}},
    [{"metric": "loss", "value": 120}],
]


def read_back(command: str, key: str, value: Any) -> Any:
    """What Hydra reads of the word that a Python value becomes, after all that a command does to its words."""
    (word,) = words(command, [], {key: value})
    (override,) = arguments.read(command, [word]).overrides
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return parsed.value()
    return [one.text if isinstance(one, QuotedString) else one for one in parsed.sweep_iterator()]


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, *NESTED], ids=repr)
def test_any_value_reaches_the_configuration_as_it_is(value: Any) -> None:
    assert read_back("train", "+model.anything", value) == value
    assert type(read_back("train", "+model.anything", [value])[0]) is not bool or isinstance(value, bool)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("key", ["dataset.path", "chapter"])
def test_paths_and_texts_are_what_they_are(key: str, text: str) -> None:
    expected = os.path.expanduser(text) if key == "dataset.path" else text
    assert read_back("train", key, text) == expected
    assert read_back("train", key, Path(text) if key == "dataset.path" else text) == str(
        Path(expected) if key == "dataset.path" else text
    )


@pytest.mark.parametrize(
    ("key", "value", "runs"),
    [
        ("kl_weight", [0, 0.1, 5], [0, 0.1, 5]),
        ("kl_weight", np.linspace(0, 1, 3), [0.0, 0.5, 1.0]),
        ("seed", range(3), [0, 1, 2]),
        ("lr", (np.float32(0.5), 1), [0.5, 1]),
        ("model", ["fc_vae", "conv_vae"], ["fc_vae", "conv_vae"]),
        ("dataset.path", ["a,b", "~/c", Path("d")], ["a,b", os.path.expanduser("~/c"), "d"]),
        ("+model.name", ["5", "true", "a,b"], ["5", "true", "a,b"]),
        ("model.hidden", [[400], [200, 100]], [[400], [200, 100]]),
    ],
)
def test_in_a_sweep_a_list_is_several_values(key: str, value: Any, runs: list[Any]) -> None:
    assert read_back("sweep", key, value) == runs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.hidden", [4]),
        ("snapshot_epochs", [1, 2]),
        ("evaluation", ["vae", "nll"]),
        ("plugins", ["mine"]),
    ],
)
def test_in_a_sweep_a_list_is_one_value_of_a_key_that_holds_one(key: str, value: Any) -> None:
    assert read_back("sweep", key, value) == value


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: vaelab.train(kl_wieght=1), "there is no key kl_wieght (did you mean kl_weight?)"),
        (
            lambda: vaelab.train(kl_weight=object()),
            "kl_weight: a value of type object is in no configuration",
        ),
        (lambda: vaelab.train(reported=[{"a b": 1}]), "reported: 'a b' is no key of a configuration"),
        (lambda: vaelab.train(kl_weight=[0, 1]), "kl_weight=[0, 1] is not a number"),
        (lambda: vaelab.train(model="fc_ae", kl_weight=5), "kl_weight=5 weights nothing"),
        (lambda: vaelab.train(dataset="nothing"), "dataset=nothing does not exist; choices: anime"),
        (lambda: vaelab.train("kl_weight"), "kl_weight has no value"),
        (lambda: vaelab.train("--help"), "--help is of the command line: give vae-train --help there"),
        (lambda: vaelab.train(**{"--config-dir": "x"}), "--config-dir is an option: give it as a word"),
        (lambda: vaelab.train(chapter=["a"]), "chapter=['a'] is not a text"),
        (lambda: vaelab.sweep(kl_weight=[]), "kl_weight=[] is no value"),
        (lambda: vaelab.sweep(model=["fc_vae", "nothing"]), "model=nothing does not exist"),
        (lambda: vaelab.report(runs=["nowhere"]), "there are no run folders in nowhere"),
        (lambda: vaelab.report(tables=["nothing"]), "there are no run folders in outputs/**"),
    ],
)
def test_mistakes_are_exceptions_of_one_line(
    call: Callable[[], Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as error:
        call()
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not any(tmp_path.iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> dict[str, Any]:
    """Where the runs of these tests are."""
    return {"output_dir": tmp_path_factory.mktemp("python"), "data_dir": data_dir}


@pytest.fixture(scope="module")
def run(place: dict[str, Any]) -> OpenedRun:
    return vaelab.train(
        "likelihood.sigma=0.1", **TINY | {"evaluation": ["reconstructions"]}, likelihood="gaussian", **place
    )


def test_the_run_is_that_of_the_command(
    run: OpenedRun, vae: Command, place: dict[str, Any], tmp_path: Path
) -> None:
    assert run.info["command"][0] == "vae-train"
    assert run.config.likelihood.sigma == 0.1
    done = vae("train", *run.info["command"][1:], cwd=tmp_path)
    assert "this run is already done" in done.stdout, done.stderr
    assert done.stdout.endswith(f"run folder: {run.run.folder}\n")
    assert not any(tmp_path.iterdir())


def test_a_run_that_is_done_is_opened(run: OpenedRun, place: dict[str, Any]) -> None:
    begun = run.run.folder.joinpath("model.safetensors").stat().st_mtime_ns
    keys = TINY | {"evaluation": ["reconstructions"], "likelihood": "gaussian", "likelihood.sigma": 0.1}
    again = vaelab.train(**keys, **place)
    assert again.run.folder == run.run.folder
    assert again.run.folder.joinpath("model.safetensors").stat().st_mtime_ns == begun


def test_a_figure_is_shown(run: OpenedRun) -> None:
    shown = run.show("reconstructions")
    with Image.open(run.run.folder / "figures" / "reconstructions.png") as stored:
        assert shown.tobytes() == stored.tobytes()
    assert shown._repr_png_()  # what a notebook asks for
    with pytest.raises(
        UsageError, match=r"has no figure reconstrutions \(did you mean reconstructions\?\); there are"
    ):
        run.show("reconstrutions")
    with pytest.raises(UsageError, match="has no figure"):
        run.show("../figures/reconstructions")


def state() -> list[Any]:
    """What of a process a guest leaves alone."""
    return [
        *(dict(os.environ), os.getcwd(), list(sys.argv), matplotlib.get_backend(), dict(matplotlib.rcParams)),
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        *(torch.get_num_threads(), torch.get_rng_state().tolist(), torch.is_grad_enabled()),
        *(torch.get_default_dtype(), torch.get_float32_matmul_precision(), np.random.get_state()[1].tolist()),
        (sys.stdout, sys.stderr, sys.modules["__main__"], GlobalHydra.instance().hydra),
    ]


def test_the_process_stays_as_it_was(place: dict[str, Any]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):  # a user's own Hydra
        before = state()
        vaelab.train(**TINY, **place, seed=1)
        assert state() == before
        vaelab.sweep(**TINY, **place, seed=[1, 2], kl_weight=1)
        assert state() == before
        with pytest.raises(Failure):
            vaelab.train(**TINY, **place, lr=1e30)
        with pytest.raises(UsageError):
            vaelab.train(kl_weight=-1)
        assert state() == before


def test_threads_take_turns_and_have_the_same_runs(place: dict[str, Any], tmp_path: Path) -> None:
    elsewhere = place | {"output_dir": tmp_path}
    parallel = ["hydra.launcher.strategy=parallel"]
    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(vaelab.train, **TINY, **elsewhere, seed=seed) for seed in (1, 2)]
        swept = threads.submit(vaelab.sweep, **TINY, **elsewhere, seed=[3, 4], kl_weight=1)
        found = [*(call.result() for call in calls), *swept.result()]
        assert threads.submit(choose, "cpu", 2, 2).result()[0] == "serial"
        refused = threads.submit(vaelab.sweep, *parallel, **TINY, **elsewhere, seed=[5, 6], kl_weight=1)
        assert "only the main thread does" in str(refused.exception())
    assert [run.config.seed for run in found] == [1, 2, 3, 4]
    alone = vaelab.train(**TINY, **place, seed=1)
    assert [row["loss"] for row in alone.history] == [row["loss"] for row in found[0].history]
    assert threading.active_count() < 20


def test_runs_that_fail_are_named(place: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failure, match="1 of 2 runs failed") as error:
        vaelab.sweep(**TINY, **place, kl_weight=[3, 1e38], lr=1e3)
    (note,) = error.value.__notes__
    assert "kl_weight=1e+38" in note
    assert "the loss is not finite" in note
    assert "failed" in capsys.readouterr().out


def test_a_report_is_of_the_runs_that_it_is_given(
    run: OpenedRun, place: dict[str, Any], tmp_path: Path
) -> None:
    vaelab.train(**TINY, **place, seed=1)
    page = vaelab.report(runs=[run], output_dir=tmp_path)
    assert page == tmp_path / "report" / "index.html"
    table = page.with_name("table.csv").read_text().splitlines()
    assert len(table) == 2
    assert "likelihood.sigma=0.1" in table[1]


SCRIPT = """
import sys
import vaelab
assert not {"torch", "hydra", "matplotlib"} & set(sys.modules)
words = "hydra.launcher.strategy=parallel", "evaluation=[]", "model=fc_vae", "latent_dim=2", "epochs=1"
runs = vaelab.sweep(*words, kl_weight=[0, 5], data_dir=sys.argv[1])
assert [run.config.kl_weight for run in runs] == [0, 5]
assert [run.info["sweep"]["strategy"] for run in runs] == ["parallel"] * 2
print("once")
"""


def test_a_script_needs_no_guard_for_its_processes(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", data_dir], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1


@pytest.mark.parametrize(
    "function", [vaelab.train, vaelab.SweepPackage.__call__, vaelab.ReportPackage.__call__]
)
def test_the_examples_of_the_docstrings_run(
    function: Callable[..., Any],
    data_dir: Path,
    place: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place["output_dir"])
    Path("data").exists() or Path("data").symlink_to(data_dir)
    parsed = doctest.DocTestParser().get_doctest(
        function.__doc__ or "", {"vaelab": vaelab}, "example", None, 0
    )
    assert parsed.examples
    assert doctest.DocTestRunner().run(parsed).failed == 0

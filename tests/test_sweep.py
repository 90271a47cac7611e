"""What a sweep chooses and prints, from run folders alone."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from hydra_plugins.vaelab_sweep.launcher import SweepLauncher
from vaelab import config
from vaelab.runs.folder import Run
from vaelab.runs.identity import run_name
from vaelab.runs.request import Request, ask
from vaelab.sweep import strategies as launch
from vaelab.sweep.progress import listing, table


def asked(folder: Path, *overrides: str) -> Request:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [*overrides, f"output_dir={folder}"])
    return ask(cfg, {"dataset": "digits", "model": "conv_vae"}, overrides, ["vae-sweep"])


def finished(one: Request, **metrics: float) -> Request:
    with one.run.locked():
        one.run.start(one.cfg, one.command, {"dataset": {}})
        one.run.write_json("evaluation/metrics.json", metrics)
        one.run.update(status="done", seconds=12.34)
    return one


@pytest.mark.parametrize(
    ("kind", "cores", "runs", "strategy"),
    [
        ("cuda", 16, 5, "interleaved"),
        ("cpu", 2, 5, "parallel"),
        ("cpu", 1, 5, "serial"),
        ("cpu", 8, 1, "serial"),
        ("cuda", 8, 1, "serial"),
    ],
)
def test_the_strategy_follows_from_device_cores_and_runs(
    kind: str, cores: int, runs: int, strategy: str
) -> None:
    chosen, because = launch.choose(kind, cores, runs)
    assert chosen == strategy
    assert because


def test_runs_are_alike_that_differ_in_numbers_only(tmp_path: Path) -> None:
    runs = [
        asked(tmp_path, *overrides)
        for overrides in (
            ["kl_weight=0"],
            ["kl_weight=5", "seed=3", "lr=1e-4"],
            ["latent_dim=8"],
            ["latent_dim=8", "kl_weight=2"],
            ["regulariser.schedule=linear"],
        )
    ]
    groups = [[runs.index(one) for one in group] for group in launch.alike(runs)]
    assert groups == [[0, 1], [2, 3], [4]]


def test_a_reported_value_is_kept_and_neither_renames_nor_trains_again(tmp_path: Path) -> None:
    reference = "reported=[{metric: loss, value: 120, when: {kl_weight: 5}, source: course}]"
    one = finished(asked(tmp_path, "kl_weight=5", reference))
    assert one.run.folder.name == "kl_weight=5"
    assert one.run.config.reported == one.cfg.reported
    assert one.run.config.reported[0].value == 120
    other = asked(tmp_path, "kl_weight=5")
    assert (other.run.folder, other.state) == (one.run.folder, "done")


def test_the_table_has_what_the_metrics_say(tmp_path: Path) -> None:
    numbers = {"elbo": -123.456, "reconstruction": 100.0, "kl": 23.456, "psnr": 21.5, "ssim": 0.9}
    runs = [
        finished(asked(tmp_path, "kl_weight=0.1"), **numbers, active_units=7.0),
        finished(asked(tmp_path, "kl_weight=100"), **numbers),
        asked(tmp_path, "kl_weight=5"),
    ]
    header, first, second, third = table(runs).splitlines()
    assert header.split() == [
        *("λ", "−ELBO", "reconstruction", "KL", "active", "units", "PSNR", "SSIM", "time", "folder"),
    ]
    folders = [str(one.run.folder) for one in runs]
    assert first.split() == ["0.1", "123.46", "100.00", "23.46", "7", "21.50", "0.900", "12.3", folders[0]]
    assert second.split()[4] == "–"
    assert third.split() == ["5", "not", "begun", folders[2]]


def test_the_table_of_a_gan_has_the_numbers_of_its_samples(tmp_path: Path) -> None:
    numbers = {"diversity_ms_ssim": 0.25, "sharpness": 0.0123, "gan_test_accuracy": 0.95}
    header, row = table([finished(asked(tmp_path, "model=acgan"), **numbers)]).splitlines()
    assert header.split("  ") == ["λ", "MS-SSIM of pairs", "sharpness", "GAN-test accuracy", "time", "folder"]
    assert row.split()[:5] == ["–", "0.250", "0.0123", "0.950", "12.3"]


def test_the_list_has_states(tmp_path: Path) -> None:
    failed = asked(tmp_path, "kl_weight=3")
    with failed.run.locked():
        failed.run.start(failed.cfg, failed.command, {"dataset": {}})
        failed.run.fail(ValueError("lost"))
    lines = listing(
        [finished(asked(tmp_path, "kl_weight=1")), asked(tmp_path, "kl_weight=2"), failed]
    ).splitlines()
    assert lines[0] == "3 runs"
    assert [line.split()[0] for line in lines[1:]] == ["done", "new", "new"]
    assert lines[3].endswith("(failed: lost)")
    assert not Run(failed.run.folder.with_name("kl_weight=2")).folder.exists()


def test_damaged_runs_are_named_and_do_not_end_the_table_and_the_list(tmp_path: Path) -> None:
    runs = [finished(asked(tmp_path, f"kl_weight={weight}"), kl=2.0) for weight in (1, 2, 3, 4)]
    (runs[1].run.folder / "run.json").write_text('{"status"')
    (runs[2].run.folder / "evaluation" / "metrics.json").write_text("[]")
    with runs[3].run.locked():
        runs[3].run.fail(ValueError("\x1b[2Jgone"))
    header, good, failed, *problems = table(runs).splitlines()
    assert (header.split()[0], good.split()[:2], failed.split()[:2]) == ("λ", ["1", "2.00"], ["4", "failed"])
    for one, file, problem in zip(runs[1:3], ("run.json", "metrics.json"), problems, strict=True):
        assert problem.startswith(f"{one.run.folder} is left out: ")
        assert f"{file} is damaged" in problem
    lines = listing(runs).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["done", "damaged", "done", "new"]
    assert lines[3].endswith(r"(failed: \x1b[2Jgone)")


def test_of_a_key_given_twice_the_last_names_the_run() -> None:
    assert run_name(["epochs=2", "kl_weight=1", "epochs=4"]) == "epochs=4,kl_weight=1"


def test_the_older_word_for_runs_that_share_a_device_means_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[Request], str, int | None]] = []
    monkeypatch.setattr(
        launch.interleaved,
        "perform",
        lambda left, device, at_once: calls.append((left, device.type, at_once)) or {},
    )
    done = finished(asked(tmp_path, "kl_weight=1", "trainer.device=cpu"))
    for strategy in ("ensemble", "interleaved"):
        assert SweepLauncher(strategy, 3).perform([done]) == {}
    assert calls == [([], "cpu", 3)] * 2

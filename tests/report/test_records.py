"""Run folders are found, read, grouped and named; damaged ones are told apart."""

from pathlib import Path

import numpy as np
import pytest

from vaelab import UsageError
from vaelab.report import dimensions, plane
from vaelab.report.reading import collect, find
from vaelab.report.records import Collection

from .conftest import Make, measured
from .test_report import written


def read(folder: Path, pattern: str = "") -> Collection:
    return collect(f"{folder}{pattern}", folder / "report")


def test_runs_are_found_below_a_folder_and_by_a_pattern(sweep: Path, run: Make) -> None:
    hidden = run(".submitit/one", 1.0)
    bracket = run("vae/latent_dim=8,snapshot_epochs=[1]", 1.0)
    inside = sweep / "report" / "old"
    inside.mkdir(parents=True)
    (inside / "run.json").write_text("{}")
    runs = {"vae/zero", "vae/one", "vae/hundred", "ae/default"}
    everything = [str(p.relative_to(sweep)) for p in find(f"{sweep}/**", sweep / "report")]
    assert set(everything) == runs | {str(bracket.relative_to(sweep))}
    assert everything == sorted(everything)
    assert find(str(sweep), sweep / "report") == find(f"{sweep}/**", sweep / "report")
    assert [p.name for p in find(f"{sweep}/vae/z*o*", sweep / "report")] == ["zero"]
    assert find(str(bracket), sweep / "report") == [bracket]
    assert hidden not in find(f"{sweep}/**", sweep / "report")


def test_no_run_is_one_line_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run folders in .*nothing.*: vae-train makes one"):
        collect(f"{tmp_path}/nothing/**", tmp_path / "report")


def test_runs_that_differ_in_weight_and_seed_are_one_line(sweep: Path, run: Make) -> None:
    run("vae/one-seed", 1.0, seed=1)
    run("vae/wide", 1.0, latent_dim=8, model__latent_dim=8)
    (section,) = read(sweep).sections
    assert [(line.label, [r.kl_weight for r in line.records]) for line in section.lines] == [
        ("conv_vae latent_dim=4", [0.0, 1.0, 1.0, 100.0]),
        ("conv_vae latent_dim=8", [1.0]),
        ("conv_ae", [None]),
    ]
    labels = section.labels
    assert labels["vae/zero"] == "conv_vae latent_dim=4 · λ = 0"
    assert labels["vae/one-seed"] == "conv_vae latent_dim=4 · λ = 1 · seed 1"
    assert labels["ae/default"] == "conv_ae"
    assert len(set(labels.values())) == len(labels)


def test_other_images_are_another_section(sweep: Path, run: Make) -> None:
    run("other/one", 1.0, dataset={"fingerprint": "def"})
    run("eyes/one", 1.0, dataset={"name": "eyes", "fingerprint": "xyz"})
    keys = [(s.dataset, s.fingerprint, len(s.records)) for s in read(sweep).sections]
    assert keys == [("digits", "abc", 4), ("digits", "def", 1), ("eyes", "xyz", 1)]


def test_weights_of_other_conventions_are_plotted_as_beta_eff(sweep: Path, run: Make) -> None:
    assert not read(sweep).sections[0].in_beta_eff
    run("vae/mean", 1e-4, loss__reduction="mean", info={"beta_eff": 0.61})
    (section,) = read(sweep).sections
    assert section.in_beta_eff
    assert {r.name: section.weight(r) for r in section.records}["vae/mean"] == 0.61
    assert section.labels["vae/mean"].endswith("λ = 0.0001 · β_eff = 0.61")


def damage_json(folder: Path) -> None:
    (folder / "run.json").write_text('{"status": "do')


def damage_config(folder: Path) -> None:
    (folder / "config.yaml").write_text("a: [")


def lose_config(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def other_program(folder: Path) -> None:
    (folder / "run.json").write_text('{"dataset": 3, "versions": {"vaelab": "0.0.1"}}')


def without_model(folder: Path) -> None:
    (folder / "config.yaml").write_text("loss: {_target_: a.b}\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_json, "not JSON"),
        (damage_config, "not YAML"),
        (lose_config, "has no config.yaml"),
        (other_program, "made by vaelab 0.0.1"),
        (without_model, "model._target_ is missing"),
    ],
)
def test_a_damaged_folder_is_named_and_left_out(damage: object, words: str, sweep: Path) -> None:
    damage(sweep / "vae" / "one")  # type: ignore[operator]
    collection = read(sweep)
    ((name, reason),) = collection.refused
    assert name == "vae/one"
    assert words in reason
    assert len(collection.records) == 3


def test_damaged_files_of_a_run_are_named_and_the_rest_is_read(sweep: Path) -> None:
    folder = sweep / "vae" / "one"
    (folder / "evaluation" / "metrics.json").write_text("[1")
    (folder / "arrays" / "prior_samples.npz").write_bytes(b"PK nothing")
    file = folder / "arrays" / "atlas.npz"
    file.write_bytes(file.read_bytes()[:-200])
    record = next(r for r in read(sweep).records if r.name == "vae/one")
    assert record.arrays("prior_samples", image="nhwc") == {}
    assert record.arrays("atlas", slice="sshwc") == {}
    assert record.arrays("atlas", slice="sshwc") == {}  # a second time is no second problem
    assert [problem.split(": ")[0].split("/")[-1] for problem in record.problems] == [
        "metrics.json is damaged",
        "prior_samples.npz is damaged",
        "atlas.npz is damaged",
    ]
    assert record.arrays("reconstructions", index="n")["index"].tolist() == list(range(30, 46))


def test_arrays_that_would_load_a_pickle_are_refused(sweep: Path) -> None:
    np.savez(sweep / "vae" / "one" / "arrays" / "atlas.npz", slice=np.array([{}], dtype=object))
    record = next(r for r in read(sweep).records if r.name == "vae/one")
    assert record.arrays("atlas", slice="sshwc") == {}
    assert "damaged" in record.problems[0]


def test_curves_have_the_seconds_of_training(sweep: Path) -> None:
    record = next(r for r in read(sweep).records if r.name == "vae/one")
    assert record.curve("elbo", "val") == ([1.0, 2.0], [3.0, 6.0], [-120.0, -60.0])
    assert record.curve("psnr", "train") == ([], [], [])


def test_states_of_runs_that_are_not_done(sweep: Path, run: Make) -> None:
    for status in ("running", "interrupted", "failed"):
        run(f"vae/{status}", 5.0, status=status, seed=status, info={"reason": "why"})
    records = {r.name: r for r in read(sweep).records}
    for status in ("running", "interrupted", "failed"):
        record = records[f"vae/{status}"]
        assert (record.status, record.epoch, record.is_evaluated) == (status, 2, False)
        assert np.isnan(record.metric("elbo"))


def test_runs_of_a_chapter_stand_together_and_apart_from_the_others(sweep: Path, run: Make) -> None:
    run("eyes/one", 1.0, chapter="AE and VAE")
    run("eyes/two", None, chapter="AE and VAE")
    titles = [(s.title, s.dataset, [r.name for r in s.records]) for s in read(sweep).sections]
    assert titles[1:] == [("AE and VAE", "digits", ["eyes/one", "eyes/two"])]
    assert titles[0][:2] == ("digits", "digits")
    assert len(titles[0][2]) == 4


def test_an_experiment_stands_for_the_settings_that_follow_from_it(run: Make, tmp_path: Path) -> None:
    made = {"lr": 0.005, "batch_size": 4}, {"lr": 0.001, "batch_size": 32}
    for name, settings in zip(("eyes", "eyes_tuned"), made, strict=True):
        for epochs in (5, 10):
            run(f"epochs={epochs},experiment={name}", 1.0, epochs=epochs, **settings)
    (section,) = read(tmp_path / "outputs").sections
    assert sorted(line.label for line in section.lines) == [
        "conv_vae eyes epochs=10",
        "conv_vae eyes epochs=5",
        "conv_vae eyes_tuned epochs=10",
        "conv_vae eyes_tuned epochs=5",
    ]
    run("epochs=20", 1.0, epochs=20, **made[0])  # of no experiment, so that no name stands for it
    (section,) = read(tmp_path / "outputs").sections
    assert "conv_vae batch_size=4 epochs=5 lr=0.005" in [line.label for line in section.lines]


def test_one_setting_says_more_than_the_experiment(run: Make, tmp_path: Path) -> None:
    for name, lr in (("eyes", 0.005), ("eyes_tuned", 0.001)):
        run(f"experiment={name}", 1.0, lr=lr)
    (section,) = read(tmp_path / "outputs").sections
    assert sorted(line.label for line in section.lines) == ["conv_vae lr=0.001", "conv_vae lr=0.005"]


def test_names_are_ordered_by_their_numbers_whatever_their_digits(run: Make, tmp_path: Path) -> None:
    for epochs, name in ((10, "epochs=10"), (5, "epochs=5"), (7, "٣"), (8, "a")):
        run(name, 1.0, epochs=epochs)
    (section,) = read(tmp_path / "outputs").sections
    assert [r.name for r in section.records] == ["a", "epochs=5", "epochs=10", "٣"]


def test_a_chapter_of_two_data_sets_says_which(run: Make, tmp_path: Path) -> None:
    run("one", 1.0, chapter=" AE\nand VAE ")
    run("two", 1.0, chapter="AE and VAE", dataset={"name": "eyes", "fingerprint": "xyz"})
    run("three", 1.0, status="running")
    run("blank", 5.0, status="running", chapter="  ")
    run("long", 1.0, chapter="x" * 300)
    titles = [section.title for section in read(tmp_path / "outputs").sections]
    assert titles == ["AE and VAE · digits", "x" * 300, "AE and VAE · eyes", "digits"]  # without numbers last
    written(tmp_path / "outputs")  # no name of a file is too long


def test_plugins_tell_no_runs_apart(run: Make, tmp_path: Path) -> None:
    run("vae/older", 1.0)
    run("vae/newer", 5.0, plugins=[])
    run("vae/own", 100.0, plugins=["my_evaluations"])
    (section,) = read(tmp_path / "outputs").sections
    assert [len(line.records) for line in section.lines] == [3]


def test_a_run_with_a_target_stands_at_the_weight_that_was_found(run: Make, tmp_path: Path) -> None:
    parts = {
        "loss": {"_target_": "vaelab.losses.ELBO", "reduction": "sum"},
        "likelihood": {"_target_": "vaelab.losses.likelihoods.Bernoulli"},
    }
    regulariser = {"_target_": "vaelab.losses.regularisers.KL", "kl_weight": 1, "target": None}
    run("vae/given", 1.0, regulariser=regulariser, metrics=measured(-100, 20, 21, 0.8), **parts)
    found = measured(-120, 5.02, 18, 0.7) | {"kl_weight": 4.5678}
    run("vae/found", 1.0, regulariser=regulariser | {"target": 5}, metrics=found, **parts)
    (section,) = read(tmp_path / "outputs").sections
    (line,) = section.lines
    assert [record.kl_weight for record in line.records] == [1, 4.57]
    assert set(section.labels.values()) == {"λ = 1", "λ = 4.57, found for a KL of 5"}


def test_losses_are_told_apart_by_their_names_and_by_what_each_has(run: Make, tmp_path: Path) -> None:
    likelihood = {"_target_": "vaelab.losses.likelihoods.Bernoulli"}
    elbo = {"_target_": "vaelab.losses.ELBO", "reduction": "sum"}
    regulariser = {"_target_": "vaelab.losses.regularisers.KL", "kl_weight": 1, "schedule": "constant"}
    run("vae/elbo", 1.0, loss=elbo, likelihood=likelihood, regulariser=regulariser)
    for estimator in ("standard", "dreg"):
        iwae = {"_target_": "vaelab.losses.IWAE", "samples": 5, "estimator": estimator}
        run(f"vae/{estimator}", 1.0, loss=iwae, likelihood=likelihood, regulariser=None)
    (section,) = read(tmp_path / "outputs").sections
    assert set(section.labels.values()) == {
        "conv_vae loss=elbo regulariser=kl · λ = 1",
        "conv_vae loss=iwae loss.estimator=standard",
        "conv_vae loss=iwae loss.estimator=dreg",
    }


def test_a_codebook_has_a_rate_and_a_prior_but_no_weight(run: Make, tmp_path: Path) -> None:
    parts = {
        "model": {"_target_": "vaelab.models.vq_vae"},
        "loss": {"_target_": "vaelab.losses.ELBO", "reduction": "sum"},
        "likelihood": {"_target_": "vaelab.losses.likelihoods.Bernoulli"},
        "regulariser": {"_target_": "vaelab.losses.regularisers.Commitment", "weight": 0.25},
    }
    told = {"model": {"prior": "prior of counted vectors, each place by itself", "code": None}}
    run("vq/default", 1.0, info=told, metrics=measured(-230, 150, 22, 0.9) | {"perplexity": 37.2}, **parts)
    (section,) = read(tmp_path / "outputs").sections
    (record,) = section.records
    assert (record.kl_weight, record.kind, record.has_prior) == (None, "VAE", True)
    drawn = plane.rate_distortion(section, record.convention)
    assert drawn
    (point,) = (trace for trace in drawn.traces if trace.get("meta") == record.name)
    assert (point["x"], point["y"]) == ([150], [80])
    page = written(tmp_path / "outputs").page.read_text(encoding="utf-8")
    assert "rate 150.00 nats per image, perplexity of the codebook 37.2" in page
    assert "no prior" not in page
    assert "(no rate)" not in page


def test_the_kl_of_layers_stands_one_on_the_other(run: Make, tmp_path: Path) -> None:
    for weight, layers in ((1.0, (20.0, 3.0)), (5.0, (8.0, 0.5))):
        numbers = {f"kl_{number}": kl for number, kl in enumerate(layers, 1)}
        run(f"vae/{weight}", weight, metrics=measured(-100, sum(layers), 20, 0.7) | numbers)
    (section,) = read(tmp_path / "outputs").sections
    chart = dimensions.kl_of_layers(section)
    assert chart
    assert chart.layout["barmode"] == "stack"
    assert [(trace["name"], trace["y"]) for trace in chart.traces] == [
        ("layer 1", [20, 8]),
        ("layer 2", [3, 0.5]),
    ]
    run("vae/plain", 100.0)
    assert not dimensions.kl_of_layers(read(tmp_path / "outputs" / "vae" / "plain").sections[0])


def test_of_many_runs_some_are_pictured_and_all_are_counted(run: Make, tmp_path: Path) -> None:
    for seed in range(25):
        for weight in (1.0, 5.0):
            metrics = measured(-100.0 - seed - weight, 20.0 / weight, 20.0, 0.8)
            run(f"vae/{weight}-{seed}", weight, seed=seed, metrics=metrics, stored={})
    (section,) = read(tmp_path / "outputs").sections
    few = section.with_pictures
    assert [(r.kl_weight, r.seed) for r in few.records] == [(1.0, 0), (5.0, 0), (5.0, 24)]
    assert {r.name for line in few.lines for r in line.records} == {r.name for r in few.records}
    assert len(section.records) == 50
    done = written(tmp_path / "outputs")
    page = done.page.read_text(encoding="utf-8")
    assert "Pictures, curves and settings are of 3 runs" in page
    assert "The other 47 have their numbers" in page
    assert "mean over runs" in page, "sentences and the plane are of all"
    assert len((done.page.parent / "table.csv").read_text(encoding="utf-8").splitlines()) == 51

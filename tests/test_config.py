"""The configuration files compose, fit what they build, and refuse what does not fit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError, build, config, hardware, mistakes
from vaelab.keys import flatten, kl_weight_of

MODELS = sorted(p.stem for p in (config.CONF / "model").glob("*.yaml"))
DATASETS = sorted(p.stem for p in (config.CONF / "dataset").glob("*.yaml"))


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        yield


def composed(*overrides: str, name: str = "train") -> DictConfig:
    return compose(name, list(overrides))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_combination_composes_and_fits_what_it_builds(model: str, dataset: str) -> None:
    cfg = composed(f"model={model}", f"dataset={dataset}")
    config.check(cfg, config.Train)
    build.check(cfg)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_brings_the_loss_and_evaluations_that_fit(model: str) -> None:
    cfg = composed(f"model={model}")
    network = build.model(cfg, (1, 32, 32), classes=3)
    criterion = build.loss(cfg, network, 100, (1, 8, 8))
    assert (criterion.needs == "prior") == model.endswith("vae")
    assert (criterion.needs == "generator") == model.endswith("gan")
    evaluations = build.evaluations(cfg, network)
    assert ("prior_samples" in evaluations) == model.endswith("vae")
    assert ("z_interpolations" in evaluations) == model.endswith("gan")


def test_a_group_that_others_look_at_is_missed_in_words() -> None:
    for override in ("~model", "model=[conv_vae,dcgan]"):
        with pytest.raises(ConfigCompositionException) as refused:
            composed(override)
        words = mistakes.describe(refused.value, "train")
        assert words == "model has not one choice: give model=NAME"


def test_an_interpolation_of_no_group_is_quoted() -> None:
    error = ConfigCompositionException(
        "Error resolving interpolation '${a.b}', possible interpolation keys: dataset, model"
    )
    assert mistakes.describe(error, "train").startswith("Error resolving interpolation '${a.b}'")


def test_an_acgan_of_drawn_faces_is_told_the_hair_colour_unless_another_column_is_asked_for() -> None:
    told = ["dataset=anime", "model=acgan"]
    assert composed(*told).dataset.attribute == "hair_color"
    assert composed(*told, "dataset.attribute=eye_color").dataset.attribute == "eye_color"
    assert composed("dataset=anime", "model=dcgan").dataset.attribute is None
    assert composed("dataset=faces", "model=acgan").dataset.attribute == "smiling"


def test_optimizers_are_built() -> None:
    for choice in ("adam", "adamw"):
        cfg = composed(f"optimizer={choice}", "lr=0.5")
        (optimizer,) = build.optimizers(
            cfg, build.model(cfg, (1, 8, 8)).players(), torch.device("cpu")
        ).values()
        assert optimizer.param_groups[0]["lr"] == 0.5


def test_without_a_compiler_a_run_is_not_compiled_and_says_so() -> None:
    import torch._inductor.config

    cfg = composed("trainer.compile=true", "trainer.device=cpu")
    with torch._inductor.config.patch({"cpp.cxx": (None, "/nonexistent")}):
        chosen = hardware.choose(cfg.trainer)
    assert not chosen.compile
    assert "no working C++ compiler" in chosen.reasons["compile"]


def test_a_kl_weight_that_weights_nothing_is_refused() -> None:
    autoencoder, vae = composed("model=conv_ae"), composed()
    for cfg in (autoencoder, composed("loss=iwae")):
        with pytest.raises(UsageError, match="kl_weight=3 weights nothing, for the chosen loss has no λ"):
            config.refuse_unused_kl_weight([cfg], ["epochs=1", "kl_weight=3"])
    config.refuse_unused_kl_weight([autoencoder, vae], ["kl_weight=3"])


def test_the_way_of_the_kl_weight() -> None:
    """One default, one interpolation, one field: nothing copies the value."""
    files = [file for file in config.CONF.rglob("*.yaml") if file.parent.name != "experiment"]
    lines = [line.split("#")[0].strip() for file in files for line in file.read_text().splitlines()]
    settings = [line for line in lines if line.startswith("kl_weight:")]
    assert sorted(set(settings)) == ["kl_weight: ${kl_weight}", "kl_weight: 1.0", "kl_weight: null"]
    assert settings.count("kl_weight: 1.0") == 1
    cfg = composed("kl_weight=5")
    assert build.loss(cfg, build.model(cfg, (1, 8, 8)), 100, (1, 8, 8)).kl_weight == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kl_weight=abc", "kl_weight=abc is not a number at least 0"),
        ("kl_weight=-1", "kl_weight=-1 is not a number at least 0"),
        ("kl_weight=nan", "kl_weight=nan is not"),
        ("epochs=0", "epochs=0 is not a whole number at least 1"),
        ("epochs=2.5", "epochs=2.5 is not a whole number at least 1"),
        ("batch_size=0", "batch_size=0 is not"),
        ("latent_dim=0", "latent_dim=0 is not a whole number from 1 to 65536"),
        ("seed=18446744073709551616", "seed=18446744073709551616 is not a whole number from 0"),
        ("dpi=100000", "dpi=100000 is not a whole number from 10 to 1200"),
        ("data_dir=''", "data_dir is empty: give data_dir=..."),
        ("kl_weight=null", "kl_weight=null is not a number at least 0"),
        ("trainer.compile='true'", "is not one of auto or true or false"),
        ("lr=0", "lr=0 is not a number above 0"),
        ("rerun=1", "rerun=1 is not true or false"),
        ("snapshot_epochs=[1,0]", "snapshot_epochs=[1, 0] is not a list, each a whole number at least 1"),
        ("trainer.device=cdua", "trainer.device=cdua is not one of auto, cpu, cuda (did you mean cuda?)"),
        ("trainer.compile=maybe", "trainer.compile=maybe is not one of auto or true or false"),
        ("trainer.gradient_clip=0", "trainer.gradient_clip=0 is not a number above 0 or null"),
        ("+trainer.devcie=cpu", "there is no key trainer.devcie (did you mean trainer.device?)"),
        ("+epoch=3", "there is no key epoch (did you mean epochs?)"),
        ("~optimizer", "optimizer is missing"),
        ("dataset.data_dir=${nowhere}", "nowhere"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(override: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        config.check(composed(override), config.Train)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+model.chanels=3", "there is no key model.chanels (did you mean model.channels?)"),
        ("+model.image_shape=[1,2,3]", "there is no key model.image_shape"),
        ("model.channels=many", "model.channels=many is not a whole number"),
        ("~model.channels", "model.channels is missing"),
        (
            "loss.reduction=men",
            "loss.reduction=men is not one of sum, mean, mean_signed (did you mean mean?)",
        ),
        ("likelihood._target_=vaelab.losses.ELBO", "is refused"),
        ("model._target_=os.system", "model._target_=os.system is refused"),
        ("model._target_=vaelab.models.gan_of_the_future", "is refused"),
        ("model._target_=vaelab.runs.folder.os.getenv", "is refused"),
        ("loss._target_=vaelab.training.loop.torch.load", "is refused"),
        (
            "regulariser.target={_target_:pathlib.Path.cwd}",
            "regulariser.target={'_target_': 'pathlib.Path.cwd'} is not a number",
        ),
        ("optimizer.betas=[{_target_:pathlib.Path.cwd}]", "is not a list, each a number"),
        ("regulariser.kl_weight=-3", "regulariser.kl_weight=-3 is not a number at least 0"),
        ("regulariser.capacity=-1", "regulariser.capacity=-1 is not a number at least 0 or null"),
        ("model.hidden=0", "model.hidden=0 is not a whole number from 1 to 65536"),
        ("model.channels=99999999", "model.channels=99999999 is not a whole number from 1 to 4096"),
        ("evaluation.prior_samples.count=1000000000000", "is not a whole number from 1 to 4096"),
        (
            "evaluation.traversals.steps=1",
            "evaluation.traversals.steps=1 is not a whole number from 2 to 100",
        ),
        ("dataset.size=1", "dataset.size=1 is not a whole number from 2 to"),
        ("dataset.size=[8,1]", "dataset.size=[8, 1] is not a whole number from 2 to"),
        (
            "evaluation.reconstructions.count=few",
            "evaluation.reconstructions.count=few is not a whole number",
        ),
    ],
)
def test_what_does_not_fit_its_group_is_refused(override: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        build.check(composed(override))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=conv_ae", "loss=elbo"], "loss=elbo needs a prior"),
        (["model=conv_vae", "loss=reconstruction"], "use kl_weight=0"),
        (["model=conv_ae", "loss=iwae"], "loss=iwae needs a posterior"),
        (["model=vq_vae", "loss=iwae"], "loss=iwae needs a posterior"),
        (["loss=iwae", "regulariser=tc"], "loss=iwae takes no regulariser: leave regulariser=... out"),
        (["loss=iwae", "loss.samples=0"], "loss.samples=0 is not a whole number from 1 to 4096"),
        (["loss=iwae", "loss.estimator=drge"], "one of standard, dreg (did you mean dreg?)"),
        (["model=vq_vae", "evaluation=[nll]"], "evaluation=nll needs a posterior"),
        (["model=conv_ae", "evaluation=[nll]"], "evaluation=nll needs a posterior"),
        (["evaluation=[nll]", "evaluation.nll.samples=0"], "evaluation.nll.samples=0 is not a whole number"),
        (["evaluation=[nll]", "evaluation.nll.images=all"], "whole number from 1 to 100000 or null"),
        (["model=conv_ae", "evaluation=[prior_samples]"], "evaluation=prior_samples needs a prior"),
        (["model=conv_vae", "loss=adversarial"], "loss=adversarial needs a generator"),
        (["model=dcgan", "loss=elbo"], "loss=elbo needs a prior"),
        (["model=dcgan", "evaluation=[vae]"], "needs an encoder, which this model has not"),
        (["model=dcgan", "evaluation=[class_pairs]"], "evaluation=class_pairs needs classes to ask for"),
        (["model=dcgan", "model.ema=1.0"], "ema=1.0 is not between 0 and 1"),
        (["model=dcgan", "loss.label_flips=0.5"], "label_flips=0.5 is not from 0 to below 0.5"),
        (["model=dcgan", "loss.r1=-1.0"], "loss.r1=-1.0 is not a number at least 0"),
        (["latent_dim=513"], "model.latent_dim=513 is not a whole number from 1 to 512"),
        (["model.hidden=-3"], "model.hidden=-3 is not a whole number from 1"),
    ],
)
def test_combinations_without_sense_are_refused_in_words(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        build.rehearse(composed(*overrides))
    assert message in str(refused.value)


@pytest.mark.parametrize("target", ["pathlib.Path.cwd", "vaelab.runs.folder.os.getcwd", "torch.load"])
def test_a_hostile_run_folder_builds_nothing(target: str) -> None:
    cfg = composed("model=fc_vae")
    cfg.regulariser.kl_weight = {"_target_": target}
    with pytest.raises(UsageError, match=r"regulariser\.kl_weight=.* is not a number at least 0"):
        build.loss(cfg, build.model(cfg, (1, 8, 8)), 100, (1, 8, 8))
    cfg.regulariser = {"_target_": target}
    with pytest.raises(UsageError, match="refused"):
        build.loss(cfg, build.model(cfg, (1, 8, 8)), 100, (1, 8, 8))
    cfg.loss = {"_target_": target}
    with pytest.raises(UsageError, match="refused"):
        build.loss(cfg, build.model(cfg, (1, 8, 8)), 100, (1, 8, 8))


def test_an_experiment_overrules_defaults_and_is_overruled_by_the_command_line(tmp_path: Path) -> None:
    order = [
        d if isinstance(d, str) else next(iter(d))
        for d in OmegaConf.load(config.CONF / "train.yaml").defaults
    ]
    groups = [name for name in order if not name.startswith("override")]
    assert (groups[0], groups[-1]) == ("_self_", "experiment")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /model: conv_ae\nepochs: 7\nkl_weight: 3\n"
    )
    cfg = composed(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", "epochs=9")
    assert (cfg.epochs, cfg.kl_weight, cfg.model._target_) == (9, 3, "vaelab.models.conv_ae")
    assert cfg.loss._target_ == "vaelab.losses.Reconstruction"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            "5",
            "reported=5 is not a list, each {metric: ..., value: ..., finding: ..., when: ..., source: ...,"
            " split: ...}",
        ),
        (
            "[loss]",
            "reported[0]=loss is not {metric: ..., value: ..., finding: ..., when: ..., source: ..., split: ...}",
        ),
        ("[{value: 120}]", "reported[0] is not one thing: give metric and value, or finding"),
        (
            "[{metric: loss, value: 120}, {metric: loss}]",
            "reported[1] is not one thing: give metric and value, or finding",
        ),
        ("[{metric: loss, value: 120, finding: none}]", "reported[0] is not one thing"),
        ("[{source: me}]", "reported[0] is not one thing"),
        ("[{metric: 3, value: 120}]", "reported[0].metric=3 is not text"),
        ("[{metric: loss, value: high}]", "reported[0].value=high is not a number"),
        ("[{metric: loss, value: 1, sauce: x}]", "reported[0].sauce (did you mean reported[0].source?)"),
        ("[{metric: loss, value: 1, source: 3}]", "reported[0].source=3 is not text or null"),
        ("[{metric: loss, value: 1, when: 3}]", "reported[0].when=3 is not {key: value, ...}"),
        (
            "[{metric: loss, value: 1, when: {kl_wieght: 1}}]",
            "reported[0].when: there is no single value kl_wieght (did you mean kl_weight?)",
        ),
        ("[{metric: loss, value: 1, when: {model: fc_vae}}]", "there is no single value model"),
    ],
)
def test_a_reported_value_that_is_none_is_refused_by_its_place(entries: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        config.check(composed(f"reported={entries}"), config.Train)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_experiment_holds_reported_values(tmp_path: Path) -> None:
    assert composed().reported == []
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "course.yaml").write_text(
        "# @package _global_\n"
        "reported:\n"
        "  - {metric: loss, value: 120, when: {kl_weight: 1, loss.reduction: sum}, source: figure 3}\n"
        "  - {metric: psnr, value: 21.5, when: {model.channels: 32}}  # a key that this model has not\n"
        "  - {metric: ssim, value: 0.7}\n"
    )
    cfg = composed(f"hydra.searchpath=[file://{tmp_path}]", "experiment=course", "model=fc_vae")
    assert "channels" not in cfg.model
    config.check(cfg, config.Train)
    assert OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(cfg, resolve=True)).reported) == [
        {
            "metric": "loss",
            "value": 120,
            "when": {"kl_weight": 1, "loss.reduction": "sum"},
            "source": "figure 3",
        },
        {"metric": "psnr", "value": 21.5, "when": {"model.channels": 32}},
        {"metric": "ssim", "value": 0.7},
    ]


def test_reading_the_stored_configuration_gives_the_same_network() -> None:
    cfg = composed("model=fc_vae", "latent_dim=5")
    stored = OmegaConf.create(OmegaConf.to_yaml(cfg, resolve=True))
    a, b = (build.model(c, (1, 8, 8)).state_dict() for c in (cfg, stored))
    assert all((a[k] == b[k]).all() for k in a)


def test_a_configuration_by_dotted_keys() -> None:
    values = {"a": {"b": 1, "c": {"d": None}}, "e": [1, 2], "f": {}}
    assert flatten(values) == {"a.b": 1, "a.c.d": None, "e": [1, 2], "f": {}}


@pytest.mark.parametrize(
    ("overrides", "metrics", "weight"),
    [
        (["kl_weight=5"], {"kl_weight": 4.0}, 5),
        (["kl_weight=conditioned"], {}, "conditioned"),
        (["+regulariser.target=20"], {"kl_weight": 0.123456}, 0.123),
        (["+regulariser.target=20"], {}, 1),  # before it is measured
        (["model=conv_ae"], {}, None),
    ],
)
def test_the_weight_of_the_kl_of_a_run(
    overrides: list[str], metrics: dict[str, float], weight: object
) -> None:
    assert kl_weight_of(composed(*overrides), metrics) == weight

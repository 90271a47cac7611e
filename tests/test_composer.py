"""A sweep's configurations are those that Hydra composes, however its overrides are written."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.vaelab_sweep._composer import Composer
from hydra_plugins.vaelab_sweep.sweeper import jobs_of
from vaelab.commands.compose import Context, without_hydra
from vaelab.names import CONF
from vaelab.runs.folder import Run
from vaelab.runs.identity import find

ONE = ["kl_weight=1"]  # where the default list of KL weights would only take time


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HydraContext]:
    monkeypatch.chdir(tmp_path)
    version.setbase("1.3")
    hydra = Hydra.create_main_hydra2("vaelab", create_config_search_path(str(CONF)))
    yield Context(hydra.config_loader, Callbacks(), ["vae-sweep"])
    GlobalHydra.instance().clear()


def composed(context: HydraContext, words: Sequence[str]) -> DictConfig:
    return context.config_loader.load_configuration("sweep", list(words), RunMode.MULTIRUN)


def grid(context: HydraContext, words: Sequence[str]) -> list[list[str]]:
    """The overrides of each job that these words and the experiment's own lists ask for."""
    params = composed(context, words).hydra.sweeper.params
    lists = [f"{key}={values}" for key, values in params.items()]
    overrides = OverridesParser.create().parse_overrides([*lists, *words])
    return BasicSweeper.split_arguments(overrides, None)[0]


@pytest.mark.parametrize(
    "words",
    [
        ["model=fc_vae,conv_ae,dcgan", "kl_weight=1e-3,1.0", "lr=choice(1e-4,0.01)", "seed=7"],
        ["experiment=eyes_latent_size", "batch_size=range(8,10)"],
        ["experiment=faces_dcgan,tibetan_kl", "optimizer=adamw", "optimizer.betas=[0.5,0.9]", *ONE],
        [
            "dataset=anime",
            "model=acgan,conv_vae",
            "chapter='a, b','1e-3',null",
            "snapshot_epochs=[1,2]",
            *ONE,
        ],
        ["+loss.extra=1,2", "~model.hidden", "++trainer.max_seconds=5", "regulariser={target:2}", *ONE],
        ["evaluation=[vae],[test_metrics,learning_curve]", "evaluation.learning_curve._target_=x", *ONE],
        ["loss=reconstruction,elbo", "likelihood=gaussian", "~optimizer", "output_dir='a b'", *ONE],
        ["kl_weight=${lr},${latent_dim}", "model.latent_dim=3", "dataset.path='x=1','y,2'", "dpi=72"],
    ],
)
def test_each_job_is_what_hydra_composes(words: list[str], context: HydraContext) -> None:
    config = composed(context, words)
    composer = Composer(context, config)
    compared = 0
    for overrides in grid(context, words):
        expected = context.config_loader.load_sweep_config(config, overrides)
        cfg, choices = composer.compose(overrides)
        assert choices == expected.hydra.runtime.choices
        assert overrides == expected.hydra.overrides.task
        plain = without_hydra(expected)
        assert OmegaConf.to_yaml(cfg) == OmegaConf.to_yaml(plain), overrides
        assert OmegaConf.to_yaml(cfg, resolve=True) == OmegaConf.to_yaml(plain, resolve=True)
        compared += 1
    assert compared > 1


@pytest.mark.parametrize(
    "word", ["kl_wieght=1", "model=nothing", "+kl_weight=1", "~loss.nothing", "model@x=fc_vae"]
)
def test_what_hydra_refuses_is_refused_alike(word: str, context: HydraContext) -> None:
    config = composed(context, [])
    with pytest.raises(HydraException) as expected:
        context.config_loader.load_sweep_config(config, ["kl_weight=1", word])
    with pytest.raises(type(expected.value)) as found:
        Composer(context, config).compose(["kl_weight=1", word])
    assert str(found.value) == str(expected.value)


def test_a_number_is_one_run_however_it_is_written(context: HydraContext, tmp_path: Path) -> None:
    composer = Composer(context, composed(context, []))
    written = product(
        ["kl_weight=1", "kl_weight=1.0", "kl_weight=1e0", "kl_weight=2"], ["lr=1e-3", "lr=0.001"]
    )
    jobs = jobs_of(composer, [["model=fc_vae", *pair, "seed=0"] for pair in written])
    assert [one.run.folder.name for _, one in jobs] == [
        "kl_weight=1,lr=1e-3,seed=0",
        "kl_weight=2,lr=1e-3,seed=0",
    ]


def test_a_run_is_found_under_another_spelling_of_its_numbers(context: HydraContext, tmp_path: Path) -> None:
    composer = Composer(context, composed(context, []))
    first = composer.request(["kl_weight=5.0", "lr=1e-3", "likelihood=gaussian"])
    with first.run.locked():
        first.run.start(first.cfg, ["vae-sweep"], {})
        first.run.update(status="done")
    again = composer.request(["kl_weight=5", "lr=.001", "likelihood=gaussian"])
    assert (again.run.folder, again.state) == (first.run.folder, "done")
    other = composer.request(["kl_weight=5", "lr=.001", "likelihood=gaussian", "rerun=true"])
    assert other.run.folder.name == "kl_weight=5,likelihood=gaussian,lr=.001"
    parent = first.run.folder.parent
    assert find(parent, "kl_weight=6", first.cfg, rerun=False).folder == Run(parent / "kl_weight=6").folder


def test_two_sources_are_two_runs(context: HydraContext) -> None:
    composer = Composer(context, composed(context, []))
    words = ["dataset=image_folder", "dataset.path='a','b'"]
    jobs = jobs_of(composer, grid(context, [*words, "kl_weight=1"]))
    assert [one.run.folder.name for _, one in jobs] == [
        "dataset.path=a,kl_weight=1",
        "dataset.path=b,kl_weight=1",
    ]
    assert len({one.cfg.dataset.path for _, one in jobs}) == 2

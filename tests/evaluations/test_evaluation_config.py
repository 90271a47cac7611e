"""The configuration of the evaluations: lists, single choices, and what they build."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

CONF = Path(__file__).resolve().parents[2] / "conf"
OF_BOTH = [
    "learning_curve",
    "reconstructions",
    "interpolations",
    "atlas",
    "latent_space",
    "latent_space_tsne",
    "test_metrics",
    "diversity",
    "sharpness",
    "nearest_neighbours",
]
OF_AUTOENCODERS = ["samples"]
OF_VAES = ["prior_samples", "traversals", "kl_per_dimension"]
OF_GANS = [
    "adversarial_curves",
    "samples",
    "z_interpolations",
    "diversity",
    "sharpness",
    "nearest_neighbours",
]


@pytest.fixture
def primary(tmp_path: Path) -> Path:
    """A folder with a primary config that evaluates a VAE."""
    search = f"hydra:\n  searchpath: [file://{CONF}]\n"
    (tmp_path / "small.yaml").write_text(f"defaults:\n  - evaluation: [vae]\n  - _self_\n{search}")
    return tmp_path


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ([], {*OF_BOTH, *OF_VAES}),
        (["evaluation=[vae]"], {*OF_BOTH, *OF_VAES}),
        (["evaluation=vae"], {*OF_BOTH, *OF_VAES}),
        (["evaluation=[autoencoder]"], {*OF_BOTH, *OF_AUTOENCODERS}),
        (["evaluation=[gan]"], {*OF_GANS}),
        (["evaluation=[acgan]"], {*OF_GANS, "class_pairs", "gan_test"}),
        (["evaluation=[reconstructions,prior_samples]"], {"reconstructions", "prior_samples"}),
        (["evaluation=test_metrics"], {"test_metrics"}),
        (["evaluation=[autoencoder,kl_per_dimension]"], {*OF_BOTH, *OF_AUTOENCODERS, "kl_per_dimension"}),
    ],
)
def test_lists_and_choices(override: list[str], expected: set[str], primary: Path) -> None:
    with initialize_config_dir(str(primary), version_base="1.3"):
        cfg = compose("small", override)
    assert set(cfg.evaluation) == expected
    built = {name: instantiate(node, _convert_="all") for name, node in cfg.evaluation.items()}
    assert all(callable(evaluation) for evaluation in built.values())
    needing = {
        name
        for name, evaluation in built.items()
        if getattr(evaluation, "needs", None) in ("prior", "posterior")
    }
    assert needing == expected & set(OF_VAES)
    at_snapshots = {name for name, evaluation in built.items() if getattr(evaluation, "at_snapshots", False)}
    assert at_snapshots == (expected & {"reconstructions"} or expected & {"samples"})


def test_a_value_on_the_command_line(primary: Path) -> None:
    with initialize_config_dir(str(primary), version_base="1.3"):
        cfg = compose(
            "small", ["evaluation.interpolations.method=slerp", "evaluation.reconstructions.count=8"]
        )
    assert instantiate(cfg.evaluation.interpolations).method == "slerp"
    assert instantiate(cfg.evaluation.reconstructions).count == 8


def test_every_file_says_what_it_is() -> None:
    for path in (CONF / "evaluation").glob("*.yaml"):
        lines = path.read_text().splitlines()
        if path.stem in ("vae", "autoencoder", "gan", "acgan", "conditional", "layered", "quantised"):
            assert lines[0].startswith("# ")
            continue
        assert lines[0] == f"# @package evaluation.{path.stem}"
        assert lines[1].startswith("# ")

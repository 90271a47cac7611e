"""Small parts of the commands that need no process."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vaelab.arguments import quote


@pytest.mark.parametrize(
    "value",
    [
        "outputs/digits/fc_vae/epochs=2,lr=1e-3",
        "my pictures/a (1).zip",
        "it's, here",
        "evaluation=[a,b]",
        "plain/x.zip",
        "C:/x",
    ],
)
@pytest.mark.parametrize("key", ["run", "dataset.path"])
def test_any_path_comes_through_hydras_grammar_unchanged(key: str, value: str) -> None:
    override = OverridesParser.create().parse_override(quote(f"{key}={value}", sweep=False))
    assert (override.key_or_group, override.value()) == (key, value)


@pytest.mark.parametrize(
    "argument", ["kl_weight=1,5", "run='a=b'", "dataset.path=null", "--help", "evaluation=[a]"]
)
def test_what_is_no_bare_path_is_left_alone(argument: str) -> None:
    assert quote(argument, sweep=False) == argument

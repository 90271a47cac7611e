"""From the words of a command to its configuration, and on to the verb or the sweeper that it asks for."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vaelab import UsageError, __version__
from vaelab.bounds import Steps
from vaelab.checks import check_value
from vaelab.commands import arguments, completion, user_files
from vaelab.commands.arguments import Arguments
from vaelab.mistakes import describe
from vaelab.names import CONF, experiments

Verb = Callable[[DictConfig], Any]


@dataclass
class Context(HydraContext):
    """What Hydra hands to sweepers and launchers, and the command as it was given."""

    command: Sequence[str]


def perform(
    command: str, words: Sequence[str], verb: Verb, schema: Callable[[str | None], str] | None = None
) -> Any:
    """Composes conf/<command>.yaml with the words of a command line and calls the verb; a sweep's for each run.

    Returns what the verb does, or the sweeper.
    Raises UsageError for what is no configuration, or one that would have Hydra do more than compose.
    """
    hydra.version.setbase("1.3")
    OmegaConf.register_new_resolver("vaelab.experiments", experiments, replace=True)  # for --help
    given = arguments.read(command, words)
    user_files.check(given)
    if schema and "schema" in given.options:
        return print(schema(given.options.get("config-dir")))
    if given.only_show:
        return _show(command, given, verb)
    with _opened(given) as opened:
        mode = RunMode.MULTIRUN if command == "sweep" else RunMode.RUN
        with in_words(command):
            cfg = opened.compose_config(command, given.overrides, mode)
        user_files.refuse_foreign(cfg.hydra, sweeps=mode is RunMode.MULTIRUN)
        if mode is RunMode.RUN:
            HydraConfig.instance().set_config(cfg)
            return verb(without_hydra(cfg))
        check_value(cfg.list, bool, "list")
        check_value(cfg.n, Steps, "n")
        params = OmegaConf.select(cfg, "hydra.sweeper.params")
        check_value(params, dict[str, Any] | None, "hydra.sweeper.params")
        arguments.read(command, [f"{key}={value}" for key, value in (params or {}).items()])
        context = Context(opened.config_loader, Callbacks(), [f"vae-{command}", *words])
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=context, task_function=verb, config=cfg
        )
        return sweeper.sweep(list(cfg.hydra.overrides.task))


def without_hydra(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's own part."""
    own = cfg.copy()
    with read_write(own), open_dict(own):
        del own["hydra"]
    return own


@contextmanager
def in_words(command: str) -> Iterator[None]:
    """Turns whatever keeps a configuration from being composed, which is the user's mistake, into one line."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(describe(error, command)) from error


@contextmanager
def _opened(given: Arguments) -> Iterator[Hydra]:
    search_path = create_config_search_path(str(CONF))
    if folder := given.options.get("config-dir"):
        before_hydras_own = SearchPathQuery(provider="schema")
        search_path.prepend("command-line", f"file://{os.path.abspath(folder)}", before_hydras_own)
    try:
        yield Hydra.create_main_hydra2("vaelab", search_path)
    finally:
        GlobalHydra.instance().clear()


def _show(command: str, given: Arguments, verb: Verb) -> None:
    """--help, --cfg and the like, which Hydra answers without calling the verb."""
    if "version" in given.options:
        return print(f"vaelab {__version__}")
    if shell := given.options.get("completion"):
        return print(completion.script(shell), end="")
    sys.argv = [f"vae-{command}", *given.words()]
    with in_words(command):
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)(verb)()

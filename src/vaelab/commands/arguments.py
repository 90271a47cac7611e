"""A command line as Hydra can read it: options sorted out, paths and text quoted, what is unreadable explained."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.errors import HydraException

from vaelab import UsageError
from vaelab.keys import PLACES, SWEEP_ONLY
from vaelab.names import as_written, choices, groups, known_keys, nearest, renamed

# Keys whose value is a path, which stays the text that it is.
PATHS = (
    *("run", "runs", "source", "output", "output_dir", "foreign", *PLACES),
    *("evaluation.fid.weights", "hydra.launcher.submitit_folder", "hydra.sweeper.storage"),
)
TEXTS = ("chapter",)
ONE_FOR_ALL = (*SWEEP_ONLY, "rerun", "plugins", "trackers")  # keys that a sweep has one value of
ACTIONS = ("prepare", "show", "spectrum", "list")  # of vae-data
MOST_RUNS = 10_000
LONGEST_NAME = 200  # of a key or a choice, which may be looked for as a file
KEY = r"[+~]*[a-z_]\w*([./@:-]\w+)*"
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""

SHORT = {"h": "help", "c": "cfg", "r": "run", "m": "multirun", "p": "package", "sc": "shell-completion"}
SHORT |= {"cd": "config-dir", "i": "info"}
# Of these no verb is called.
SHOW = ("help", "hydra-help", "version", "cfg", "info", "shell-completion", "completion", "schema")
PLAIN = ("help", "hydra-help", "version", "resolve", "multirun", "shell-completion", "schema")
SHELLS = ("bash", "zsh", "fish")
VALUED = {
    "cfg": ("job", "hydra", "all"),
    "info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "completion": SHELLS,
    "package": (),
    "config-dir": (),
}

TYPOGRAPHIC = str.maketrans("＝，：（）［］“”„‘’‚–—−‐‑\xa0", "=,:()[]\"\"\"'''-----\x20")
FORMS = {
    "range": "range(START, STOP) or range(START, STOP, STEP)",
    "interval": "interval(LOW, HIGH)",
    "choice": "choice(A, B)",
    "glob": "glob(PATTERN)",
    "tag": "tag(NAME, interval(LOW, HIGH))",
    "sort": "sort(3, 1, 2)",
    "shuffle": "shuffle(1, 2, 3)",
    **{kind: f"{kind}(VALUE)" for kind in ("int", "float", "str", "bool")},
}


@dataclass
class Arguments:
    """What a command was given: options with their values, and overrides that Hydra reads as they are meant."""

    options: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    @property
    def only_show(self) -> bool:
        """Whether Hydra is to show something, instead of a run."""
        return any(name in self.options for name in SHOW)

    def words(self) -> list[str]:
        """The command line with its options first, where Hydra reads them."""
        options = [f"--{name}={value}" if value else f"--{name}" for name, value in self.options.items()]
        return [*options, *self.overrides]


def read(command: str, words: Sequence[str]) -> Arguments:
    """Sorts the words of a command (train, sweep, ...); raises UsageError for one that cannot be read."""
    arguments = Arguments()
    left = list(words)
    while left:
        word = left.pop(0)
        if word.endswith(("\r", "\n")):
            raise UsageError(
                f"{as_written(word.strip())} ends in a line break: a script with Windows line ends is converted by "
                "sed -i 's/\\r$//' SCRIPT"
            )
        if word.startswith("-"):
            _take_option(word, left, arguments.options, command)
        else:
            arguments.overrides.append(word)
    if "shell-completion" in arguments.options:
        return arguments
    if "resolve" in arguments.options and not arguments.only_show:
        raise UsageError("--resolve goes with --cfg: --cfg job --resolve")
    overrides = [renamed(word) for word in arguments.overrides]
    arguments.overrides = _readable(overrides, command, arguments.only_show)
    return arguments


def _take_option(word: str, left: list[str], options: dict[str, str], command: str) -> None:
    given, equals, value = word.lstrip("-").partition("=")
    name = SHORT.get(given, given)
    if name in ("multirun", "run") and command != "sweep":
        raise UsageError(
            f"{word} is not needed: vae-sweep does one run for each combination of listed values"
        )
    if name in PLAIN and not equals:
        options[name] = ""
        return
    if name not in VALUED:
        if equals or (left and "=" not in left[0] and given in known_keys(command)):
            raise UsageError(f"keys are written without dashes: {given}={value or (left or ['...'])[0]}")
        known = nearest(f"--{name}", [f"--{option}" for option in (*PLAIN, *VALUED)])
        raise UsageError(f"there is no option {as_written(word)}{known}; --help shows what there is")
    allowed = VALUED[name]
    if not equals and left and (left[0] in allowed or name != "info"):
        value = left.pop(0)
    if name == "info" and not value:
        value = "all"
    if not value or (allowed and value not in allowed):
        wanted = f"one of {', '.join(allowed)}" if allowed else "a value"
        raise UsageError(f"--{name}{equals}{as_written(value)} needs {wanted}")
    options[name] = os.path.expanduser(value) if name == "config-dir" else value


def _readable(words: Sequence[str], command: str, only_show: bool) -> list[str]:
    parser = OverridesParser.create()
    parsed = []
    for place, word in enumerate(words):
        _refuse_pieces(words, place, command)
        override = _parsed(parser, quote(word, command == "sweep")) or _parsed(parser, _as_text(word))
        if override is None:
            raise _unreadable(word)
        _refuse_value(override, word, command)
        if override.is_sweep_override() and only_show:
            raise UsageError(f"{as_written(word)} has several values, and what is shown is one configuration")
        parsed.append(override)
    if command == "sweep" and (runs := math.prod(map(_count, parsed))) > MOST_RUNS:
        raise UsageError(
            f"these lists make {runs:,} runs, and a sweep has at most {MOST_RUNS:,}: shorten them"
        )
    return [str(override.input_line) for override in parsed]


def _parsed(parser: OverridesParser, word: str | None) -> Override | None:
    try:
        return parser.parse_override(word) if word else None
    except HydraException:
        return None


def quote(word: str, sweep: bool) -> str:
    """Quotes the value of a key that is a path or a text, with ~ expanded; of a sweep each of several paths."""
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    if not equals or value in ("", "null") or name not in (*PATHS, *TEXTS):
        return word
    whole = name in TEXTS or not sweep or os.path.exists(os.path.expanduser(value))
    if sweep and not whole and re.fullmatch(r"(choice|sort|shuffle)\(.*\)", value):
        return word
    if name == "runs" and re.fullmatch(rf"\[(?:{QUOTED})(?:,(?:{QUOTED}))*\]", value, re.DOTALL):
        return word  # several of them
    parts = [value] if whole else re.findall(f"{QUOTED}|[^,]+", value)
    expand = name in PATHS
    return f"{key}={','.join(_quoted(os.path.expanduser(part) if expand else part) for part in parts)}"


def _quoted(text: str) -> str:
    is_quoted = re.fullmatch(QUOTED, text, re.DOTALL) and not os.path.exists(text)
    return text if is_quoted else escaped(text)


def escaped(text: str) -> str:
    """Text in quotes that Hydra reads as it is."""
    # Hydra reads a backslash as it stands, but before a quote.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"


def _as_text(word: str) -> str | None:
    """The override with its value quoted, where that has letters and signs that Hydra's grammar lacks."""
    key, equals, value = word.partition("=")
    if not equals or re.search(r"[\[\](){},'\"]|\$\{", value):
        return None
    return f"{key}={_quoted(value)}"


def _refuse_pieces(words: Sequence[str], place: int, command: str) -> None:
    """Raises UsageError for a word that is no override of its own: a piece of one, or no key=value at all."""
    word, following = words[place], [*words[place + 1 : place + 2], ""][0]
    key, equals, value = word.partition("=")
    if key.lstrip("+") in PATHS and value:
        return
    if word.endswith(",") or following.startswith(","):
        pieces = [word, *takewhile(lambda other: "=" not in other, words[place + 1 :])]
        raise UsageError(f"a list is written without spaces: {as_written(''.join(pieces))}")
    if following.startswith("=") or (word.endswith("=") and following and "=" not in following):
        pieces = list(words[place : place + (3 if following == "=" else 2)])
        raise UsageError(f"there is no space around =: {as_written(''.join(pieces))}")
    plain = _typed(word)
    if plain != word and key.lstrip("+") not in TEXTS and _parsed(OverridesParser.create(), word) is None:
        raise UsageError(f"{as_written(word)} has typographic signs: type {as_written(plain)}")
    if not equals and not word.startswith("~"):
        raise UsageError(_no_override(word, command))
    if len(key) > LONGEST_NAME or not re.fullmatch(KEY, key, re.ASCII | re.IGNORECASE):
        raise UsageError(
            f"there is no key {as_written(key)}{nearest(key, known_keys(command))}; --help lists the keys"
        )


def _typed(word: str) -> str:
    """The word without typographic signs, as a keyboard types it."""
    plain = word.translate(TYPOGRAPHIC)
    if plain.startswith("-"):
        plain = plain.lstrip("-") if "=" in plain else f"--{plain.lstrip('-')}"
    return plain


def _no_override(word: str, command: str) -> str:
    if word in known_keys(command):
        return f"{word} has no value: give {word}=..."
    if command == "data":
        return f"{as_written(word)} is not {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]}{nearest(word, ACTIONS)}"
    if command == "evaluate" and os.path.isdir(word):
        return f"{as_written(word)} is not key=value: give run={as_written(word)}"
    group = next((group for group in groups() if word in choices(group)), None)
    meant = f" (did you mean {group}={word}?)" if group else nearest(word, known_keys(command))
    return f"{as_written(word)} is not key=value{meant}"


def _unreadable(word: str) -> UsageError:
    key, _, value = word.partition("=")
    called = re.match(r"(\w+)\s*\(", value)
    if any(value.count(a) != value.count(b) for a, b in ("[]", "()", "{}")):
        return UsageError(f"a bracket of {as_written(word)} is not closed, or not opened")
    if value.count("'") % 2 or value.count('"') % 2:
        return UsageError(f"a quote of {as_written(word)} is not closed")
    if re.search(r"(^|,)\s*(,|$)", value):
        return UsageError(f"a place in the list {as_written(word)} is empty")
    if called and called[1] in FORMS:
        return UsageError(f"{as_written(word)} cannot be read: it is written {key}={FORMS[called[1]]}")
    if called:
        return UsageError(f"{key}: there is no {called[1]}(...){nearest(called[1], FORMS)}")
    return UsageError(f"the value of {as_written(word)} cannot be read: put it in quotes, \"{key}='...'\"")


def _refuse_value(override: Override, word: str, command: str) -> None:
    key, value = override.key_or_group, override.value()
    if key in PATHS and value == "":
        raise UsageError(f"{key} is empty: give {key}=PATH")
    if value == {} and not override.is_hydra_override():
        raise UsageError(f"{key}={{}} changes nothing: give {key}.KEY=VALUE")
    is_auto = key == "kl_weight" and value == "auto"  # which is a list that a sweep makes
    if not (override.is_sweep_override() or is_auto):
        return _refuse_no_choice(key, value, word)
    if command != "sweep":
        raise UsageError(
            f"{as_written(word)} has several values: vae-sweep does a run for each; a list is written [a,b]"
        )
    if key in ONE_FOR_ALL or override.is_hydra_override():
        raise UsageError(f"{as_written(word)}: {key} has one value for all runs of a sweep")
    if isinstance(value, Glob):
        _refuse_no_match(key, value, word)
    elif isinstance(value, RangeSweep) and not _count(override):
        raise UsageError(
            f"{as_written(word)} holds no value: a range goes from START up to STOP in steps that are not 0"
        )


def _refuse_no_choice(key: str, value: object, word: str) -> None:
    if key not in groups() or (value is None and (key == "experiment" or word.startswith("~"))):
        return
    if isinstance(value, list) and key not in ("evaluation", "experiment"):
        raise UsageError(f"{key} has not one choice: give {key}=NAME")
    if not isinstance(value, str | list) or len(value) > LONGEST_NAME:
        raise UsageError(f"{as_written(word)} names no {key}; choices: {', '.join(choices(key))}")


def _refuse_no_match(key: str, pattern: Glob, word: str) -> None:
    if key not in groups():
        raise UsageError(f"{as_written(word)}: glob(...) is for groups, as in model=glob(conv_*)")
    if not pattern.filter(choices(key)):
        raise UsageError(f"{as_written(word)} matches no {key}; choices: {', '.join(choices(key))}")


def _count(override: Override) -> int:
    """How many values a sweep has of an override."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if isinstance(value, RangeSweep):
        step, length = value.step, (value.stop or 0) - (value.start or 0)
        return max(0, math.ceil(length / step)) if step else 0
    return 1

"""Small parts of the commands that need no process: the words of a command line, users' files, the streams."""

import os
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vaelab import UsageError
from vaelab.commands import compose, streams
from vaelab.commands.arguments import quote, read


def refused(command: str, *words: str) -> str:
    """The one line by which a command refuses these words."""
    with pytest.raises(UsageError) as error:
        compose.perform(command, words, lambda cfg: None, lambda folder: "")
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 600
    for raw in ("Exception", "Error ", "mismatched input", "token recognition", "struct"):
        assert raw not in line
    return line


@pytest.mark.parametrize(
    "value",
    [
        "outputs/digits/fc_vae/epochs=2,lr=1e-3",
        "my pictures/a (1).zip",
        "it's, here",
        "evaluation=[a,b]",
        "plain/x.zip",
        "C:/x",
        *(
            "données",
            "图片",
            "a&b",
            "it!",
            "2024",
            "true",
            "nan",
            "[old]",
            "{b}",
            "#1",
            "a;b",
            "100%",
            "$HOME",
        ),
        *("C:\\\\x\\\\", "end\\\\", "q\\\\'x", "'open", 'do"uble', " ", "a\nb", "🙂", "glob(*)"),
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


def test_of_a_sweep_each_of_several_paths_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert quote("dataset.path=a,données", sweep=True) == "dataset.path='a','données'"
    assert quote("dataset.path='a,b',c", sweep=True) == "dataset.path='a,b','c'"
    Path("a,données").mkdir()
    assert quote("dataset.path=a,données", sweep=True) == "dataset.path='a,données'"


def test_a_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert read("data", ["+dataset.path=~/pics"]).overrides == ["+dataset.path='/home/me/pics'"]


def test_text_that_the_grammar_has_no_letters_for_is_text() -> None:
    given = ["chapter=Übung, zwei", "dataset.attribute=größe", "chapter=null"]
    assert read("train", given).overrides == [
        "chapter='Übung, zwei'",
        "dataset.attribute='größe'",
        "chapter=null",
    ]


def test_options_may_stand_anywhere() -> None:
    given = read("sweep", ["epochs=1", "-m", "kl_weight=1,2", "--config-dir", "mine"])
    assert given.options == {"multirun": "", "config-dir": "mine"}
    assert given.overrides == ["epochs=1", "kl_weight=1,2"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train kl_weight=0, 1, 5", "a list is written without spaces: kl_weight=0,1,5"),
        ("train kl_weight = 5", "there is no space around =: kl_weight=5"),
        ("train kl_weight= 5", "there is no space around =: kl_weight=5"),
        ("train kl_weight =5", "there is no space around =: kl_weight=5"),
        ("train --kl_weight=5", "keys are written without dashes: kl_weight=5"),
        ("train --kl_weight 5", "keys are written without dashes: kl_weight=5"),
        ("train kl_weight", "kl_weight has no value: give kl_weight=..."),
        ("train kl_weight＝5", "has typographic signs: type kl_weight=5"),
        ("train kl_weight=–5", "has typographic signs: type kl_weight=-5"),
        ("train —help", "has typographic signs: type --help"),
        ("train epochs=1\r", "a script with Windows line ends"),
        ("train -m kl_weight=1", "vae-sweep does one run for each"),
        ("train kl_weight=1,2", "vae-sweep does a run for each"),
        ("train digits", "did you mean dataset=digits?"),
        ("train --experimental-rerun x", "there is no option --experimental-rerun"),
        ("train kl_weight=[1", "a bracket of kl_weight=[1 is not closed"),
        ("train kl_weight=foo(1)", "there is no foo(...)"),
        ("train data_dir=", "data_dir is empty"),
        ("train trainer={}", "trainer={} changes nothing"),
        ("train trainer=null", "trainer=null names no trainer; choices: default"),
        ("train loss=[elbo]", "loss has not one choice"),
        ("train " + "x" * 300 + "=1", "there is no key " + "x" * 60 + "...;"),
        ("train dataset=" + "x" * 300, "x... names no dataset; choices: anime"),
        (
            "train model=dcgan model.channels=3",
            "the chosen model has no key channels: model=burgess_vae, conditional_vae, conv_ae",
        ),
        ("train +kl_weight=5", "kl_weight is there already"),
        ("train hydra.run.dir=x", "hydra.run.dir is refused"),
        ("train hydra/job_logging=default", "hydra.job_logging.root is refused"),
        ("sweep list=abc", "list=abc is not true or false"),
        ("sweep list=true,false", "list has one value for all runs"),
        ("sweep n=2,3", "n has one value for all runs"),
        ("train kl_weight=auto", "has several values: vae-sweep does a run for each"),
        ("sweep kl_weight=range(5,0)", "holds no value"),
        ("sweep kl_weight=range(0,10,0)", "holds no value"),
        ("sweep kl_weight=glob(*)", "glob(...) is for groups"),
        ("sweep model=glob(zz*)", "matches no model; choices: acgan"),
        ("sweep seed=range(0,1000000)", "1,000,000 runs"),
        ("sweep kl_weight=1,,2", "a place in the list"),
        ("sweep hydra.launcher._target_=os.system", "hydra.launcher._target_=os.system is refused"),
        ("sweep +hydra.launcher.x={_target_:os.system}", "hydra.launcher holds a _target_ of its own"),
        ("sweep hydra.sweeper.params=3", "hydra.sweeper.params=3 is not"),
        ("data prepair", "is not prepare, show, spectrum or list (did you mean prepare?)"),
        ("evaluate .", "give run=."),
    ],
)
def test_a_command_line_that_cannot_be_read_gets_a_hint_in_words(line: str, words: str) -> None:
    command, *given = line.split(" ")
    assert words in refused(command, *given)


HEAD = b"# @package _global_\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epochs: 1\n", "mine.yaml does not begin with the line `# @package _global_`"),
        (b"# title\n" + HEAD + b"epochs: 1\n", "mine.yaml does not begin with the line"),
        (b"\xef\xbb\xbf" + HEAD, "mine.yaml begins with a byte order mark"),
        (HEAD.decode().encode("utf-16"), "mine.yaml is UTF-16 text: save it as UTF-8"),
        (HEAD.decode().encode("utf-16-le"), "mine.yaml is UTF-16 text: save it as UTF-8"),
        (HEAD + b"# \xe9\n", "mine.yaml, line 2, is not UTF-8 text"),
        (HEAD + b"epochs: [1\nlr: 2\n", "mine.yaml, line 3 is not YAML"),
        (HEAD + b"- epochs\n", "experiment/mine.yaml does not hold keys"),
        (HEAD + b"defaults: [override /modle: conv_ae]\n", "there is no key modle (did you mean model?)"),
        (HEAD + b"hydra: {callbacks: {a: {_target_: os.mkdir, path: ran}}}\n", "hydra.callbacks is refused"),
        (
            HEAD
            + b"hydra: {hydra_logging: {version: 1, root: {handlers: [a]}, handlers: {a: {(): os.mkdir}}}}\n",
            "hydra.hydra_logging.root is refused",
        ),
        (HEAD + b"hydra: {job: {env_set: {PATH: x}}}\n", "hydra.job.env_set is refused"),
        (HEAD + b"hydra: {run: {dir: elsewhere}}\n", "hydra.run.dir is refused"),
        (HEAD + b"hydra: {launcher: {_target_: os.mkdir}}\n", "hydra.launcher._target_=os.mkdir"),
    ],
)
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_an_experiment_file_is_refused_by_name_and_runs_nothing(
    content: bytes, words: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("experiment").mkdir()
    Path("experiment/mine.yaml").write_bytes(content)
    assert words in refused(command, "--config-dir", ".", "experiment=mine")
    assert os.listdir() == ["experiment"]


def test_a_stream_that_nobody_reads_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = streams.forgiving(writer, "utf-8", line_buffering=False)
    stream.write("λ" * 100_000)
    stream.flush()
    os.close(writer)


def test_a_stream_writes_letters_that_it_has_not_as_escapes() -> None:
    reader, writer = os.pipe()
    stream = streams.forgiving(writer, "cp1252", line_buffering=False)
    stream.write("λ = 1 é")
    stream.flush()
    assert os.read(reader, 100) == b"\\u03bb = 1 \xe9"
    os.close(reader)
    os.close(writer)

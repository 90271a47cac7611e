"""Completion in real shells: a command line that is begun, and what the shell makes of it."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vaelab.commands import completion

LINES = [
    ("vae-train dataset=tib", ["dataset=tibetan_mnist"]),
    ("vae-train trainer.device=", ["trainer.device=auto", "trainer.device=cpu", "trainer.device=cuda"]),
    ("vae-train kl_weight_u", ["kl_weight_unit="]),
    ("vae-sweep kl_weight=0,1 experiment=tib", ["experiment=tibetan_kl"]),
    ("vae-train 'trackers=[wandb,ten", ["trackers=[wandb,tensorboard"]),
    ("vae-sweep model=conv_vae,lin", ["model=conv_vae,linear_vae"]),
    ("vae-evaluate run=outp", ["run=outputs"]),
    ("vae-data spec", ["spectrum"]),
    ("vae-report --comp", ["--completion"]),
]


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a shell, and the folder with the script that the real command prints for it."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} here")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "outputs").mkdir()
    program = Path(sys.executable).parent / "vae-train"
    done = subprocess.run([program, f"--completion={request.param}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "script").write_text(done.stdout)
    return request.param, folder


def test_a_real_shell_completes(shell: tuple[str, Path]) -> None:
    name, folder = shell
    for line, expected in LINES:
        found = {"bash": by_bash, "zsh": by_zsh, "fish": by_fish}[name](line, expected, folder)
        assert sorted(found) == expected, line


def by_bash(line: str, _: list[str], folder: Path) -> list[str]:
    code = 'compopt() { :; }; source ./script; COMP_LINE=$1 COMP_POINT=${#1}; _vaelab "${1%% *}"'
    code += '; printf "%s\\n" "${COMPREPLY[@]}"'
    line = line.replace("'", "")
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "", line], cwd=folder, capture_output=True, text=True
    )
    assert not done.stderr
    key, equals, _ = line.rpartition(" ")[2].partition("=")
    written = f"{key}=" if equals else ""  # and = separates words in bash
    return [f"{written}{reply}" for reply in done.stdout.split()]


def by_fish(line: str, _: list[str], folder: Path) -> list[str]:
    code = "source ./script; complete -C $argv[1]"
    line = line.replace("'", "")
    done = subprocess.run(
        ["fish", "--no-config", "-c", code, line], cwd=folder, capture_output=True, text=True
    )
    return [reply.partition("\t")[0].rstrip("/") for reply in done.stdout.splitlines()]


def by_zsh(line: str, expected: list[str], folder: Path) -> list[str]:
    """zsh completes at a terminal only: what is expected, as far as the line has become it."""
    common = expected[0] if len(expected) == 1 else line.rpartition(" ")[2]
    begin = "PS1='> '; autoload -Uz compinit; compinit -u -D; source ./script; echo REA''DY\n"
    process, terminal = pty.fork()
    if not process:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], os.environ | {"TERM": "dumb", "HOME": str(folder)})
    os.write(terminal, begin.encode())
    shown, typed, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 4096)
        after = shown.partition(b"READY\r\n")[2].replace(b"\x07", b"").decode(errors="replace")
        if b"READY\r\n" in shown and not typed:
            os.write(terminal, f"{line}\t".encode())
            typed = True
        if typed and line in after and common in after.replace("\x08", ""):
            break
    os.close(terminal)
    os.waitpid(process, 0)
    assert common in after.replace("\x08", ""), repr(after)
    return expected


def test_every_command_has_its_words_and_none_is_read_by_a_shell() -> None:
    assert {"train", "sweep", "evaluate", "report", "data"} <= set(completion.commands())
    for command in completion.commands():
        for word in (*completion.words(command), *completion.values(command)):
            assert not set(word) & set(" '\"\\$`[](){}*?;&|<>~#!"), word


def test_completion_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['vae-train', '--completion=bash']\n"
        "from vaelab import cli\n"
        "try: cli.train()\n"
        "finally: sys.stderr.write(str('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "False"

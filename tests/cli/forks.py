"""Runs commands in forks of one process that has loaded their libraries, so that a test waits for no import."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from subprocess import PIPE
from types import ModuleType

LIBRARIES = (
    *("matplotlib.figure", "pandas", "plotly.graph_objects", "skimage.metrics", "sklearn.manifold"),
    *("torch._dynamo", "vaelab.evaluations", "vaelab.report", "vaelab.runs.perform"),
)
ARROW = "JE_ARROW_MALLOC_CONF"  # of the memory of pyarrow, which has a thread of its own otherwise
HERE = "PYTEST_CURRENT_TEST"  # what differs from test to test and means nothing to a command
Done = subprocess.CompletedProcess[str]
Run = Callable[[Sequence[str], Path], Done]


@contextmanager
def commands() -> Iterator[Run]:
    """What runs a command as subprocess.run() does: as a fork, the entry point itself with its own end.

    As a process of its own where a fork of loaded libraries is not safe, or where a test has changed the environment.
    """
    if sys.platform != "linux":
        yield _alone
        return
    before = _environment()
    server = [sys.executable, __file__]
    with subprocess.Popen(
        server, env={**before, ARROW: "background_thread:false"}, stdin=PIPE, stdout=PIPE, text=True
    ) as process:

        def run(command: Sequence[str], cwd: Path) -> Done:
            return _fork(process, command, cwd) if _environment() == before else _alone(command, cwd)

        yield run


def _alone(command: Sequence[str], cwd: Path) -> Done:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def _fork(server: subprocess.Popen[str], command: Sequence[str], cwd: Path) -> Done:
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("out", "err")]
        print(json.dumps([*files, str(cwd), *command]), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        out, err = (Path(file).read_text(encoding="utf-8") for file in files)
    return subprocess.CompletedProcess(list(command), status, out, err)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != HERE}


def load() -> ModuleType:
    """The module of the entry points, with all that they load later."""
    import_module("vaelab.machine").share_cores()  # as the commands do before torch loads
    for name in LIBRARIES:
        import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack the other threads"
    return import_module("vaelab.cli")


def become(out: str, err: str, cwd: str, script: str, *arguments: str) -> str:
    """Makes this process that of a command; its name."""
    write = os.O_WRONLY | os.O_CREAT
    for number, (file, mode) in enumerate(((os.devnull, os.O_RDONLY), (out, write), (err, write))):
        os.dup2(os.open(file, mode, 0o600), number)
    os.chdir(cwd)
    del os.environ[ARROW]
    sys.argv[:] = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    return Path(script).name.removeprefix("vae-")


def serve() -> str:
    """Answers each line with the exit status of its command; in a fork it returns the command's name."""
    for line in sys.stdin:
        if not (child := os.fork()):
            return become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


if __name__ == "__main__":
    entry_points = load()
    getattr(entry_points, serve())()

"""A live page on this machine: trained networks decode while sliders move, and reconstruct one's own pictures."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from vaelab import UsageError
from vaelab.words import printable

NEEDED = ("starlette", "uvicorn")


def start(
    pattern: str,
    output_dir: Path,
    data_dir: str | None,
    own_modules: Sequence[str],
    device: str,
    host: str,
    port: int | None,
) -> None:
    """Serves the page of the runs of a glob pattern until Ctrl-C; raises UsageError where there is none to serve."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"vae-explore needs {name}: pip install 'vaelab[explore]'")
    from vaelab.explore import listening

    token = listening.token_for(host)
    with listening.listen(host, port) as listener:  # a port that is taken is said before networks are loaded
        from vaelab import hardware
        from vaelab.explore import lines, server
        from vaelab.explore.answers import Answers
        from vaelab.explore.explorer import Explorer

        chosen = hardware.device(device)
        found, refused = lines.read(pattern, output_dir / "report", data_dir, own_modules)
        for reason in refused:
            sys.stderr.write(f"vae-explore: left out: {reason}\n")
        answers = Answers([Explorer(line, chosen) for line in found], refused)
        answers.line({"line": 0})  # what is damaged is said before there is a page
        print(f"{sum(len(line.runs) for line in found)} runs on {chosen}; Ctrl-C ends the page")
        print(f"open {printable(listening.address(listener, host, token))}", flush=True)
        server.serve(answers, listener, token)

"""Where the numbers of a run come from: the source tree's commit and the versions of the packages."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def git_sha() -> str | None:
    """The commit of the source tree, with "+" when files differ from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    packages = ("vaelab", "torch", "numpy", "pillow", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}

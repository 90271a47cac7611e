"""A folder for Hugging Face: weights, configuration, model card and figures; and its upload."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vaelab import Failure, UsageError, __version__, build, files
from vaelab.export import card
from vaelab.runs import checkpoint
from vaelab.runs.open_run import OpenedRun

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
LIBRARY = "vaelab"  # by which a config.json says that it is one of ours
PACKAGE = "needs huggingface-hub: pip install 'vaelab[hub]'"


def write(opened: OpenedRun, folder: Path) -> None:
    """Writes all that vaelab.from_pretrained needs and a reader wants to know, each file whole.

    Raises UsageError for a run of modules of one's own, which nobody else could build, and for a folder that holds
    something else.
    """
    if modules := build.own_modules(opened.config):
        raise UsageError(
            f"{opened.run.folder} is made of modules of a user's own ({', '.join(modules)}), which from_pretrained "
            "builds for nobody: use to=onnx"
        )
    refuse_other(folder)
    tensors = opened.model().state_dict()
    figures = card.figures(opened.run.folder)
    # First, for it says whose the folder is to the next export if this one is interrupted.
    with files.whole(folder / CONFIG) as path:
        told = json.dumps(facts(opened), indent=2, ensure_ascii=False)
        path.write_text(f"{told}\n", encoding="utf-8")
    for old in (folder / "figures").glob("*.png"):
        old.unlink()
    for name in figures:
        with files.whole(folder / name) as path:
            shutil.copyfile(opened.run.folder / name, path)
    with files.whole(folder / CARD) as path:
        path.write_text(card.text(opened, figures), encoding="utf-8")
    with files.whole(folder / WEIGHTS) as path:
        checkpoint.write(path, tensors, {})


def refuse_other(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but an earlier export, for its README.md would be lost."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    file = folder / CONFIG
    if not file.is_file() or LIBRARY not in files.read_json(file):
        raise UsageError(
            f"output={folder} holds something else: give a folder that is empty or not there yet"
        )


def facts(opened: OpenedRun) -> dict[str, Any]:
    """What config.json says: all that builds the network, and where its weights come from."""
    config, info = opened.config, opened.info
    dataset = {key: info["dataset"].get(key) for key in ("name", "fingerprint", "sizes")}
    parts = {key: config.get(key) for key in ("likelihood", "regulariser", "loss")}
    return {
        LIBRARY: __version__,
        "image_shape": info["dataset"]["shape"],
        "classes": info["dataset"]["classes"],
        "model": OmegaConf.to_container(config.model),
        "dataset": dataset,
        "kl_weight_unit": config.kl_weight_unit,
        **{key: OmegaConf.to_container(part) for key, part in parts.items() if part is not None},
        "beta_eff": info.get("beta_eff"),
        "metrics": opened.metrics,
    }


def refuse_no_upload(name: str) -> None:
    """Raises UsageError where the package or a login is missing."""
    try:
        import huggingface_hub
        from huggingface_hub.utils import validate_repo_id
    except ImportError:
        raise UsageError(f"push={name} {PACKAGE}") from None
    try:
        validate_repo_id(name)
    except ValueError as error:
        raise UsageError(f"push={name} is no name at Hugging Face: {error}") from None
    if huggingface_hub.get_token() is None:
        raise UsageError(f"push={name} needs a login: give `hf auth login`, or set HF_TOKEN")


def upload(folder: Path, name: str) -> str:
    """Uploads a folder that write() has made as USER/NAME, and gives its address; raises Failure in one line."""
    import huggingface_hub

    api = huggingface_hub.HfApi(library_name=LIBRARY, library_version=__version__)
    own = [CONFIG, WEIGHTS, CARD, "figures/*.png"]
    with failures_in_words(f"push={name}"):
        api.create_repo(name, exist_ok=True)
        api.upload_folder(
            folder_path=folder, repo_id=name, allow_patterns=own, commit_message=f"vaelab {__version__}"
        )
    return f"{api.endpoint}/{name}"


@contextmanager
def failures_in_words(what: str) -> Iterator[None]:
    """Raises what a network or its other end refuses as Failure, in one line."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise Failure(f"{what} failed: {told}") from error

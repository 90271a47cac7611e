"""Fetches published data sets through torchvision, which knows addresses and checksums, and checks what is there."""

import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock

from vaelab import UsageError
from vaelab.data.published.idx import idx
from vaelab.data.published.layouts import LAYOUTS
from vaelab.files import cannot_write

TIMEOUT_SECONDS = 30
# Address and MD5 of what torchvision does not know. TensorFlow Datasets has the second by its SHA-256, and the projects
# vaetc, whose MD5s these are, and disent have both.
OTHERS = {
    "dsprites": (
        "https://github.com/google-deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        "7da33b31b13a06f4b04a70402ce90c2e",
    ),
    "shapes3d": ("https://storage.googleapis.com/3d-shapes/3dshapes.h5", "099a2078d58cec4daad0702c55d06868"),
}


def fetch(name: str, data_dir: Path, subset: str | None) -> None:
    """Downloads what is missing of a published data set, or not as published; UsageError where that fails.

    Two processes at once download it once.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / f".{name}.lock"), _timeout():
            if not is_whole(name, LAYOUTS[name].found(data_dir, subset)):
                _download(name, data_dir, subset)
    except (OSError, RuntimeError, HTTPException, ValueError) as error:
        if isinstance(error, OSError) and (told := cannot_write(data_dir, error)) is not error:
            raise told from None
        missing = (
            f"dataset={name} is not in {data_dir} as published and cannot be downloaded ({_reason(error)})"
        )
        raise UsageError(f"{missing}: {by_hand(name, data_dir)}") from None


def is_whole(name: str, files: Sequence[Path] | None) -> bool:
    """Whether the files of a published data set are all there, by their checksums where those are known."""
    if files is None:
        return False
    from torchvision.datasets.utils import check_integrity

    known = checksums(name)
    return all(check_integrity(file, known.get(file.name)) and _is_whole_idx(file) for file in files)


def _is_whole_idx(file: Path) -> bool:
    # torchvision unpacks these in place, and takes the first part of one for all of it.
    if not file.name.endswith("-ubyte"):
        return True
    try:
        return idx(file).size > 0
    except (OSError, ValueError):
        return False


def checksums(name: str) -> dict[str, str]:
    """The MD5s of published files by their names, where they are known."""
    from torchvision import datasets

    if name == "cifar10":
        return dict([*datasets.CIFAR10.train_list, *datasets.CIFAR10.test_list])
    if name == "stl10":
        return dict([*datasets.STL10.train_list, *datasets.STL10.test_list])
    return {file: checksum for file, (_, checksum) in _addresses(name).items()}


def _addresses(name: str) -> dict[str, tuple[str, str]]:
    """Address and MD5 by the name of the file, of what is read as it is downloaded."""
    from torchvision import datasets

    if name == "omniglot":
        prefix, zips = datasets.Omniglot.download_url_prefix, datasets.Omniglot.zips_md5
        return {f"{stem}.zip": (f"{prefix}/{stem}.zip", checksum) for stem, checksum in zips.items()}
    if name == "svhn":
        return {file: (url, checksum) for url, file, checksum in datasets.SVHN.split_list.values()}
    return {file: OTHERS[name] for file in LAYOUTS[name].files if name in OTHERS}


def _download(name: str, data_dir: Path, subset: str | None) -> None:
    from torchvision import datasets
    from torchvision.datasets import utils

    layout = LAYOUTS[name]
    if name == "celeba":
        for identifier, checksum, file in datasets.CelebA.file_list:
            if f"celeba/{file}" in layout.files:
                utils.download_file_from_google_drive(identifier, data_dir / "celeba", file, checksum)
        return
    if addresses := _addresses(name):
        for file in map(Path, layout.files):
            url, checksum = addresses[file.name]
            utils.download_url(url, data_dir / file.parent, file.name, checksum)
        return
    known = getattr(datasets, str(layout.torchvision))
    # Without __init__, which also loads everything, and pickles that old versions have left.
    dataset = known.__new__(known)
    vars(dataset).update(root=str(data_dir), split=subset, train=True, _check_exists=lambda: False)
    dataset.download()


def by_hand(name: str, data_dir: Path) -> str:
    """What to put where, in words."""
    layout = LAYOUTS[name]
    names = ", ".join(Path(file).name for file in layout.downloads)
    return f"get {names} from {layout.page} and put {'them' if ',' in names else 'it'} in {data_dir / layout.folder}"


def _reason(error: Exception) -> str:
    text = str(error)
    if "gdown" in text:
        return "Google Drive needs pip install gdown"
    if "corrupted" in text:
        return "other bytes came than are published"
    found = re.findall(r"Errno -?\d+\] ([^>\n]+)|(HTTP Error \d+[^>\n]*)|(timed out)", text)
    return next(filter(None, found[0])) if found else " ".join(text.split())


@contextmanager
def _timeout() -> Iterator[None]:
    # torchvision waits for ever
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

"""Where the images are: finds the source, lists its files, recognises it again and hashes its content."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path

from vaelab import UsageError
from vaelab.data.filenames import is_hidden
from vaelab.data.folders import images_below, is_own
from vaelab.files import refuse_irregular

ARRAY_SUFFIXES = frozenset((".npz", ".npy"))
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Source:
    """One source of images: an .npz, an .npy and its label file, a .zip, a folder, the embedded digits, ..."""

    kind: str  # npz, npy, zip, tar, parquet, folder, embedded, or the name of a published data set
    path: Path
    files: tuple[Path, ...]  # every file of images and labels
    listings: tuple[Path, ...] = ()  # of attributes: a .csv or CelebA's list, and then CelebA's split

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        """Names of the files relative to the source; of a lone file its role, so that it may be renamed."""
        if self.kind in ("npz", "npy", "zip"):
            return [self.kind, "label"][: len(self.files)]
        return [file.relative_to(self.path).as_posix() for file in self.files]

    def signature(self) -> str:
        """Hash of place, names, sizes and times of the files: equal means that nothing was touched.

        Raises UsageError for a pipe, a device and the like, which are not to be opened.
        """
        place = str(self.path.resolve()) if self.files else str(self.path)
        digest = blake2b(place.encode(errors="surrogateescape"), digest_size=16)
        for name, file in zip(self.names(), self.files, strict=True):
            digest.update(f"\0{name}\0{_touched(file)}".encode(errors="surrogateescape"))
        for file in self.listings:  # that may lie anywhere
            digest.update(f"\0{file.resolve()}\0{_touched(file)}".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def content(self) -> str:
        """Hash of names and bytes of the files."""
        digest = blake2b(self.kind.encode(), digest_size=16)
        # A listing goes by its suffix, so that it may be renamed as well.
        named = [
            *zip(self.names(), self.files, strict=True),
            *((file.suffix, file) for file in self.listings),
        ]
        for name, file in named:
            _update(digest, name, file)
        return digest.hexdigest()


def _touched(file: Path) -> str:
    """Size and time of a file as text, its parts joined by a zero byte; of a link without a target that it has none."""
    try:
        found = file.stat()
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        refuse_irregular(file)
    return f"{found.st_size}\0{found.st_mtime_ns}"


def _update(digest: blake2b, name: str, file: Path) -> None:
    # What cannot be read is a damaged image: decoding names or skips it.
    with suppress(OSError), file.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        digest.update(f"\0{name}\0{size}\0".encode(errors="surrogateescape"))
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
        return
    digest.update(f"\0{name}\0missing\0".encode(errors="surrogateescape"))


EMBEDDED = Source("embedded", Path("embedded"), ())


def find(path: str | None, data_dir: Path, files: Sequence[str], label_key: str | None) -> Source | None:
    """The source at `path`, else the first match of the glob patterns under data_dir, else None.

    Raises UsageError where `path` is missing or nothing that holds images.
    """
    if path == "embedded":
        return EMBEDDED
    if path is not None:
        return source_at(existing(Path(path).expanduser(), "dataset.path"), label_key, data_dir)
    for pattern in files:
        for match in sorted(data_dir.glob(pattern)):
            return source_at(match, label_key, data_dir)
    return None


def source_at(path: Path, label_key: str | None, data_dir: Path) -> Source:
    """The source that a file or folder is, of which data_dir is no part; UsageError where it is none."""
    if path.is_dir():
        return _folder(path, label_key, data_dir)
    suffix = path.suffix.lower()
    if path.name.lower().endswith(TAR_SUFFIXES):
        return Source("tar", path, (path,))
    if suffix in (".npz", ".zip", ".parquet"):
        return Source(suffix[1:], path, (path,))
    if suffix == ".npy":
        label = path.with_name(f"{label_key}.npy")
        return Source("npy", path, (path, label) if label_key and label.is_file() else (path,))
    raise UsageError(
        f"{path} is not a folder of images, a .zip, .tar, .npz, .npy or .parquet: give one as dataset.path=PATH"
    )


def _folder(path: Path, label_key: str | None, data_dir: Path) -> Source:
    try:
        images = images_below(path, data_dir)
    except OSError as error:
        raise UsageError(f"cannot read the folder {path}: {error.strerror} ({error.filename})") from None
    if images:
        return Source("folder", path, tuple(path / name for name in images))
    if tables := sorted(
        file for file in path.rglob("*.parquet") if not is_hidden(file.relative_to(path).as_posix())
    ):
        return Source("parquet", path, tuple(tables))
    packed = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in {".zip", *ARRAY_SUFFIXES}
        and file.name != f"{label_key}.npy"
        and not is_hidden(file.name)
    ) or sorted(path.glob("*/img_align_celeba.zip"))  # CelebA as published: Img, Anno and Eval
    if len(packed) == 1:
        return source_at(packed[0], label_key, data_dir)
    if packed:
        found = ", ".join(file.name for file in packed)
        raise UsageError(
            f"no images in the folder {path}, but {found}: name one of them with dataset.path=FILE"
        )
    raise _no_images(path, data_dir)


def _no_images(path: Path, data_dir: Path) -> UsageError:
    where = f"no images in the folder {path}"
    if is_own({file.name for file in path.iterdir()}):
        where = f"the folder {path} is a run or a report of vaelab's, and its figures are no data"
    elif path.resolve() in data_dir.resolve().parents:
        where += f" (data_dir={data_dir} is left out)"
    return UsageError(f"{where}: give a folder or a .zip of images as dataset.path=PATH")


def existing(path: Path, key: str) -> Path:
    """The path that was given for a key; UsageError with the nearest name where there is nothing."""
    if path.exists():
        return path
    siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = get_close_matches(path.name, siblings, n=1)
    remedy = (
        f"did you mean {path.with_name(nearest[0])}?" if nearest else f"give an existing one as {key}=PATH"
    )
    raise UsageError(f"no such file or folder: {path}; {remedy}")

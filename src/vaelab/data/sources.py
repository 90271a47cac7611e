"""Where the images are: finds the source, lists its files, recognises it again and hashes its content."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path, PurePosixPath, PureWindowsPath

from vaelab import UsageError

IMAGE_SUFFIXES = frozenset(
    (
        ".bmp",
        ".gif",
        ".jfif",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)
ARRAY_SUFFIXES = frozenset((".npz", ".npy"))


@dataclass(frozen=True)
class Source:
    """One source of images: an .npz, an .npy and its label file, a .zip, a folder, or the embedded digits."""

    kind: str  # npz, npy, zip, folder or embedded
    path: Path
    files: tuple[Path, ...]  # every file of images and labels
    listings: tuple[Path, ...] = ()  # of attributes: a .csv or CelebA's list, and then CelebA's split

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        """Names of the files relative to the source; of a lone file its role, so that it may be renamed."""
        if self.kind == "folder":
            return [file.relative_to(self.path).as_posix() for file in self.files]
        return [self.kind, "label"][: len(self.files)]

    def signature(self) -> str:
        """Hash of place, names, sizes and times of the files: equal means that nothing was touched."""
        place = str(self.path.resolve()) if self.files else str(self.path)
        digest = blake2b(place.encode(errors="surrogateescape"), digest_size=16)
        for name, file in zip(self.names(), self.files, strict=True):
            stat = file.stat()
            digest.update(f"\0{name}\0{stat.st_size}\0{stat.st_mtime_ns}".encode(errors="surrogateescape"))
        for file in self.listings:  # that may lie anywhere
            stat = file.stat()
            place = f"\0{file.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
            digest.update(place.encode(errors="surrogateescape"))
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
            digest.update(f"\0{name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
        return digest.hexdigest()


EMBEDDED = Source("embedded", Path("embedded"), ())


def find(path: str | None, data_dir: Path, files: Sequence[str], label_key: str | None) -> Source | None:
    """The source at `path`, else the first match of the glob patterns under data_dir, else None.

    Raises UsageError where `path` is missing or nothing that holds images.
    """
    if path == "embedded":
        return EMBEDDED
    if path is not None:
        return source_at(existing(Path(path).expanduser(), "dataset.path"), label_key)
    for pattern in files:
        for match in sorted(data_dir.glob(pattern)):
            return source_at(match, label_key)
    return None


def source_at(path: Path, label_key: str | None) -> Source:
    """The source that a file or folder is; UsageError where it is none."""
    if path.is_dir():
        return _folder(path, label_key)
    suffix = path.suffix.lower()
    if suffix in (".npz", ".zip"):
        return Source(suffix[1:], path, (path,))
    if suffix == ".npy":
        label = path.with_name(f"{label_key}.npy")
        return Source("npy", path, (path, label) if label_key and label.is_file() else (path,))
    raise UsageError(
        f"{path} is not a folder of images, a .zip, an .npz or an .npy: give one as dataset.path=PATH"
    )


def is_image(name: PurePosixPath) -> bool:
    """Whether a relative path names an image: by its suffix, and neither hidden nor macOS's side files."""
    return name.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def is_hidden(name: PurePosixPath) -> bool:
    """Whether a relative path is hidden, or one of macOS's side files."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def images_in_zip(archive: zipfile.ZipFile) -> list[str]:
    """Sorted names of the images of an archive; UsageError where any entry points outside of it."""
    for name in archive.namelist():
        plain = PureWindowsPath(name)  # knows both slashes, and drives
        if plain.anchor or ".." in plain.parts:
            raise UsageError(
                f"{archive.filename} is refused: its entry {name!r} points outside of the archive"
            )
    return sorted(entry for entry in archive.namelist() if is_image(PurePosixPath(entry)))


def _folder(path: Path, label_key: str | None) -> Source:
    try:
        images = sorted(_walk(path))
    except OSError as error:
        raise UsageError(f"cannot read the folder {path}: {error.strerror} ({error.filename})") from None
    if images:
        return Source("folder", path, tuple(path / name for name in images))
    packed = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in {".zip", *ARRAY_SUFFIXES} and file.name != f"{label_key}.npy"
    ) or sorted(path.glob("*/img_align_celeba.zip"))  # CelebA as published: Img, Anno and Eval
    if len(packed) == 1:
        return source_at(packed[0], label_key)
    if packed:
        found = ", ".join(file.name for file in packed)
        raise UsageError(
            f"no images in the folder {path}, but {found}: name one of them with dataset.path=FILE"
        )
    raise UsageError(
        f"no images in the folder {path}: give a folder or a .zip of images as dataset.path=PATH"
    )


def _walk(path: Path) -> list[str]:
    def stop(error: OSError) -> None:
        raise error

    names = []
    for folder, _, files in os.walk(path, onerror=stop):
        relative = PurePosixPath(Path(folder).relative_to(path).as_posix())
        names += [str(relative / file) for file in files if is_image(relative / file)]
    return names


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

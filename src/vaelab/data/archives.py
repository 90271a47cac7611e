"""What a .zip holds, whichever program packed it."""

import zipfile
from contextlib import suppress
from pathlib import PureWindowsPath
from zipfile import ZipInfo

from vaelab import UsageError
from vaelab.data.filenames import is_image
from vaelab.data.folders import without_own
from vaelab.words import printable

METHODS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
# Of APPNOTE.TXT 6.3.10, section 4.4.5; Explorer packs more than 2 GB by method 9.
OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
AES = 99  # stands where the method stands (WinZip)
ENCRYPTED, UTF_8 = 0x1, 0x800  # flag bits
IS_FOLDER = 0x10  # of the attributes of DOS


def files_in(archive: zipfile.ZipFile) -> dict[str, ZipInfo]:
    """The files of an archive by their names, with / between folders; UsageError where one points outside of it."""
    files = {}
    for entry in archive.infolist():
        name = _name(entry)
        plain = PureWindowsPath(name)  # knows both slashes, and drives
        if plain.anchor or ".." in plain.parts:
            raise UsageError(
                f"{archive.filename} is refused: its entry {printable(name)} points outside of the archive"
            )
        if not name.endswith("/") and not entry.external_attr & IS_FOLDER:
            files[name] = entry
    return files


def images_in(archive: zipfile.ZipFile) -> dict[str, ZipInfo]:
    """The images of an archive in the order of their names, without what vaelab wrote itself.

    Raises UsageError as files_in does, and for images that Python cannot unpack.
    """
    files = files_in(archive)
    images = {name: files[name] for name in sorted(without_own(list(files))) if is_image(name)}
    for name, entry in images.items():
        if reason := _locked(entry):
            raise UsageError(
                f"{archive.filename} cannot be read: {printable(name)} is {reason}; "
                "unpack it and give the folder as dataset.path=FOLDER"
            )
    return images


def unpacked(archive: zipfile.ZipFile, entry: ZipInfo) -> bytes:
    """The bytes of an entry, or what zipfile raises; no more of them are made than the entry declares."""
    with archive.open(entry) as stream:  # archive.read inflates two gigabytes of an entry that declares less
        return stream.read(entry.file_size)


def _name(entry: ZipInfo) -> str:
    name = entry.filename
    if not entry.flag_bits & UTF_8:
        with suppress(
            UnicodeError
        ):  # macOS does not say that it wrote UTF-8, and zipfile takes it for DOS's code page
            name = name.encode("cp437").decode()
    return name.replace("\\", "/")  # PowerShell and .NET


def _locked(entry: ZipInfo) -> str | None:
    if entry.compress_type == AES or entry.flag_bits & ENCRYPTED:
        return "encrypted with a password" + (" (AES)" if entry.compress_type == AES else "")
    if entry.compress_type in METHODS:
        return None
    method = OTHER_METHODS.get(entry.compress_type, f"method {entry.compress_type}")
    return f"compressed by {method}, which Python cannot unpack"

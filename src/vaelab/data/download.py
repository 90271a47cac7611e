"""Fetches one file over HTTP and keeps it only if its bytes are the expected ones."""

import os
from hashlib import sha1
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

from tqdm import tqdm

from vaelab import UsageError

TIMEOUT_SECONDS = 30


def git_blob_id(file: Path) -> str:
    """The id that git gives to a file's content: SHA-1 over b"blob <length>\\0" and the bytes."""
    digest = sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(url: str, target: Path, blob_id: str) -> Path:
    """Fetch `url` to `target` with a progress bar, if its git blob id is `blob_id`.

    Raises UsageError (where to get the file, where to put it) without a network or with other bytes, and then
    leaves nothing behind.
    """
    by_hand = f"get it from {url} and put it at {target}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid4().hex}")
        temporary.touch()
    except OSError as error:
        raise UsageError(
            f"cannot write to {target.parent}: {error.strerror}; choose another data_dir=FOLDER"
        ) from None
    try:
        _fetch(url, temporary, target.name)
        if git_blob_id(temporary) != blob_id:
            raise UsageError(
                f"{target.name} came incomplete or changed (its git blob id is not {blob_id}): {by_hand}"
            )
        os.replace(temporary, target)
    except HTTPError as error:
        error.close()  # it holds the connection
        raise UsageError(f"cannot download {target.name} ({error}): {by_hand}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)  # URLError wraps the cause
        raise UsageError(f"cannot download {target.name} ({reason}): {by_hand}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _fetch(url: str, file: Path, title: str) -> None:
    with urlopen(url, timeout=TIMEOUT_SECONDS) as response, file.open("wb") as stream:
        length = response.headers.get("Content-Length")
        with tqdm(desc=title, total=int(length) if length else None, unit="B", unit_scale=True) as bar:
            while chunk := response.read(1 << 16):
                stream.write(chunk)
                bar.update(len(chunk))

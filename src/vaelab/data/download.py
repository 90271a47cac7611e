"""Fetches one file over HTTP and keeps it only if its bytes are the expected ones."""

from hashlib import sha1
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

from tqdm import tqdm

from vaelab import UsageError
from vaelab.files import whole

TIMEOUT_SECONDS = 30


class Published(NamedTuple):
    """One file that is fetched: its address, and the git blob id that its bytes must have."""

    url: str
    blob_id: str


# By the name of the data set. No configuration names an address: what a run folder says must not be fetched.
PUBLISHED = {
    "tibetan_mnist": Published(
        "https://raw.githubusercontent.com/bat67/TibetanMNIST/master/Datasets/TibetanMNIST.npz",
        "554c2a4336abc43646fcce4f16014d065909047e",
    )
}


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
        with whole(target) as temporary:
            _fetch(url, temporary, target.name)
            if git_blob_id(temporary) != blob_id:
                raise UsageError(
                    f"{target.name} came incomplete or changed (its git blob id is not {blob_id}): {by_hand}"
                )
    except HTTPError as error:
        error.close()  # it holds the connection
        raise UsageError(f"cannot download {target.name} ({error}): {by_hand}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)  # URLError wraps the cause
        raise UsageError(f"cannot download {target.name} ({reason}): {by_hand}") from None
    return target


def _fetch(url: str, file: Path, title: str) -> None:
    with urlopen(url, timeout=TIMEOUT_SECONDS) as response, file.open("wb") as stream:
        length = response.headers.get("Content-Length")
        with tqdm(desc=title, total=int(length) if length else None, unit="B", unit_scale=True) as bar:
            while chunk := response.read(1 << 16):
                stream.write(chunk)
                bar.update(len(chunk))

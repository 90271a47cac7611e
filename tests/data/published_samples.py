"""Tiny files of every published layout, and torchvision told to fetch them from this machine."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import md5
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

TRAIN, TEST = 200, 40


class Sample(NamedTuple):
    """What a published data set holds: images (N, H, W, C) as they are to be read, labels (N,), train first."""

    images: np.ndarray
    labels: np.ndarray


def sample(height: int, width: int, channels: int, classes: int, top: int = 256) -> Sample:
    generator = np.random.default_rng(height + channels + classes)
    images = generator.integers(0, top, (TRAIN + TEST, height, width, channels), dtype=np.uint8)
    return Sample(images, np.arange(TRAIN + TEST) * 7 % classes)


def by_alphabet(found: Sample) -> Sample:
    """The labels of each split ascending, as those of files in the order of their names are."""
    halves = found.labels[:TRAIN], found.labels[TRAIN:]
    return Sample(found.images, np.concatenate([np.sort(half) for half in halves]))


SAMPLES = {
    "mnist": sample(28, 28, 1, 10),
    "fashion_mnist": sample(28, 28, 1, 10),
    "kmnist": sample(28, 28, 1, 10),
    "emnist": sample(28, 28, 1, 26),
    "omniglot": by_alphabet(sample(105, 105, 1, 4, top=2)),
    "svhn": sample(32, 32, 3, 10),
    "cifar10": sample(32, 32, 3, 10),
    "celeba": sample(40, 30, 3, 2),
    "stl10": sample(96, 96, 3, 10),
    "dsprites": sample(64, 64, 1, 3, top=2),
    "shapes3d": sample(64, 64, 3, 4),
}
BINARY = ("omniglot", "dsprites")
IDX = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


def images_of(name: str) -> np.ndarray:
    """The images of a sample in bytes."""
    images = SAMPLES[name].images
    return images * np.uint8(255) if name in BINARY else images


def write(name: str, folder: Path) -> None:
    """The files that are downloaded for a data set, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = SAMPLES[name]
    halves = {"train": (images[:TRAIN], labels[:TRAIN]), "test": (images[TRAIN:], labels[TRAIN:])}
    if name in IDX:
        for split, (pixels, classes) in zip(("train", "t10k"), halves.values(), strict=True):
            (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels[..., 0])))
            (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(classes)))
    else:
        globals()[f"_{name}"](folder, halves)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _emnist(folder: Path, halves: dict[str, Any]) -> None:
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for split, (pixels, classes) in halves.items():
            lying = idx(pixels[..., 0].transpose(0, 2, 1))
            archive.writestr(f"gzip/emnist-letters-{split}-images-idx3-ubyte.gz", gzip.compress(lying))
            archive.writestr(
                f"gzip/emnist-letters-{split}-labels-idx1-ubyte.gz", gzip.compress(idx(classes + 1))
            )


def _omniglot(folder: Path, halves: dict[str, Any]) -> None:
    for file, (pixels, classes) in zip(("background", "evaluation"), halves.values(), strict=True):
        with zipfile.ZipFile(folder / f"images_{file}.zip", "w") as archive:
            for number, (image, alphabet) in enumerate(zip(pixels, classes, strict=True)):
                stream = io.BytesIO()
                Image.fromarray(image[..., 0] * np.uint8(255)).convert("1").save(stream, "png")
                path = f"images_{file}/Alphabet_{alphabet}/character01/{number:04}_01.png"
                archive.writestr(path, stream.getvalue())


def _svhn(folder: Path, halves: dict[str, Any]) -> None:
    from scipy.io import savemat

    for split, (pixels, classes) in halves.items():
        digits = np.where(classes == 0, 10, classes)[:, None].astype(np.uint8)
        savemat(
            folder / f"{split}_32x32.mat",
            {"X": pixels.transpose(1, 2, 3, 0), "y": digits},
            do_compression=True,
        )


def _cifar10(folder: Path, halves: dict[str, Any]) -> None:
    (pixels, classes), test = halves.values()
    batches = {f"data_batch_{n + 1}": (pixels[n * 40 :][:40], classes[n * 40 :][:40]) for n in range(5)}
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for file, (images, labels) in {**batches, "test_batch": test}.items():
            rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
            add(
                archive,
                f"cifar-10-batches-py/{file}",
                pickle.dumps({"data": rows, "labels": labels.tolist()}),
            )


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _celeba(folder: Path, halves: dict[str, Any]) -> None:
    del halves
    images, labels = SAMPLES["celeba"]
    names = [f"{number + 1:06}.jpg" for number in range(len(images))]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for name, image in zip(names, images, strict=True):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "png")  # without loss, and read by what the bytes are
            archive.writestr(f"img_align_celeba/{name}", stream.getvalue())
    rows = "".join(
        f"{name} {1 - 2 * label} {2 * label - 1}\n" for name, label in zip(names, labels, strict=True)
    )
    (folder / "list_attr_celeba.txt").write_text(f"{len(names)}\nMale Smiling\n{rows}")
    splits = np.repeat([0, 1, 2], [TRAIN - 20, 20, TEST])
    rows = "".join(f"{name} {split}\n" for name, split in zip(names, splits, strict=True))
    (folder / "list_eval_partition.txt").write_text(rows)


def _stl10(folder: Path, halves: dict[str, Any]) -> None:
    with tarfile.open(folder / "stl10_binary.tar.gz", "w:gz") as archive:
        for split, (pixels, classes) in halves.items():
            add(archive, f"stl10_binary/{split}_X.bin", pixels.transpose(0, 3, 2, 1).tobytes())
            add(archive, f"stl10_binary/{split}_y.bin", (classes + 1).astype(np.uint8).tobytes())
        add(archive, "stl10_binary/unlabeled_X.bin", b"not read")


def _dsprites(folder: Path, halves: dict[str, Any]) -> None:
    del halves
    images, labels = SAMPLES["dsprites"]
    factors = np.zeros((len(labels), 6), np.int64)
    factors[:, 1] = labels
    np.savez_compressed(
        folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        metadata=np.array({"title": "a pickle"}, dtype=object),
        imgs=images[..., 0],
        latents_classes=factors,
        latents_values=factors.astype(float),
    )


def _shapes3d(folder: Path, halves: dict[str, Any]) -> None:
    del halves
    import h5py

    images, labels = SAMPLES["shapes3d"]
    factors = np.zeros((len(labels), 6))
    factors[:, 4] = labels
    with h5py.File(folder / "3dshapes.h5", "w") as arrays:
        # Chunks across images, as h5py chooses them for the published file.
        arrays.create_dataset("images", data=images, chunks=(150, 4, 4, 1), compression="gzip")
        arrays["labels"] = factors


def digest(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def addresses(name: str, folder: Path, site: str) -> list[tuple[str, str, Any]]:
    """What to set so that the files of a folder are what a data set is made of: module or class, attribute, value."""
    sums = {file.name: digest(file.read_bytes()) for file in folder.iterdir()}
    if name in IDX:
        return [(IDX[name], "mirrors", [f"{site}/"]), (IDX[name], "resources", sorted(sums.items()))]
    if name == "emnist":
        return [("EMNIST", "url", f"{site}/gzip.zip"), ("EMNIST", "md5", sums["gzip.zip"])]
    if name == "omniglot":
        zips = {file.removesuffix(".zip"): checksum for file, checksum in sums.items()}
        return [("Omniglot", "download_url_prefix", site), ("Omniglot", "zips_md5", zips)]
    if name == "svhn":
        return [("SVHN", "split_list", {file: [f"{site}/{file}", file, sums[file]] for file in sums})]
    if name in ("cifar10", "stl10"):
        kind, [(file, checksum)] = name.upper(), sums.items()
        with tarfile.open(folder / file) as archive:
            members = [
                [Path(member.name).name, digest(archive.extractfile(member).read())]  # type: ignore[union-attr]
                for member in archive
            ]
        lists = {
            split: [member for member in members if ("test" in member[0]) == (split == "test")]
            for split in ("train", "test")
        }
        return [
            (kind, "url", f"{site}/{file}"),
            (kind, "tgz_md5", checksum),
            *((kind, f"{split}_list", found) for split, found in lists.items()),
        ]
    return []


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address under which a folder is served on the loopback interface."""
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(SimpleHTTPRequestHandler):
    """Serves silently."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up, as torchvision does when it follows redirections."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

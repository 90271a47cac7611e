"""Tests of the published data sets, on tiny files of each layout that are served on the loopback interface."""

import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import CONF, configured
from published_samples import SAMPLES, TEST, TRAIN, addresses, digest, images_of, served, write

from vaelab import UsageError
from vaelab.data import ImageSet, load_published
from vaelab.data.imageset import hashed_split
from vaelab.data.published import fetch
from vaelab.data.published.layouts import LAYOUTS

# torchvision leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FETCHED = [name for name in SAMPLES if name != "celeba"]  # which needs Google Drive
Publish = Callable[[str], Path]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder that is served, and its address; the addresses that torchvision knows are not reached."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "served").mkdir()
    with served(tmp_path / "served") as address:
        yield tmp_path / "served", address


@pytest.fixture
def publish(site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publishes the sample of a data set: torchvision knows its address and checksums."""
    from torchvision import datasets

    folder, address = site

    def publish(name: str) -> Path:
        write(name, folder / name)
        for kind, attribute, value in addresses(name, folder / name, f"{address}/{name}"):
            monkeypatch.setattr(getattr(datasets, kind), attribute, value)
        if name in fetch.OTHERS:
            [file] = (folder / name).iterdir()
            known = (f"{address}/{name}/{file.name}", digest(file.read_bytes()))
            monkeypatch.setitem(fetch.OTHERS, name, known)
        return folder / name

    return publish


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name resolves and nothing connects."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def loaded(name: str, data_dir: Path, **overrides: Any) -> ImageSet:
    return load_published(**configured(name, data_dir, **overrides))


def refused(name: str, data_dir: Path, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        loaded(name, data_dir, **overrides)
    assert "\n" not in str(error.value)
    assert "Error" not in str(error.value).replace("HTTP Error", "")
    for word in words:
        assert word in str(error.value)


def holds(images: ImageSet, name: str) -> None:
    np.testing.assert_array_equal(images.images, images_of(name))
    np.testing.assert_array_equal(images.labels, SAMPLES[name].labels)
    assert len(images.classes) == SAMPLES[name].labels.max() + 1


@pytest.mark.parametrize("name", FETCHED)
def test_fetched_checked_and_prepared_once(
    name: str, publish: Publish, data_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = publish(name)
    first = loaded(name, data_dir)
    holds(first, name)
    assert "100%" in capfd.readouterr().err
    shutil.rmtree(folder)
    assert loaded(name, data_dir).fingerprint == first.fingerprint
    for file in [*data_dir.iterdir()]:  # what is prepared is enough
        if file.name != "prepared":
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert loaded(name, data_dir).fingerprint == first.fingerprint
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in FETCHED if name not in ("dsprites", "shapes3d")])
def test_published_splits_are_used_as_they_are(name: str, publish: Publish, data_dir: Path) -> None:
    publish(name)
    split = loaded(name, data_dir).split
    assert (split[TRAIN:] == 2).all()
    np.testing.assert_array_equal(split[:TRAIN] == 1, hashed_split(name, TRAIN) == 1)
    assert (split[:TRAIN] != 2).all()
    assert 0.04 < (split[:TRAIN] == 1).mean() < 0.16


def test_celeba_has_splits_and_attributes_of_its_own(data_dir: Path) -> None:
    write("celeba", data_dir / "celeba")
    smiling = loaded("celeba", data_dir, size=None)
    holds(smiling, "celeba")
    assert smiling.classes == ("not smiling", "smiling")
    assert smiling.sizes() == {"train": TRAIN - 20, "val": 20, "test": TEST}
    male = loaded("celeba", data_dir, size=None, attribute="male")
    np.testing.assert_array_equal(male.labels, 1 - SAMPLES["celeba"].labels)
    assert loaded("celeba", data_dir).image_shape == (3, 64, 64)


def test_celeba_as_torchvision_unpacks_it(data_dir: Path) -> None:
    write("celeba", data_dir / "celeba")
    shutil.unpack_archive(data_dir / "celeba" / "img_align_celeba.zip", data_dir / "celeba")
    (data_dir / "celeba" / "img_align_celeba.zip").unlink()
    holds(loaded("celeba", data_dir, size=None), "celeba")


def test_celeba_by_hand_in_one_line(data_dir: Path, offline: None) -> None:
    words = ("gdown", "img_align_celeba.zip", "list_eval_partition.txt", "mmlab", str(data_dir / "celeba"))
    refused("celeba", data_dir, *words)


@pytest.mark.parametrize("name", FETCHED)
def test_without_a_network_one_line_says_what_to_put_where(name: str, data_dir: Path, offline: None) -> None:
    layout = LAYOUTS[name]
    files = (Path(file).name for file in layout.downloads)
    refused(
        name, data_dir, f"dataset={name}", "Name or service not known", *files, layout.page, str(data_dir)
    )


@pytest.mark.parametrize("name", FETCHED)
def test_what_is_put_there_by_hand_needs_no_network(
    name: str, publish: Publish, data_dir: Path, offline: None
) -> None:
    shutil.copytree(publish(name), data_dir / LAYOUTS[name].folder)
    holds(loaded(name, data_dir), name)


@pytest.mark.parametrize("name", FETCHED)
def test_other_bytes_than_the_published_are_refused(name: str, publish: Publish, data_dir: Path) -> None:
    for file in publish(name).iterdir():
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    refused(name, data_dir, f"dataset={name}", "other bytes", LAYOUTS[name].page)
    assert not (data_dir / "prepared").exists()


def test_missing_page_is_one_line(publish: Publish, data_dir: Path) -> None:
    shutil.rmtree(publish("svhn"))
    refused("svhn", data_dir, "HTTP Error 404", "train_32x32.mat")


def test_half_a_download_is_fetched_again(publish: Publish, data_dir: Path) -> None:
    for name in ("svhn", "mnist"):  # a process was killed while it downloaded one and unpacked the other
        publish(name)
        expected = loaded(name, data_dir).fingerprint
        shutil.rmtree(data_dir / "prepared")
        file = data_dir / LAYOUTS[name].files[0]
        file.write_bytes(file.read_bytes()[:-100])
        assert loaded(name, data_dir).fingerprint == expected


def test_pickles_are_opened_only_as_published(publish: Publish, data_dir: Path, tmp_path: Path) -> None:
    publish("cifar10")
    loaded("cifar10", data_dir)

    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "opened",)

    batch = data_dir / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(pickle.dumps(Trap()))
    refused("cifar10", tmp_path, "data_batch_3 has another checksum", path=str(data_dir))
    loaded("cifar10", data_dir)  # fetched again
    processed = data_dir / "MNIST" / "processed"  # of torchvision before 0.9
    processed.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps(Trap()))
    publish("mnist")
    holds(loaded("mnist", data_dir), "mnist")
    assert not (tmp_path / "opened").exists()


def test_upright_letters_of_a_subset(publish: Publish, data_dir: Path) -> None:
    publish("emnist")
    letters = loaded("emnist", data_dir)
    assert "".join(letters.classes) == "abcdefghijklmnopqrstuvwxyz"
    refused("emnist", data_dir, "gzip.zip", subset="digits")  # the archive of this test has letters only


def test_factors_split_by_the_hash_like_any_array(publish: Publish, data_dir: Path) -> None:
    for name, classes in (
        ("dsprites", ("square", "ellipse", "heart")),
        ("shapes3d", ("cube", "cylinder", "sphere", "capsule")),
    ):
        publish(name)
        images = loaded(name, data_dir)
        assert images.classes == classes
        np.testing.assert_array_equal(images.split, hashed_split(name, TRAIN + TEST))


@pytest.mark.parametrize("name", ["dsprites", "shapes3d", "mnist", "stl10"])
def test_files_elsewhere_are_given_as_a_path(
    name: str, publish: Publish, data_dir: Path, tmp_path: Path
) -> None:
    folder = publish(name)
    if name in fetch.OTHERS:
        [file] = folder.iterdir()
        moved = file.rename(file.with_name(f"renamed{file.suffix}"))
        holds(loaded(name, data_dir, path=str(moved)), name)
        return
    loaded(name, tmp_path / "elsewhere" / name)
    shutil.rmtree(folder)
    holds(loaded(name, data_dir, path=str(tmp_path / "elsewhere")), name)  # in a folder of its name
    holds(loaded(name, data_dir, path=str(tmp_path / "elsewhere" / name)), name)
    refused(name, data_dir, LAYOUTS[name].page, path=str(tmp_path / "served"))


def test_other_sizes(publish: Publish, data_dir: Path) -> None:
    publish("mnist")
    assert loaded("mnist", data_dir, size=32).image_shape == (1, 32, 32)
    publish("dsprites")
    assert loaded("dsprites", data_dir, size=[16, 32]).image_shape == (1, 16, 32)


def test_damaged_files_of_a_path_are_named(publish: Publish, data_dir: Path, tmp_path: Path) -> None:
    for name in ("mnist", "svhn", "stl10", "omniglot"):
        publish(name)
        loaded(name, data_dir)
        for file in LAYOUTS[name].files:
            data = (data_dir / file).read_bytes()
            (data_dir / file).write_bytes(data[: len(data) // 3])
        refused(name, tmp_path, f"dataset={name}", str(data_dir), path=str(data_dir))
    for name in ("dsprites", "shapes3d"):
        [file] = publish(name).iterdir()
        file.write_bytes(file.read_bytes()[:2000])
        refused(name, tmp_path, f"dataset={name}", str(file), path=str(file))


def test_keys_of_other_data_sets_are_refused(data_dir: Path) -> None:
    refused("mnist", data_dir, "dataset.subset is for dataset=emnist", subset="letters")
    refused("emnist", data_dir, "dataset.subset is for dataset=emnist", subset=None)
    refused("celeba", data_dir, "dataset.attribute is for dataset=celeba", attribute=None)
    with pytest.raises(UsageError, match="is not published"):
        load_published(name="mnist2", path=None, data_dir=str(data_dir), size=None)


def test_without_h5py_one_line_names_the_extra(
    publish: Publish, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("shapes3d")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    refused("shapes3d", data_dir, "pip install 'vaelab[shapes3d]'")


def test_every_layout_has_a_configuration() -> None:
    configurations = {file.stem for file in CONF.glob("*.yaml") if "load_published" in file.read_text()}
    assert configurations == set(LAYOUTS) == set(SAMPLES)

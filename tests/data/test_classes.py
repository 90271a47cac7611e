"""Tests of what folders say of the images in them: splits and classes."""

from pathlib import Path

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs

from vaelab import UsageError
from vaelab.data.classes import by_folders
from vaelab.data.imageset import SPLITS, hashed_split

SET = Path("set")


def files(**counts: int) -> list[str]:
    """Sorted names of images by folder, in which __ stands for /, and _ alone for no folder."""
    return sorted(
        f"{'' if folder == '_' else folder.replace('__', '/') + '/'}{number:03}.png"
        for folder, count in counts.items()
        for number in range(count)
    )


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (["a.png", "b.png"], (), None),
        (["x/a.png", "x/b.png"], (), None),
        (["x/cat/a.png", "x/dog/b.png", "x/dog/c.png"], ("cat", "dog"), [0, 1, 1]),
        (["dog/1/a.png", "cat/2/a.png"], ("cat", "dog"), [1, 0]),
        (["x/a.png", "x/y/b.png"], (), None),
        (["10/a.png", "2/a.png", "1/a.png"], ("1", "2", "10"), [2, 1, 0]),
        (["./cat/a.png", "dog//b.png"], ("cat", "dog"), [0, 1]),
        (["train/a.png", "bus/b.png"], ("bus", "train"), [1, 0]),
        (["caf\udce9/a.png", "new\nline/b.png"], ("caf\\udce9", "new\\nline"), [0, 1]),
    ],
)
def test_sub_folders_are_classes(
    names: list[str], classes: tuple[str, ...], labels: list[int] | None
) -> None:
    found = by_folders(SET, names)
    assert found.names == names
    assert found.classes == classes
    assert (None if found.labels is None else found.labels.tolist()) == labels
    assert (found.split, found.selection) == (None, None)


@pytest.mark.parametrize("folder", ["_", "set", "other"])
def test_few_images_beside_the_classes_are_left_out(folder: str) -> None:
    top = {"_": "", "set": "set__", "other": "deep__set__"}[folder]
    names = files(**{f"{top}cat": 30, f"{top}dog": 30, folder if folder != "other" else "deep": 2})
    found = by_folders(SET, names)
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [30, 30]
    assert found.names == [name for name in names if "cat" in name or "dog" in name]
    assert found.selection is not None
    assert found.selection.counts == {"left_out": 2}
    assert found.selection.remark.startswith("left out 2 of 62 images of set, in no folder of a class: ")
    assert [names[position] for position in found.selection.positions] == found.names


def test_many_images_beside_the_folders_are_no_oversight() -> None:
    found = by_folders(SET, files(_=40, old=5, rejected=6))
    assert (len(found.names), found.labels, found.classes) == (51, None, ())
    assert found.selection is not None
    assert found.selection.remark == "no classes: 40 images of set lie beside its folders old, rejected"


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Validation", "TESTING"),
        ("TRAIN", "valid", "Test"),
        ("train", "dev", "test"),
        ("train2017", "val2017", "test2017"),
        ("training_set", "validation set", "test-set"),
        ("train_images", "valid_images", "test_images"),
        ("images__train", "images__val", "images__test"),
        ("train__train", "val__val", "test__test"),
    ],
)
def test_folders_of_splits(train: str, val: str, test: str) -> None:
    counts = {f"{train}__cat": 10, f"{train}__dog": 12, f"{val}__cat": 3, f"{val}__dog": 4, f"{test}__cat": 5}
    names = files(**counts)
    found = by_folders(SET, names)
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [int("dog" in name) for name in names]
    assert found.split is not None
    assert np.bincount(found.split).tolist() == [22, 7, 5]
    assert found.selection is None


def test_splits_without_classes() -> None:
    found = by_folders(SET, files(train=10, val=2, test=3, annotations=4, _=1))
    assert found.split is not None
    assert np.bincount(found.split).tolist() == [10, 2, 3]
    assert (found.labels, found.classes) == (None, ())
    assert found.selection is not None
    assert found.selection.counts == {"left_out": 5}
    assert "left out 5 of 20 images of set, in no folder of a split: 000.png, annotations/000.png" in (
        found.selection.remark
    )


@pytest.mark.parametrize("unlabelled", ["test", "test__unknown", "test__test"])
def test_images_of_test_without_a_class_are_left_out(unlabelled: str) -> None:
    found = by_folders(SET, files(train__cat=40, train__dog=40, val__cat=5, **{unlabelled: 20}))
    assert found.classes == ("cat", "dog")
    assert len(found.names) == 85
    assert found.selection is not None
    assert (
        "left out 20 of 105 images of set, in no folder of a class that train has" in found.selection.remark
    )
    assert "no images for test: a tenth of train is taken" in found.selection.remark


def write(top: Path, **counts: int) -> Path:
    for folder, count in counts.items():
        save_pngs(top / folder.replace("__", "/"), noise(count, 4, 4))
    return top


@pytest.mark.parametrize(("given", "missing"), [("val", "test"), ("test", "val")])
def test_a_missing_split_is_taken_from_train(
    tmp_path: Path, load_data: Load, capsys: pytest.CaptureFixture[str], given: str, missing: str
) -> None:
    top = write(tmp_path / "x", train__cat=60, train__dog=60, **{f"{given}__cat": 9, f"{given}__dog": 9})
    loaded = load_data(top)
    assert loaded.sizes()[given] == 18
    assert 0 < loaded.sizes()[missing] < 25
    rows = [row for row, name in enumerate(loaded.names) if name.startswith("train/")]
    hashed = hashed_split("small", len(loaded.names)) == SPLITS.index(missing)
    np.testing.assert_array_equal(loaded.split[rows] == SPLITS.index(missing), hashed[rows])
    assert f"no images for {missing}: a tenth of train is taken, chosen by a hash" in capsys.readouterr().err
    assert load_data(top).fingerprint == loaded.fingerprint


def test_published_splits_are_used_as_they_are(tmp_path: Path, load_data: Load) -> None:
    loaded = load_data(
        write(tmp_path / "x", train__a=20, train__b=20, valid__a=4, valid__b=5, test__a=6, test__b=7)
    )
    assert loaded.sizes() == {"train": 40, "val": 9, "test": 13}
    assert loaded.classes == ("a", "b")


def test_a_split_without_train_is_refused(tmp_path: Path, load_data: Load) -> None:
    with pytest.raises(
        UsageError, match="20 images give 0 train, 10 val, 10 test, and no split may be empty"
    ):
        load_data(write(tmp_path / "x", val__cat=10, test__cat=10))


def test_folders_of_splits_hold_with_attributes(tmp_path: Path, load_data: Load) -> None:
    top = write(tmp_path / "x", train=40, val=10, test=10)
    names = files(train=40, val=10, test=10)
    rows = [f"{name},{'red' if number % 2 else 'blue'}" for number, name in enumerate(names)]
    (tmp_path / "x.csv").write_text("\n".join(["file,color", *rows]))
    loaded = load_data(top, attribute="color")
    assert loaded.sizes() == {"train": 40, "val": 10, "test": 10}
    assert loaded.classes == ("blue", "red")

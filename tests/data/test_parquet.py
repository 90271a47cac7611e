"""Tests of pictures in Parquet files, as Hugging Face keeps its image data sets."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise
from PIL import Image

from vaelab import UsageError
from vaelab.data.imageset import hashed_split

pa = pytest.importorskip("pyarrow", reason="pip install 'vaelab[parquet]'")
pq = pytest.importorskip("pyarrow.parquet")

COUNT = 60
IMAGES = noise(COUNT)
LABELS = np.arange(COUNT) * 7 % 3


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def write(
    path: Path,
    rows: slice = slice(None),
    names: list[str] | None = None,
    image: str = "image",
    **options: Any,
) -> Path:
    """A file as datasets.Dataset.to_parquet writes it: pictures as struct, names of the classes in the metadata."""
    images = [{"bytes": png(image), "path": f"{number}.png"} for number, image in enumerate(IMAGES[rows])]
    table = pa.table({image: images, "label": LABELS[rows]})
    features = {image: {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def refused(load_data: Load, path: Path, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **overrides)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_pictures_and_named_classes(tmp_path: Path, load_data: Load) -> None:
    loaded = load_data(write(tmp_path / "x.parquet", names=["cat", "dog", "eel"], row_group_size=7))
    np.testing.assert_array_equal(loaded.images, IMAGES)
    np.testing.assert_array_equal(loaded.labels, LABELS)
    assert loaded.classes == ("cat", "dog", "eel")
    np.testing.assert_array_equal(loaded.split, hashed_split("small", COUNT))


def test_bytes_without_a_struct_and_labels_as_text(tmp_path: Path, load_data: Load) -> None:
    words = np.array(["eel", "ant", "bee"])
    table = pa.table({"image": [png(image) for image in IMAGES], "label": words[LABELS]})
    pq.write_table(table, tmp_path / "x.parquet")
    loaded = load_data(tmp_path / "x.parquet")
    np.testing.assert_array_equal(loaded.images, IMAGES)
    assert loaded.classes == ("ant", "bee", "eel")
    assert [loaded.classes[label] for label in loaded.labels] == words[LABELS].tolist()


@pytest.mark.parametrize("pattern", ["data/{}-00000-of-00001.parquet", "default/{}/0000.parquet"])
def test_files_of_a_folder_are_splits(tmp_path: Path, load_data: Load, pattern: str) -> None:
    parts = {"test": slice(0, 20), "train": slice(20, 50), "validation": slice(50, 60)}
    for split, rows in parts.items():
        write(tmp_path / "set" / pattern.format(split), rows, ["a", "b", "c"])
    loaded = load_data(tmp_path / "set")
    np.testing.assert_array_equal(loaded.images, IMAGES)  # in the order of the files' names
    np.testing.assert_array_equal(loaded.split, np.repeat([2, 0, 1], [20, 30, 10]))


def test_val_is_taken_from_train_by_the_hash(tmp_path: Path, load_data: Load) -> None:
    write(tmp_path / "set" / "test-00000-of-00001.parquet", slice(0, 10))
    write(tmp_path / "set" / "train-00000-of-00001.parquet", slice(10, 60))
    split = load_data(tmp_path / "set").split
    np.testing.assert_array_equal(split == 2, np.arange(COUNT) < 10)
    np.testing.assert_array_equal(split[10:] == 1, hashed_split("small", COUNT)[10:] == 1)


def test_other_columns_are_named(tmp_path: Path, load_data: Load) -> None:
    path = write(tmp_path / "x.parquet", image="img")
    refused(load_data, path, "no column image", "img, label", "dataset.image_key=img")
    np.testing.assert_array_equal(load_data(path, image_key="img").images, IMAGES)
    assert load_data(path, image_key="img", label_key=None).labels is None
    refused(load_data, path, "label", "of type int64", image_key="label")


def test_labels_of_no_class(tmp_path: Path, load_data: Load) -> None:
    path = write(tmp_path / "x.parquet", names=["only", "two"])
    refused(load_data, path, "none of its 2 classes", "dataset.label_key=null")


def test_damage_is_named(tmp_path: Path, load_data: Load) -> None:
    data = write(tmp_path / "x.parquet").read_bytes()
    for number, broken in enumerate((data[:-100], data[100:], b"", b"PAR1" * 100)):
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(broken)
        refused(load_data, path, str(path))
    middle = bytearray(data)
    middle[1000:1100] = bytes(100)
    (tmp_path / "m.parquet").write_bytes(middle)
    refused(load_data, tmp_path / "m.parquet", "m.parquet")


def test_missing_pictures_are_named_or_skipped(tmp_path: Path, load_data: Load) -> None:
    images = [
        {"bytes": None if number == 5 else png(image), "path": "x"} for number, image in enumerate(IMAGES)
    ]
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet")
    refused(load_data, tmp_path / "x.parquet", "row 5")
    np.testing.assert_array_equal(
        load_data(tmp_path / "x.parquet", on_error="skip").images, np.delete(IMAGES, 5, 0)
    )


def test_bombs_are_refused_by_what_they_declare(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.data.limits.BOMB_BYTES", 1 << 20)
    zeros = pa.array([bytes(1 << 20)] * 8, pa.binary())
    pq.write_table(
        pa.table({"image": zeros}), tmp_path / "x.parquet", compression="zstd", use_dictionary=False
    )
    refused(load_data, tmp_path / "x.parquet", "unpack")


def test_without_pyarrow_one_line_names_the_extra(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.parquet")
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    refused(load_data, path, "pip install 'vaelab[parquet]'")

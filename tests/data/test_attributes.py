"""Tests of attributes as labels: tables, CelebA's own layout, what is left out and what is refused."""

import csv
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, configured, noise, save_pngs
from PIL import Image, ImageOps

from vaelab import UsageError
from vaelab.data import SPLITS, load
from vaelab.data.archives import images_in
from vaelab.data.attributes import by_attribute
from vaelab.data.imageset import hashed_split
from vaelab.data.tables import Listing

COUNT = 60
COLOURS = [("red", "green", "blue")[number % 3] for number in range(COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty images in `x`, beside which tests write `x.csv`."""
    save_pngs(tmp_path / "x", noise(COUNT))
    return tmp_path / "x"


def table(path: Path, values: list[Any], column: str = "color", names: list[str] | None = None) -> Path:
    """Write file,<column> with one row per image."""
    names = names or [f"{number:03}.png" for number in range(len(values))]
    rows = [f"{name},{value}" for name, value in zip(names, values, strict=True)]
    path.write_text("\n".join([f"file,{column}", *rows]) + "\n", encoding="utf-8")
    return path


def zipped(path: Path, root: Path) -> Path:
    """The files below `root` as a .zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root))
    return path


def refused(load_data: Load, path: Path | str, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **({"attribute": "color"} | overrides))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def shown(loaded: Any) -> list[str]:
    """Class name of each image."""
    return [loaded.classes[label] for label in loaded.labels]


def meta(data_dir: Path) -> dict[str, Any]:
    (file,) = data_dir.glob("prepared/*/meta.json")
    return json.loads(file.read_text())


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_text_values_are_the_classes(tmp_path: Path, folder: Path, load_data: Load, kind: str) -> None:
    table(tmp_path / "x.csv", COLOURS)
    loaded = load_data(folder if kind == "folder" else zipped(tmp_path / "x.zip", folder), attribute="color")
    assert loaded.classes == ("blue", "green", "red")
    assert shown(loaded) == COLOURS
    assert loaded.labels is not None
    assert loaded.labels.dtype == np.int64
    np.testing.assert_array_equal(loaded.images, noise(COUNT))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (("0", "1"), ("not wavy hair", "wavy hair")),
        (("-1", "1"), ("not wavy hair", "wavy hair")),
        (("0.0", "1.0"), ("not wavy hair", "wavy hair")),
        (("no", "yes"), ("no", "yes")),
        (("2", "10"), ("2", "10")),
    ],
)
def test_names_of_classes(
    folder: Path, load_data: Load, values: tuple[str, str], classes: tuple[str, str]
) -> None:
    table(folder.with_suffix(".csv"), [values[number % 2] for number in range(COUNT)], "Wavy_Hair")
    loaded = load_data(folder, attribute="wavy_hair")
    assert loaded.classes == classes
    assert shown(loaded) == [classes[number % 2] for number in range(COUNT)]


def test_any_table_and_any_file_column(folder: Path, load_data: Load) -> None:
    path = folder.parent / "tags, all.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Color ", "Image_ID", "note"])
        for number in reversed(range(COUNT)):
            writer.writerow([COLOURS[number], f".\\{number:03}.png", 'a "b",\nc'])
    assert shown(load_data(folder, attribute="color", attributes=str(path))) == COLOURS


def test_first_column_names_the_file_by_default(folder: Path, load_data: Load) -> None:
    path = table(folder.with_suffix(".csv"), COLOURS)
    path.write_text(path.read_text().replace("file,", "picture,"))
    assert shown(load_data(folder, attribute="color")) == COLOURS


def test_files_match_by_path_then_by_unique_base_name(tmp_path: Path, load_data: Load) -> None:
    root = tmp_path / "root"
    save_pngs(root / "top" / "a", noise(COUNT))
    save_pngs(root / "top" / "b", noise(COUNT, seed=1))
    save_pngs(root / "top" / "c", noise(1))[0].rename(root / "top" / "c" / "only.png")
    path = zipped(tmp_path / "x.zip", root)
    names = [f"{part}/{number:03}.png" for part in "ab" for number in range(COUNT)]
    values = ["one"] * COUNT + ["two"] * COUNT + ["three"]
    expected = sorted(values, key=["one", "two", "three"].index)
    for prefix in ("", "top/"):
        table(tmp_path / "x.csv", values, "part", [*(prefix + name for name in names), "elsewhere/only.png"])
        assert shown(load_data(path, attribute="part")) == expected
    # a base name that two images have names neither of them
    table(
        tmp_path / "x.csv",
        ["one", "two", "one", "two"],
        "part",
        [*names[:1], *names[-1:], "000.png", "only.png"],
    )
    refused(load_data, path, "3 images give", attribute="part")


def test_images_without_the_attribute_are_left_out(
    folder: Path, load_data: Load, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = ["" if number in (3, 40) else colour for number, colour in enumerate(COLOURS)]
    path = table(folder.with_suffix(".csv"), values)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-5], "gone.png,red", ""]))
    loaded = load_data(folder, attribute="color")
    kept = [number for number in range(COUNT - 5) if number not in (3, 40)]
    np.testing.assert_array_equal(loaded.images, noise(COUNT)[kept])
    assert loaded.names == tuple(f"{number:03}.png" for number in kept)
    assert shown(loaded) == [COLOURS[number] for number in kept]
    np.testing.assert_array_equal(loaded.split, hashed_split("small", COUNT)[kept])
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert said == [
        f"left out 7 of 60 images of {folder}: without color; 1 of 56 rows of {path} name no image"
    ]
    assert (meta(data_dir)["left_out"], meta(data_dir)["rows_without_image"]) == (7, 1)
    assert load_data(folder, attribute="color").fingerprint == loaded.fingerprint
    assert capsys.readouterr().err == ""


def test_split_does_not_depend_on_the_attribute(folder: Path, load_data: Load) -> None:
    table(folder.with_suffix(".csv"), COLOURS)
    plain, labelled = load_data(folder), load_data(folder, attribute="color")
    np.testing.assert_array_equal(plain.split, labelled.split)
    np.testing.assert_array_equal(plain.images, labelled.images)
    assert plain.labels is None
    assert plain.fingerprint != labelled.fingerprint


def test_damaged_images_are_skipped_beside_those_left_out(folder: Path, load_data: Load) -> None:
    table(folder.with_suffix(".csv"), ["", *COLOURS[1:]])
    (folder / "007.png").write_bytes(b"hello")
    (folder / "000.png").write_bytes(b"hello")  # left out, so nobody minds
    refused(load_data, folder, "007.png", "dataset.on_error=skip")
    loaded = load_data(folder, attribute="color", on_error="skip")
    kept = [number for number in range(COUNT) if number not in (0, 7)]
    np.testing.assert_array_equal(loaded.images, noise(COUNT)[kept])
    assert shown(loaded) == [COLOURS[number] for number in kept]
    np.testing.assert_array_equal(loaded.split, hashed_split("small", COUNT)[kept])


def test_edited_table_is_prepared_anew(folder: Path, load_data: Load) -> None:
    path = table(folder.with_suffix(".csv"), COLOURS)
    first = load_data(folder, attribute="color")
    table(path, COLOURS[1:] + COLOURS[:1])
    assert shown(load_data(folder, attribute="color")) == COLOURS[1:] + COLOURS[:1]
    table(path, COLOURS)
    assert load_data(folder, attribute="color").fingerprint == first.fingerprint


def test_second_load_reads_neither_table_nor_images(folder: Path, load_data: Load) -> None:
    path = table(folder.with_suffix(".csv"), COLOURS)
    first = load_data(folder, attribute="color")
    for file in (path, *folder.iterdir()):
        stat = file.stat()
        file.write_bytes(b"\0" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = load_data(folder, attribute="color")
    assert (again.fingerprint, again.classes) == (first.fingerprint, first.classes)


def test_other_table_of_the_same_size_and_time_is_read(folder: Path, load_data: Load) -> None:
    for name, values in (("a.csv", COLOURS), ("b.csv", COLOURS[3:] + COLOURS[:3][::-1])):
        path = table(folder.parent / name, values)
        os.utime(path, (1, 1))
        assert shown(load_data(folder, attribute="color", attributes=str(path))) == values


def test_without_an_attribute_the_table_is_nothing(folder: Path, load_data: Load, data_dir: Path) -> None:
    load_data(folder)
    assert not {"left_out", "rows_without_image"} & set(meta(data_dir))
    assert "attribute" not in meta(data_dir)["settings"]
    folder.with_suffix(".csv").write_bytes(b"\xff")
    load_data(folder)
    meta(data_dir)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"file,color\n000.png,caf\xe9\n", ["x.csv is not UTF-8 (line 2)"]),
        (b"", ["x.csv has no header"]),
        (b"000.png,red\n001.png,blue\n", ["x.csv has no header"]),
        (b"color\nred\n", ["x.csv has no header", "file,smiling", "is color"]),
        (b"file,color,x\n000.png,red,1\n\n001.png,blue\n", ["x.csv, line 4", "2 values for 3 columns"]),
        (b"file,color\n000.png,red,1\n", ["x.csv, line 2", "3 values for 2 columns"]),
        (b"file,color\n,red\n", ["x.csv, line 2", "no file"]),
        (b"file,color\n000.png,red\n000.png,blue\n", ["lines 2 and 3", "000.png", "red and blue"]),
        (b"file,color\n000.png,red\n./000.png,blue\n", ["lines 2 and 3", "000.png"]),
        (b'file,color\n000.png,"red\n', ["x.csv is no CSV (line 2)"]),
        (b"file,Colour,eye_color\n000.png,red,red\n", ["no column color (did you mean Colour?)", "Colour, eye_color"]),
        (b"file,COLOR,Color\n000.png,red,red\n", ["2 columns color"]),
        (b"file,color\nx.png,red\n", ["x.csv (x.png)", "000.png"]),
        (b"file,color\n", ["no row of", "x.csv"]),
        (b"file,color\n000.png,red\n001.png,red\n", ["color has 1 different values for 2 images"]),
        (b"file,color\n000.png,\n", ["color has 0 different values for 0 images"]),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(folder: Path, load_data: Load, text: bytes, words: list[str]) -> None:
    folder.with_suffix(".csv").write_bytes(text)
    refused(load_data, folder, *words)


@pytest.mark.parametrize(
    "name", ["{:03}.jpg", "{:03}", "{:03}.PNG", "IMG/{:03}.Jpeg", "C:\\data\\{:03}.png", "../x/{:03}.webp"]
)
def test_names_of_files_in_another_way_of_writing(folder: Path, load_data: Load, name: str) -> None:
    table(folder.with_suffix(".csv"), COLOURS, names=[name.format(number) for number in range(COUNT)])
    assert shown(load_data(folder, attribute="color")) == COLOURS


def test_the_name_as_it_is_goes_before_one_that_is_alike(tmp_path: Path, load_data: Load) -> None:
    images = save_pngs(tmp_path / "x", noise(COUNT))
    for image in images:
        Image.open(image).save(image.with_suffix(".BMP"))
    names = [f"{number:03}.{suffix}" for number in range(COUNT) for suffix in ("BMP", "png")]
    values = ["upper", "lower"] * COUNT
    table(tmp_path / "x.csv", values, names=names)
    assert shown(load_data(tmp_path / "x", attribute="color")) == values
    table(tmp_path / "x.csv", values[::2], names=[name.split(".")[0] for name in names[::2]])
    refused(load_data, tmp_path / "x", "no row of", "(000)")  # which of the two is meant?


def test_names_that_are_written_with_other_code_points(tmp_path: Path, load_data: Load) -> None:
    for image in save_pngs(tmp_path / "x", noise(COUNT)):
        image.rename(image.with_name(f"cafe\N{COMBINING ACUTE ACCENT}{image.name}"))
    table(
        tmp_path / "x.csv",
        COLOURS,
        names=[f"caf\N{LATIN SMALL LETTER E WITH ACUTE}{number:03}.png" for number in range(COUNT)],
    )
    assert shown(load_data(tmp_path / "x", attribute="color")) == COLOURS


@pytest.mark.parametrize("missing", ["", "NaN", "nan", "NA", "N/A", "null"])
def test_values_that_mean_missing(
    folder: Path, load_data: Load, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    table(folder.with_suffix(".csv"), [missing, *COLOURS[1:]])
    loaded = load_data(folder, attribute="color")
    assert loaded.classes == ("blue", "green", "red")
    assert shown(loaded) == COLOURS[1:]
    assert f"left out 1 of 60 images of {folder}: without color" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["1", "2"], ("1", "2")),
        (["10", "9", "1.0", "1"], ("1", "9", "10")),
        (["level 10", "level 9"], ("level 9", "level 10")),
        (["none", "some"], ("none", "some")),
    ],
)
def test_numbers_as_classes(
    folder: Path, load_data: Load, values: list[str], classes: tuple[str, ...]
) -> None:
    given = [values[number % len(values)] for number in range(COUNT)]
    table(folder.with_suffix(".csv"), given)
    loaded = load_data(folder, attribute="color")
    assert loaded.classes == classes
    assert shown(loaded) == [value.removesuffix(".0") for value in given]


def test_a_table_with_tabs_beside_the_images(folder: Path, load_data: Load) -> None:
    table(folder.with_suffix(".tsv"), COLOURS)
    text = folder.with_suffix(".tsv").read_text()
    folder.with_suffix(".tsv").write_text(text.replace(",", "\t"))
    assert shown(load_data(folder, attribute="color")) == COLOURS


def test_two_equal_rows_are_one(folder: Path, load_data: Load) -> None:
    path = table(folder.with_suffix(".csv"), COLOURS)
    path.write_text(path.read_text() + "000.png,red\n")
    assert shown(load_data(folder, attribute="color")) == COLOURS


def test_what_is_no_class_is_refused(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x", noise(120, 4, 4))
    for values in (list(range(120)), [number % 101 for number in range(120)]):
        table(tmp_path / "x.csv", values, "id")
        words = f"id has {len(set(values))} different values for 120 images"
        refused(load_data, tmp_path / "x", words, "100", attribute="id")
    table(tmp_path / "x.csv", [number % 100 for number in range(120)], "id")
    loaded = load_data(tmp_path / "x", attribute="id")
    assert loaded.classes == tuple(str(number) for number in range(100))


def test_missing_table_names_the_nearest(folder: Path, load_data: Load) -> None:
    refused(load_data, folder, f"write {folder}.csv", "dataset.attributes=FILE", "dataset.attribute=null")
    path = table(folder.parent / "tags.csv", COLOURS)
    refused(load_data, folder, f"write {folder}.csv", f"dataset.attributes={path}")
    refused(load_data, folder, f"did you mean {path}?", attributes=str(path.with_name("tag.csv")))
    refused(load_data, folder, "no such file", "dataset.attributes=PATH", attributes=str(folder / "a" / "b"))
    refused(load_data, folder, f"{folder} is not a regular file", attributes=str(folder))
    refused(load_data, zipped(folder.parent / "y.zip", folder), f"write {folder.parent / 'y.csv'}")


def test_table_without_an_attribute_is_refused(folder: Path, load_data: Load) -> None:
    refused(load_data, folder, "needs dataset.attribute", attribute=None, attributes="x.csv")


def test_attributes_of_arrays_are_refused(tmp_path: Path, load_data: Load) -> None:
    np.savez(tmp_path / "x.npz", image=noise(COUNT))
    np.save(tmp_path / "x.npy", noise(COUNT))
    table(tmp_path / "x.csv", COLOURS)
    for path in (tmp_path / "x.npz", tmp_path / "x.npy", "embedded"):
        refused(load_data, path, "dataset.attribute=color", str(path), "array", "dataset.attribute=null")


# CelebA: the splits of its list are consecutive, and unlike the hashed ones
OWN_SPLIT = np.repeat([0, 1, 2], [40, 12, 8])
SMILING = np.where(np.arange(COUNT) % 4 == 0, 1, -1)
CELEBA_NAMES = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]


def celeba_lists(attributes: Path, splits: Path, suffix: str) -> None:
    """CelebA's lists, as published (.txt) or as CSV."""
    rows = [(name, -value, value) for name, value in zip(CELEBA_NAMES, SMILING.tolist(), strict=True)]
    parts = list(zip(CELEBA_NAMES, OWN_SPLIT.tolist(), strict=True))
    for folder in (attributes, splits):
        folder.mkdir(parents=True, exist_ok=True)
    if suffix == ".txt":
        text = f"{COUNT}\nMale Smiling \n" + "".join(f"{name} {a:2} {b:2}\n" for name, a, b in rows)
        (attributes / "list_attr_celeba.txt").write_text(text)
        (splits / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, part in parts))
    else:
        text = "image_id,Male,Smiling\n" + "".join(f"{name},{a},{b}\n" for name, a, b in rows)
        (attributes / "list_attr_celeba.csv").write_text(text)
        text = "image_id,partition\n" + "".join(f"{name},{part}\n" for name, part in parts)
        (splits / "list_eval_partition.csv").write_text(text)


def celeba_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, image in zip(CELEBA_NAMES, noise(COUNT, 22, 18), strict=True):
        Image.fromarray(image).save(folder / name)


def plain(root: Path) -> Path:
    celeba_images(root / "img_align_celeba")
    celeba_lists(root, root, ".txt")
    return root


def images_folder_itself(root: Path) -> Path:
    return plain(root) / "img_align_celeba"


def nested_with_csv(root: Path) -> Path:
    celeba_images(root / "img_align_celeba" / "img_align_celeba")
    celeba_lists(root, root, ".csv")
    return root


def images_zipped(root: Path) -> Path:
    plain(root)
    zipped(root / "img_align_celeba.zip", root / "img_align_celeba")
    shutil.rmtree(root / "img_align_celeba")
    return root


def as_published(root: Path) -> Path:
    celeba_images(root / "all" / "img_align_celeba")
    celeba_lists(root / "Anno", root / "Eval", ".txt")
    (root / "Img").mkdir()
    zipped(root / "Img" / "img_align_celeba.zip", root / "all")
    shutil.rmtree(root / "all")
    return root


def as_published_unzipped(root: Path) -> Path:
    celeba_images(root / "Img" / "img_align_celeba")
    celeba_lists(root / "Anno", root / "Eval", ".txt")
    return root


def one_zip(root: Path) -> Path:
    return zipped(root.with_suffix(".zip"), plain(root))


def one_zip_with_csv(root: Path) -> Path:
    return zipped(root.with_suffix(".zip"), nested_with_csv(root))


@pytest.mark.parametrize(
    "layout",
    [
        plain, images_folder_itself, nested_with_csv, images_zipped, as_published, as_published_unzipped, one_zip,
        one_zip_with_csv,
    ],
)  # fmt: skip
def test_celeba_in_its_own_layouts(
    tmp_path: Path, load_data: Load, data_dir: Path, layout: Callable[[Path], Path]
) -> None:
    loaded = load_data(layout(tmp_path / "celeba"), attribute="smiling", size=8)
    assert loaded.classes == ("not smiling", "smiling")
    assert loaded.labels is not None
    np.testing.assert_array_equal(loaded.labels, SMILING == 1)
    np.testing.assert_array_equal(loaded.split, OWN_SPLIT)
    assert [Path(name).name for name in loaded.names] == CELEBA_NAMES
    assert meta(data_dir)["left_out"] == 0


def test_celeba_pixels_are_a_centre_crop(tmp_path: Path, load_data: Load) -> None:
    root = plain(tmp_path / "celeba")
    for name, image in zip(CELEBA_NAMES, noise(COUNT, 218, 178), strict=True):
        Image.fromarray(image).save(root / "img_align_celeba" / name)
    loaded = load_data(root, attribute="smiling", size=64)
    with Image.open(root / "img_align_celeba" / CELEBA_NAMES[7]) as picture:
        square = picture.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC, (0, 20, 178, 198))
        fitted = ImageOps.fit(picture.convert("RGB"), (64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(loaded.images[7], fitted)
    np.testing.assert_allclose(loaded.images[7].astype(float), np.asarray(square, float), atol=2)


def test_celeba_without_its_split_has_the_hashed_one(tmp_path: Path, load_data: Load) -> None:
    root = plain(tmp_path / "celeba")
    own = load_data(root, attribute="Smiling")
    (root / "list_eval_partition.txt").unlink()
    loaded = load_data(root, attribute="smiling")
    np.testing.assert_array_equal(loaded.split, hashed_split("small", COUNT))
    assert loaded.fingerprint != own.fingerprint
    np.testing.assert_array_equal(load_data(root).split, loaded.split)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("list_eval_partition.txt", "000001.jpg 0\n", "", ["has no row for", "000001.jpg"]),
        ("list_eval_partition.txt", "000001.jpg 0", "000001.jpg 7", ["line 1", "7", "0 (train), 1 (val) and 2 (test)"]),
        ("list_eval_partition.txt", " 2\n", " 1\n", ["40 train, 20 val, 0 test", "move the file away"]),
        ("list_attr_celeba.txt", "000003.jpg  1 -1", "000003.jpg  1", ["line 5", "2 values for 3 columns"]),
        ("list_attr_celeba.txt", f"{COUNT}\n", "", ["list_attr_celeba.txt", "has no header"]),
        ("list_attr_celeba.txt", "Smiling", "Frowning", ["no column Smilin", "Male, Frowning"]),
    ],
)  # fmt: skip
def test_wrong_lists_of_celeba_are_refused(
    tmp_path: Path, load_data: Load, file: str, old: str, new: str, words: list[str]
) -> None:
    path = plain(tmp_path / "celeba") / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    attribute = "Smilin" if new == "Frowning" else "smiling"
    refused(load_data, tmp_path / "celeba", file, *words, attribute=attribute)


def test_split_column_of_other_tables_is_not_used(folder: Path, load_data: Load) -> None:
    rows = [f"{number:03}.png,{number % 2},{'train' if number else 'test'}" for number in range(COUNT)]
    folder.with_suffix(".csv").write_text("\n".join(["file,smiling,split", *rows]))
    loaded = load_data(folder, attribute="smiling")
    np.testing.assert_array_equal(loaded.split, hashed_split("small", COUNT))


def test_zip_in_a_zip_says_what_to_do(tmp_path: Path, load_data: Load) -> None:
    path = zipped(tmp_path / "x.zip", images_zipped(tmp_path / "celeba"))
    refused(load_data, path, "no images", "img_align_celeba.zip", "unpack")


def real(shared_data: Path, path: str) -> Path:
    if not (shared_data / path).is_file():
        pytest.skip(f"no real images at {shared_data / path}")
    return shared_data / path


def listed(path: Path, column: str) -> list[str]:
    with path.with_suffix(".csv").open(newline="") as stream:
        return [row[column] for row in csv.DictReader(stream)]


def test_real_faces_smile(shared_data: Path, data_dir: Path) -> None:
    path = real(shared_data, "faces/genki4k_crops64.zip")
    (data_dir / "faces").mkdir(parents=True)
    for file in (path, path.with_suffix(".csv")):
        shutil.copy(file, data_dir / "faces")
    loaded = load(**configured("faces", data_dir))
    assert loaded.images.shape == (4000, 64, 64, 3)
    assert loaded.classes == ("not smiling", "smiling")
    assert loaded.labels is not None
    assert loaded.labels.tolist() == [int(value) for value in listed(path, "smiling")]
    assert min(loaded.sizes()[split] for split in SPLITS) > 350


def test_real_anime_tags(shared_data: Path, data_dir: Path) -> None:
    path = real(shared_data, "anime/anime_tagged_6k.zip")
    loaded = load(**configured("anime", data_dir, path=str(path), attribute="hair_color"))
    assert loaded.images.shape == (6000, 64, 64, 3)
    assert len(loaded.classes) == 12
    assert shown(loaded) == listed(path, "hair_color")


@pytest.mark.parametrize(("column", "classes"), [("eye_color", 12), ("hair_length", 3)])
def test_other_real_anime_tags(shared_data: Path, column: str, classes: int) -> None:
    path = real(shared_data, "anime/anime_tagged_6k.zip")
    values = listed(path, column)
    listing = Listing("x.csv", path.with_suffix(".csv").read_bytes())
    with zipfile.ZipFile(path) as archive:
        labelled = by_attribute(path, list(images_in(archive)), [listing], column)
    assert len(labelled.classes) == classes
    assert shown(labelled) == [value for value in values if value]
    assert labelled.selection is not None
    assert labelled.selection.counts == {"left_out": values.count(""), "rows_without_image": 0}

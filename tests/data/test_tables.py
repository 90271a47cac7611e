"""Tests of tables, however they were saved."""

import codecs
import zipfile
from pathlib import Path

import pytest

from vaelab import UsageError
from vaelab.data.tables import Listing, Row, column, listing_at, listing_in, partition

ROWS = [Row(2, "a.png", "grün"), Row(3, "b.png", "rot")]
TEXT = "file,color\na.png,grün\nb.png,rot\n"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        TEXT.replace(",", "|"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("\n", "\r"),
        "\ufeff" + TEXT.replace(",", ";"),
        "file;color;price, in €\na.png;grün;1,5\nb.png;rot;2,25\n",
        '"file";"color";"a, b, c, d"\n"a.png";"grün";1\nb.png;rot;2\n',
        "file, color \n./a.png , grün\nb.png,rot",
        "color,File_Name\ngrün,a.png\nrot,x\\..\\b.png\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_every_way_to_save_a_table(text: str, encoding: str) -> None:
    assert column(Listing("x.csv", text.encode(encoding)), "color") == ("color", ROWS)


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "sep=;\r", "\ufeffsep=;"])
def test_the_line_of_excel_is_no_header(line: str) -> None:
    text = f"{line}\n" + TEXT.replace(",", ";")
    expected = [Row(row.line + 1, row.file, row.value) for row in ROWS]
    assert column(Listing("x.csv", text.encode()), "color") == ("color", expected)


def test_utf_16_of_either_order() -> None:
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert column(Listing("x.csv", mark + TEXT.encode(encoding)), "color")[1] == ROWS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TEXT.encode("latin-1"), ["x.csv is not UTF-8 (line 2): save it as UTF-8"]),
        (TEXT.encode("utf-16-le"), ["x.csv is not UTF-8"]),
        (b"PK\3\4 a workbook", ["x.csv is a workbook: save it as CSV"]),
        (b"\x1b[31mcolor\n", ["x.csv has no header", "and is \\x1b[31mcolor"]),
        (b"", ["x.csv has no header", "and is empty"]),
        (b"a.png;red\n", ["x.csv has no header", "and is a.png;red"]),
        (b"file;color\na.png;red;1\n", ["x.csv, line 2: 3 values for 2 columns"]),
    ],
)
def test_what_is_no_table_is_said(data: bytes, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        column(Listing("x.csv", data), "color")
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words)


def test_one_hot_columns_are_recognised() -> None:
    text = "file,cat,dog,bird,width\na.png,1,0,0,8\nb.png,0,0,1,9\n"
    with pytest.raises(UsageError, match=r"one of cat, dog, bird is 1 \(one-hot\).* dataset\.attribute=cat"):
        column(Listing("x.csv", text.encode()), "label")
    assert [row.value for row in column(Listing("x.csv", text.encode()), "bird")[1]] == ["0", "1"]
    with pytest.raises(
        UsageError, match=r"no column label: dataset\.attribute is one of cat, dog, bird, width"
    ):
        column(Listing("x.csv", text.replace("1,0,0", "1,1,0").encode()), "label")


@pytest.mark.parametrize("text", ["a.jpg 0\nb.jpg 2\n", "image_id,partition\na.jpg,0\nb.jpg,2\n"])
def test_partition_of_celeba(text: str) -> None:
    assert [row[1:] for row in partition(Listing("x", text.encode()))] == [("a.jpg", "0"), ("b.jpg", "2")]


def test_a_listing_is_read_within_bounds(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(TEXT, encoding="utf-8")
    assert column(listing_at(tmp_path / "x.csv"), "color")[1] == ROWS
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="is not a regular file"):
        listing_at(tmp_path / "zero.csv")
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UsageError, match=r"large\.csv is refused: 1\.1 GB"):
        listing_at(tmp_path / "large.csv")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x.csv", TEXT)
        entry = archive.getinfo("x.csv")
        entry.file_size = 1 << 30
        with pytest.raises(UsageError, match=r"x\.zip/x\.csv is refused: 1\.1 GB"):
            listing_in(archive, "x.csv", entry)

"""Tables of labels as people have them: separators, encodings, names of columns and of files, parts, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_images import refused

from pocketlens.data.sources.columns import Columns
from pocketlens.data.sources.table import LabelTable, read_table
from pocketlens.data.sources.table_source import TableRequest

NAMES = tuple(f"{folder}/{i:04}.png" for folder in ("a", "b") for i in range(6))
LABELS = tuple(name[0] * 2 for name in NAMES)


def pictures(root: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Empty files of these names: tables are read without opening images."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(root: Path, content: str | bytes, name: str = "labels.csv", **columns: str | int) -> LabelTable:
    path = root / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, root, TableRequest(Columns(**columns)))  # type: ignore[arg-type]


def lines(header: str | None, row: str = "{name},{label}", names: tuple[str, ...] = NAMES) -> str:
    rows = [row.format(name=name, label=label, n=n) for n, (name, label) in enumerate(zip(names, LABELS, strict=True))]
    return "\n".join(([] if header is None else [header]) + rows) + "\n"


BASES = tuple(name[2:] for name in NAMES)
HEADERS = (
    *(
        "file,label",
        "File Name,Class",
        "image_id,label",
        "id_code,diagnosis",
        "filepath,labels",
        "image_path,class_name",
    ),
    *("image ID,class label", "IMAGE-ID,Class-Label", "Bild,Klasse", "#file,label", "path,breed", "img,species"),
    *("Image,Category", "ID,Target", "filename,dx", "name,y"),
)


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_known_by_the_names_that_people_use(tmp_path: Path, header: str) -> None:
    found = table(pictures(tmp_path), lines(header))
    assert (found.files, found.labels, found.parts, found.groups) == (NAMES, LABELS, None, None)


VARIANTS: dict[str, str | bytes] = {
    "no header": lines(None),
    "semicolons": lines("file;label", "{name};{label}"),
    "semicolons with commas": lines("file;label;remark", "{name};{label};one, two, three"),
    "tabs": lines("file\tlabel", "{name}\t{label}"),
    "bars": lines("file|label", "{name}|{label}"),
    "padded": lines("file , label", "{name} ,   {label}"),
    "spaces": lines("file label", "{name} {label}"),
    "many spaces": lines("file       label", "{name}       {label}"),
    "spaces without header": lines(None, "{name} {label}"),
    "other order": lines("label,file", "{label},{name}"),
    "quotes": lines("file,label", '"{name}","{label}"'),
    "quotes before spaces": lines('"file" , "label"', '"{name}" , "{label}"'),
    "quotes after spaces": lines("file, label", '"{name}", "{label}"'),
    "a longer name of the label": lines("file,age,kind_of,Finding Labels", "{name},{n},{n},{label}"),
    "index of pandas": lines(",file,label", "{n},{name},{label}"),
    "more columns": lines("file,age,remark,label", '{name},{n}.5,"x, y",{label}'),
    "line ends of Windows": lines("file,label").replace("\n", "\r\n"),
    "line ends of old Macs": lines("file,label").replace("\n", "\r"),
    "empty rows": lines("file,label").replace("\n", "\n\n") + ",\n",
    "empty columns at the end": lines("file,label,,", "{name},{label},,"),
    "line of Excel": "sep=;\n" + lines("file;label", "{name};{label}"),
    "remark above": "# made by hand\n" + lines("file,label"),
    "byte order mark": lines("file,label").encode("utf-8-sig"),
    "UTF-16": lines("file,label").encode("utf-16"),
    "UTF-16 without mark": lines("file,label").encode("utf-16-le"),
    "UTF-16 big-endian": b"\xfe\xff" + lines("file,label").encode("utf-16-be"),
    "without suffix": lines("file,label", names=tuple(name.removesuffix(".png") for name in NAMES)),
    "other suffix": lines("file,label", names=tuple(name.replace(".png", ".JPG") for name in NAMES)),
    "upper case": lines("file,label", names=tuple(name.upper() for name in NAMES)),
    "leading dot": lines("file,label", "./{name},{label}"),
    "back-slashes": lines("file,label").replace("/", "\\"),
    "Windows path": lines("file,label", "C:\\data\\{name},{label}").replace("/", "\\"),
    "path of another machine": lines("file,label", "/kaggle/input/images/{name},{label}"),
    "JSON lines": "\n".join(json.dumps({"file_name": a, "label": b}) for a, b in zip(NAMES, LABELS, strict=True)),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_tables_as_people_write_them(tmp_path: Path, variant: str) -> None:
    name = "labels.jsonl" if variant == "JSON lines" else "labels.csv"
    found = table(pictures(tmp_path), VARIANTS[variant], name)
    assert (found.files, found.labels) == (NAMES, LABELS)


def test_absolute_paths_and_the_folder_s_own_name_are_found_inside(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos")
    for prefix in (f"{root}/", "photos/", f"{tmp_path}/photos/../photos/"):
        found = table(root, lines("file,label", prefix + "{name},{label}"))
        assert (found.files, found.labels) == (NAMES, LABELS), prefix
    beside = tmp_path / "labels.csv"
    beside.write_text(lines("file,label", "photos/{name},{label}"))
    assert read_table(beside, root, TableRequest()).files == NAMES


def test_names_without_folder_are_found_where_they_are_alone(tmp_path: Path) -> None:
    names = tuple(f"deep/er/{i}.jpg" for i in range(4))
    root = pictures(tmp_path, names)
    found = table(root, "image,label\n" + "".join(f"{i},{i % 2}\n" for i in range(4)))
    assert found.files == names
    assert found.notes == (
        "labels from labels.csv: files in column 'image', classes in column 'label'",
        "4 names in labels.csv matched to files that are written otherwise: '0' to deep/er/0.jpg",
    )


def test_the_label_or_the_part_decides_which_folder_is_meant(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{name[2:]},{name[0]}" for name in NAMES]
    assert table(root, "\n".join(["file,label", *rows])).files == NAMES
    other = pictures(tmp_path / "parts", ("train/1.png", "train/2.png", "test/1.png", "test/2.png"))
    found = table(other, "file,label,split\n1.png,x,train\n2.png,y,train\n1.png,x,test\n2.png,y,test\n")
    assert found.files == ("train/1.png", "train/2.png", "test/1.png", "test/2.png")
    assert found.parts == ("train", "train", "test", "test")


def test_a_name_that_fits_several_files_is_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    with refused("6 names fit several files", "0000.png fits a/0000.png, b/0000.png", "with their folder"):
        table(root, "file,label\n" + "".join(f"{i:04}.png,{i % 2}\n" for i in range(6)))


@pytest.mark.parametrize("stem", ["{:03}", "{:04}", "BloodImage_{:05}"])
def test_a_number_finds_its_padded_file(tmp_path: Path, stem: str) -> None:
    names = tuple(stem.format(i) + ".bmp" for i in range(1, 13))
    root = pictures(tmp_path, names)
    found = table(root, "image ID,class label\r\n" + "".join(f"{i},{i % 3}\r\n" for i in range(1, 13)))
    assert found.files == names
    assert found.labels == tuple(str(i % 3) for i in range(1, 13))
    without_header = table(root, "".join(f"{i},{i % 3}\n" for i in range(1, 13)))
    assert without_header.files == names


def test_a_number_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path, ("01.png", "001.png", "02.png"))
    with refused("1 name fits several files", "1 fits 001.png, 01.png"):
        table(root, "image_id,label\n1,x\n2,y\n")


def test_a_file_of_the_test_folder_never_stands_for_one_of_train(tmp_path: Path) -> None:
    root = pictures(tmp_path, tuple(f"test/{i}.png" for i in range(4)))
    with refused("4 of 4 are missing"):
        table(root, "file,label\n" + "".join(f"train/{i}.png,{i % 2}\n" for i in range(4)))


def test_names_with_spaces_and_umlauts(tmp_path: Path) -> None:
    root = pictures(tmp_path, ("grüner Käfer 1.png", "grüner Käfer 2.png"))
    text = "Datei;Art\ngrüner Käfer 1.png;Käfer\ngrüner Käfer 2.png;Mücke\n"
    found = table(root, text.encode("cp1252"))
    assert (found.labels, found.notes[1]) == (
        ("Käfer", "Mücke"),
        "labels.csv is not UTF-8 and was read as Windows-1252",
    )
    assert table(root, "grüner Käfer 1.png Käfer\ngrüner Käfer 2.png Mücke\n").labels == ("Käfer", "Mücke")
    decomposed = text.replace("ä", "a\u0308").replace("ü", "u\u0308")
    assert table(root, decomposed).files == ("grüner Käfer 1.png", "grüner Käfer 2.png")


def test_one_hot_columns(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{name[2:-4]},{int(name[0] == 'a')}.0,{int(name[0] == 'b')}.0,0.0" for name in NAMES[:3]]
    pictures(tmp_path / "c", tuple(name[2:] for name in NAMES[:3]))
    found = table(tmp_path / "c", "\n".join(["image,MEL,NV,UNK", *rows]))
    assert found.labels == ("MEL",) * 3
    rows = [f"{name},{int(i < 3)},{int(i >= 3)},60" for i, name in enumerate(NAMES)]
    found = table(root, "\n".join(["file,yes,no,age", *rows]))
    assert found.labels == ("yes",) * 3 + ("no",) * 9
    assert found.notes == (
        "labels from labels.csv: files in column 'file', classes in the names of 2 columns of 0 and 1",
    )
    wrong = "\n".join(["file,yes,no,age", *rows[:-1], f"{NAMES[-1]},0,0,60"])
    with refused("one of the 2 columns of 0 and 1 must be 1 in each row", "1 row has none: line 13", "bad='skip'"):
        table(root, wrong)


SEVERAL = {
    "bars": ("labels", ["x", "x|y", "y", "y|x"]),
    "always lists": ("findings", ["x|y", "y|z", "z|x", "z"]),
    "commas": ("label", ["x", "x, y", "y", "y"]),
    "spaces": ("label", ["x", "x y", "y", "y z", "z"]),
    "one list in a plural column": ("labels", ["x", "x y", "y"]),
    "tags": ("tags", ["x y", "y z", "x z", "x y z", "z y", "z", "x"]),
}


@pytest.mark.parametrize("case", sorted(SEVERAL))
def test_cells_that_list_several_classes_are_refused_or_left_out(tmp_path: Path, case: str) -> None:
    column, values = SEVERAL[case]
    cells = [values[i % len(values)] for i in range(12)]
    rows = [f'{name},"{cell}"' for name, cell in zip(NAMES, cells, strict=True)]
    several = [cell for cell in cells if any(sign in cell for sign in "|, ")]
    root = pictures(tmp_path)
    with refused("one class for each image", f"{len(several)} rows list several, of 12", "bad='skip'"):
        table(root, "\n".join([f"file,{column}", *rows]))
    found = read_table(root / "labels.csv", root, TableRequest(skip=True))
    assert found.labels == tuple(cell for cell in cells if cell not in several)
    assert f"{len(several)} rows of labels.csv with several classes skipped" in found.notes


@pytest.mark.parametrize(
    "values",
    [("red apple", "green apple", "red pear"), ("animal|cat", "animal|dog", "plant|rose"), ("Smith, A", "Smith, B"),
     ("plane", "paper", "paper plane"), ("1", "2", "3")],
    ids=str,
)  # fmt: skip
def test_signs_in_the_names_of_classes_divide_nothing(tmp_path: Path, values: tuple[str, ...]) -> None:
    rows = [f'{name},"{values[i % len(values)]}"' for i, name in enumerate(NAMES)]
    assert set(table(pictures(tmp_path), "\n".join(["file,label", *rows])).labels) == set(values)


def test_columns_of_0_and_1_with_several_ones(tmp_path: Path) -> None:
    rows = [f"{name},{i % 2},{(i + 1) % 2},{int(i % 3 == 0)}" for i, name in enumerate(NAMES)]
    root = pictures(tmp_path)
    with refused("4 rows list several, of 12: a/0000.png (dog, bird), a/0003.png (cat, bird)", "bad='skip'"):
        table(root, "\n".join(["file,cat,dog,bird", *rows]))
    found = read_table(root / "labels.csv", root, TableRequest(skip=True))
    assert found.labels == tuple("dog" if i % 2 == 0 else "cat" for i in range(12) if i % 3)


def test_a_file_with_two_labels_can_be_left_out(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    (root / "labels.csv").write_text(lines("file,label") + f"{NAMES[3]},other\n")
    found = read_table(root / "labels.csv", root, TableRequest(skip=True))
    assert found.files == tuple(name for name in NAMES if name != NAMES[3])
    assert "1 file stands in rows of labels.csv that differ, and were skipped" in found.notes


SPLITS = {
    "split": (("train", "val", "test"), ("train", "val", "test")),
    "Set": (("Training", "Validation", "Testing"), ("train", "val", "test")),
    "data_set": (("Train Set", "dev", "hold-out"), ("train", "val", "test")),
    "Usage": (("Training", "PublicTest", "PrivateTest"), ("train", "test", "test")),
    "subset": (("TRAIN", "VALID", "EVAL"), ("train", "val", "test")),
    "partition": (("0", "1", "2"), ("train", "val", "test")),
    "is_test": (("0", "0", "1"), ("train", "train", "test")),
    "Is Test": (("False", "false", "TRUE"), ("train", "train", "test")),
    "is_train": (("yes", "yes", "no"), ("train", "train", "test")),
    "is_valid": (("False", "True", "True"), ("train", "val", "val")),
    "fold": (("1", "2", "3"), ("fold1", "fold2", "fold3")),
    "split_": (("fold_1", "fold_2", "fold_10"), ("fold1", "fold2", "fold10")),
    "k-fold": (("0", "1", "2"), ("fold0", "fold1", "fold2")),
}


@pytest.mark.parametrize("column", sorted(SPLITS))
def test_a_column_of_parts_is_used(tmp_path: Path, column: str) -> None:
    values, parts = SPLITS[column]
    rows = [f"{name},{label},{values[i % 3]}" for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))]
    found = table(pictures(tmp_path), "\n".join([f"file,label,{column}", *rows]))
    assert found.parts == tuple(parts[i % 3] for i in range(12))
    assert len(found.notes) == 2
    assert found.notes[1].startswith(f"the column '{column}' of labels.csv gives the parts")
    assert all(
        f"{value} is {part}" in found.notes[1] for value, part in zip(values, parts, strict=True) if value != part
    )
    assert table(tmp_path, "\n".join([f"file,label,{column}", *rows]), split="none").parts is None


def test_a_column_named_by_an_option(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{i},{name},{name[0]},kind{i % 2},{'train' if i % 4 else 'test'}" for i, name in enumerate(NAMES)]
    text = "\n".join(["label,file,patient,Kind Of,how", *rows])
    found = table(root, text, label="kind-of", group="Patient", split="how")
    assert found.labels == tuple(f"kind{i % 2}" for i in range(12))
    assert found.groups == tuple(name[0] for name in NAMES)
    assert found.parts == tuple("train" if i % 4 else "test" for i in range(12))
    assert table(root, text, file=2, label=4, split=5).labels == found.labels
    without = "\n".join(f"{name},x,{name[0]}" for name in NAMES)
    assert table(root, without, file=1, label=3).labels == tuple(name[0] for name in NAMES)
    with refused("no column 'sort' for label_column", "Did you mean"):
        table(root, text.replace("Kind Of", "sorts"), label="sort")
    with refused("label_column must be 1 to 5", "got 6"):
        table(root, text, label=6)
    with refused("2 columns named 'label'", "label_column=1 or label_column=4"):
        table(root, text.replace("Kind Of", "label"), label="label")


def test_a_column_of_patients_that_is_not_used_is_named_with_what_to_type(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = "".join(
        f"{name},{label},{place // 2}\n" for place, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))
    )
    hints = [note for note in table(root, f"file,label,Lesion_ID\n{rows}").notes if "in one part" in note]
    assert len(hints) == 1
    assert f"the column 'Lesion_ID' of labels.csv has {(len(NAMES) + 1) // 2} values in {len(NAMES)} rows" in hints[0]
    assert "group='Lesion_ID'" in hints[0]
    assert "in one part" not in " ".join(table(root, f"file,label,Lesion_ID\n{rows}", group="Lesion_ID").notes)
    for header in ("file,label,weather", "file,Lesion_ID,label"):  # no known name; the values do not recur
        other = "".join(
            f"{name},{label},{place}\n" for place, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))
        )
        said = table(root, f"{header}\n{other}", label=header.split(",")[1]).notes
        assert "in one part" not in " ".join(said)


def test_two_readings_are_listed_with_what_to_type(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{name},{'cat' if i < 6 else 'dog'},breed{i % 3},{i % 2}" for i, name in enumerate(NAMES)]
    where = f"folder(path={str(root)!r}, labels='labels.csv', label_column="
    with refused("2 columns could hold the labels", f"{where}'species')\" (2 values", f"{where}'breed')\" (3 values"):
        table(root, "\n".join(["file,species,breed,n", *rows]))
    with refused("3 columns could hold the labels", f"{where}'art')", f"{where}'rasse')", f"{where}'n')"):
        table(root, "\n".join(["file,art,rasse,n", *rows]))
    rows = [f"{name},{label},train,{i % 3}" for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))]
    text = "\n".join(["file,label,split,fold", *rows]).replace("train", "test", 2)
    with refused("2 columns could name the parts", "split_column='split')", "split_column='fold')", "='none')"):
        table(root, text)


def test_of_two_columns_that_say_the_same_the_names_are_taken(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{name},{int(name[0] == 'a')},{label}" for name, label in zip(NAMES, LABELS, strict=True)]
    assert table(root, "\n".join(["file,class_id,class_name", *rows])).labels == LABELS
    rows = [f"{name},{label},{i % 5}" for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))]
    found = table(root, "\n".join(["file,label,category", *rows]))
    assert found.labels == LABELS
    assert "label_column='category'" in found.notes[1]


REFUSED: dict[str, tuple[str, tuple[str, ...]]] = {
    "two labels": (
        "file,label\na/0000.png,x\na/0000.png,y\na/0001.png,x\n",
        ("1 file stands in several rows that differ", "x and y, lines 2 and 3", "bad='skip'"),
    ),
    "absent": (lines("file,label") + "a/9.png,x\nb/8.png,x\n", ("2 of 14 are missing: a/9.png, b/8.png", "bad='skip'")),
    "no label": (lines("file,label") + "b/0001.png,\n", ("in 1 of 13 rows", "line 14")),
    "outside": ("file,label\n../x.png,1\na/0001.png,2\na/0002.png,2\n", ("../x.png (names with .. lead out of",)),
    "all absent": ("file,label\n7.png,1\n8.png,2\n", ("2 of 2 are missing", "file_column=")),
    "no files": ("who,what\nx,1\ny,2\n", ("a column that names the images", "who, what", "file_column='who'")),
    "no rows": ("file,label\n", ("at least one row",)),
    "empty": ("", ("at least one row",)),
    "one column": ("file\na/0000.png\n", ("one of labels", "'file'")),
    "quotes": ('file,label\n"a/0000.png,1\n', ("line 2", "not CSV")),
    "a comma too many": ("file,label\na/0000.png,Smith, John\na/0001.png,x\na/0002.png,x\n", ("line 2", "put cells")),
    "no values in the split": (
        "file,label,split\na/0000.png,1,train\na/0001.png,1,\n", ("1 row has no value", "row 2")
    ),
    "odd values in the split": (
        "file,label,split\na/0000.png,1,train\na/0001.png,1,odd\n",
        ("1 of its values", "'odd' (1 row)", "split_column='none'"),
    ),
    "two parts": (
        "file,label,split\na/0000.png,1,train\na/0000.png,1,test\n",
        ("in several rows", "train and test, lines 2 and 3"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_is_wrong_is_refused_with_counts(tmp_path: Path, case: str) -> None:
    text, parts = REFUSED[case]
    with refused("labels.csv", *parts):
        table(pictures(tmp_path), text)


def test_binary_files_and_spreadsheets_are_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    with refused("is none of these"):
        table(root, bytes(range(256)) * 8)
    with refused("save it as CSV"):
        table(root, b"PK\x03\x04", "labels.xlsx")
    with refused("must hold JSON"):
        table(root, "{", "labels.jsonl")


def test_a_file_that_stands_twice_with_one_label_counts_once(tmp_path: Path) -> None:
    found = table(pictures(tmp_path), lines("file,label") + f"{NAMES[3]},{LABELS[3]}\n")
    assert (found.files, found.labels) == (NAMES, LABELS)
    assert found.notes[1:] == ("1 file stands in labels.csv more than once with the same label: each counts once",)


def test_rows_without_file_or_label_can_be_skipped(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    (root / "labels.csv").write_text(lines("file,label") + "a/9.png,x\na/0001.png,\n")
    found = read_table(root / "labels.csv", root, TableRequest(skip=True))
    assert (found.files, found.labels) == (NAMES, LABELS)
    assert found.notes[1:] == (
        "1 row of labels.csv skipped, as the files are absent: a/9.png",
        "1 row of labels.csv without file and label skipped",
    )


@pytest.mark.parametrize("header", [None, "file,label,how"])
def test_a_column_that_names_parts_alone_is_one_of_parts(tmp_path: Path, header: str | None) -> None:
    rows = [
        f"{name},{label},{'Test' if i % 4 else 'Train'}"
        for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))
    ]
    found = table(pictures(tmp_path), "\n".join([*([] if header is None else [header]), *rows]))
    assert found.labels == LABELS
    assert found.parts == tuple("test" if i % 4 else "train" for i in range(12))


def test_a_set_column_of_other_things_is_no_split(tmp_path: Path) -> None:
    rows = [
        f"{name},{label},{'city' if i % 2 else 'desert'}"
        for i, (name, label) in enumerate(zip(NAMES, LABELS, strict=True))
    ]
    found = table(pictures(tmp_path), "\n".join(["file,label,set", *rows]))
    assert found.parts is None
    assert any("the column 'set' of" in note and "'desert', 'city'" in note for note in found.notes), "and says so"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    separator=st.sampled_from([",", ";", "\t", "|"]),
    header=st.sampled_from([None, *HEADERS]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
    ending=st.sampled_from(["\n", "\r\n"]),
    swapped=st.booleans(),
    spelled=st.sampled_from(["as it is", "stem", "upper", "windows", "own", "absolute", "dot", "elsewhere"]),
    labels=st.sampled_from([("Käse", "Öl"), ("1", "2"), ("a b, c", "d; e"), ("x", "y\tz"), ('say "hi"', "|")]),
)
def test_any_mix_of_these_gives_the_same_rows(
    tmp_path: Path, separator: str, header: str | None, encoding: str, ending: str, swapped: bool, spelled: str,
    labels: tuple[str, str],
) -> None:  # fmt: skip
    import csv
    import io

    root = tmp_path / "photos"
    if not root.exists():
        pictures(root)
    spell = {
        "as it is": lambda name: name,
        "stem": lambda name: name.removesuffix(".png"),
        "upper": lambda name: name.upper(),
        "windows": lambda name: name.replace("/", "\\"),
        "own": lambda name: f"photos/{name}",
        "absolute": lambda name: str(root / name),
        "dot": lambda name: f"./{name}",
        "elsewhere": lambda name: f"D:\\x\\{name}".replace("/", "\\"),
    }[spelled]
    rows = [[spell(name), labels[name[0] == "a"]] for name in NAMES]
    rows = ([] if header is None else [header.split(",")]) + rows
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=separator, lineterminator=ending).writerows(
        [row[::-1] if swapped else row for row in rows]
    )
    (root / "labels.csv").write_bytes(buffer.getvalue().encode(encoding))
    found = read_table(root / "labels.csv", root, TableRequest())
    assert found.files == NAMES
    assert found.labels == tuple(labels[name[0] == "a"] for name in NAMES)

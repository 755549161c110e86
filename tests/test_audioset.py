"""AudioSet's lists: the real counts, what a task's labels choose, and what a damaged copy says."""

import random
from pathlib import Path

import pytest

from modalens.datasets.audioset import Audioset
from modalens.utils import csv_chunks
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

URBAN_RURAL = {"urban": "/t/dd00128", "rural": "/t/dd00129"}
SPEECH = {"speech": "/m/09x0r", "none": None}
STUDY = {"urban_rural": URBAN_RURAL, "speech": SPEECH}
COMMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=4, num_segs=4, num_unique_labels=3, num_positive_labels=6
# YTID, start_seconds, end_seconds, positive_labels
"""
ROWS = """-aB3dEf_hIQ, 30.000, 40.000, "/t/dd00128,/m/09x0r"
bB3dEf-hIQ0, 0.000, 10.000, "/t/dd00129"
cB3dEf-hIQ4, 0.500, 9.500, "/t/dd00128,/t/dd00129"
dB3dEf-hIQ8, 10.000, 20.000, "/m/09x0r"
"""
BOTH_OF_ROWS = {"-aB3dEf_hIQ_30": ("urban", "speech"), "bB3dEf-hIQ0_0": ("rural", "none")}


def small(folder: Path, content: str | bytes, **options) -> Audioset:
    path = folder / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Audioset(["urban_rural", "speech"], csv=str(path), labels=STUDY, **options)


def labels(dataset: Audioset) -> dict[str, tuple[str, str]]:
    table = dataset.manifest()
    return dict(zip(table["clip_id"], zip(table["urban_rural"], table["speech"], strict=True), strict=True))


def line_of(dataset: Audioset) -> str:
    with pytest.raises(UserError) as caught:
        dataset.manifest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_official_lists_give_the_known_counts(shared, caplog):
    caplog.set_level("INFO")
    folder = shared / "manifests" / "audioset"
    dataset = Audioset(
        ["urban_rural", "speech"],
        csv=str(folder / "official_balanced_train_segments.csv"),
        labels=STUDY,
        classes=str(folder / "class_labels_indices.csv"),
    )
    counts = dataset.manifest()["urban_rural"].value_counts()
    assert "of 22,160 rows urban 256, rural 255; 2 carry more than one" in caplog.text
    assert "of 22,160 rows speech 5,735, none 16,425" in caplog.text
    assert (counts["urban"], counts["rural"]) == (254, 253)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("balanced_excel_NAME.csv", ", line 2: '#NAME?' stands where the id was, in 371 rows"),
        ("balanced_times_x1000.csv", ", line 4: the clip lasts 10000 s"),
        ("eval_truncated_786432.csv", ", line 14036: 3 cells where 4 are wanted; the file is cut off there"),
    ],
)
def test_damaged_copies_found_in_public_say_row_and_damage(shared, name, line):
    path = shared / "manifests" / "audioset_broken" / name
    assert line in line_of(Audioset(["speech"], csv=str(path), labels=STUDY, clips_of="urban_rural"))


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        ("balanced_one_hdr_ints.csv", "official_balanced_train_segments.csv"),
        ("eval_no_header.csv", "official_eval_segments.csv"),
    ],
)
def test_copies_that_lost_only_comments_are_read_as_the_original(shared, copy, original):
    lists = [shared / "manifests/audioset_broken" / copy, shared / "manifests/audioset" / original]
    first, second = (Audioset(["speech"], csv=str(path), labels={"speech": SPEECH}).manifest() for path in lists)
    assert first.equals(second)


def test_a_clip_with_both_labels_is_left_out_and_the_others_are_relabelled(tmp_path):
    dataset = small(tmp_path, COMMENTS + ROWS)
    assert labels(dataset) == BOTH_OF_ROWS
    row = dataset.manifest().iloc[0]
    assert (row["source"], row["start_s"], row["end_s"]) == ("youtube:-aB3dEf_hIQ", "30", "40")
    assert (row["group"], row["split"]) == ("-aB3dEf_hIQ", "")


def with_header(header: str) -> str:
    return header + "\n" + ROWS


@pytest.mark.parametrize(
    "content",
    [
        (COMMENTS + ROWS).replace("\n", "\r\n"),
        (COMMENTS + ROWS).replace("\n", "\r"),
        "\ufeff" + COMMENTS + ROWS,
        (COMMENTS + ROWS).encode("utf-16"),
        (COMMENTS + ROWS).replace('"', ""),
        (COMMENTS + ROWS).replace(", ", ";"),
        (COMMENTS + ROWS).replace(", ", "\t"),
        COMMENTS + "\n" + ROWS.replace("\n", "\n\n").rstrip(),
        COMMENTS.replace("\n", ",,,\n") + ROWS.replace("\n", ",,,\n"),
        with_header(COMMENTS.replace("# YTID", "YTID").rstrip()),
        with_header(COMMENTS.replace("# Seg", '"# Seg').replace("2017", '2017"').rstrip()),
        COMMENTS + ",YTID,start_seconds,end_seconds,positive_labels\n" + "".join(
            f"{number},{row}\n" for number, row in enumerate(ROWS.splitlines())
        ),
        COMMENTS + "positive_labels,YTID,start_seconds,end_seconds\n" + "".join(
            row[row.index('"'):] + "," + row[: row.index(', "')] + "\n" for row in ROWS.splitlines()
        ),
    ],
    ids=[
        "crlf", "cr", "bom", "utf16", "quotes lost", "semicolons", "tabs", "blank lines, no last line end",
        "trailing commas", "pandas header", "quoted comment", "pandas index", "columns moved",
    ],
)  # fmt: skip
def test_what_loses_nothing_is_read(tmp_path, content):
    assert labels(small(tmp_path, content)) == BOTH_OF_ROWS


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("-aB3dEf_hIQ", "#NAME?", "line 4: '#NAME?' stands where the id was, in 1 rows"),
        ("-aB3dEf_hIQ", "=-aB3dEf_hIQ", "line 4: '=-aB3dEf_hIQ' is no YouTube id"),
        ("bB3dEf-hIQ0", "bB3dEf-hIQ", "line 5: 'bB3dEf-hIQ' is no YouTube id"),
        ("bB3dEf-hIQ0", "../../etc/x", "line 5: '../../etc/x' is no YouTube id"),
        ("bB3dEf-hIQ0", "bB3dÉf-hIQ0", "line 5: 'bB3dÉf-hIQ0' is no YouTube id"),
        ("bB3dEf-hIQ0", "", "line 5: ytid is empty"),
        ("0.000, 10.000", "10.000, 0.000", "line 5: the clip ends at 0.000 s, not after its start"),
        ("0.000, 10.000", "0.000, 10000.000", "line 5: the clip lasts 10000 s, 10 s are the most"),
        ("0.000, 10.000", "0.000", "line 5: 3 cells where 4 are wanted"),
        ("0.000, 10.000", "0:00, 0:10", "line 5: start '0:00' is no number of seconds"),
        ("0.000, 10.000", "nan, 10.000", "line 5: start 'nan' is no number"),
        ("0.000, 10.000", "-1, 9", "line 5: start '-1' is no number"),
        ("0.000, 10.000", "0,000, 10,000", "line 5: '10' is no class id"),
        ('"/t/dd00129"\nc', '"/t/dd00129\nc', "line 5: a quote is not closed"),
        ('"/t/dd00129"\nc', "\nc", "line 5: positive_labels is empty"),
        ('"/t/dd00129"\nc', '"Rural"\nc', "line 5: 'Rural' is no class id"),
        ('"/t/dd00129"\nc', "\"['/t/dd00129']\"\nc", "line 5: \"['/t/dd00129']\" is no class id"),
        ("dB3dEf-hIQ8, 10.000, 20.000", "bB3dEf-hIQ0, 0.000, 10.000", "line 7: clip bB3dEf-hIQ0_0 is there already"),
        ("dB3dEf-hIQ8, 10.000, 20.000", "bB3dEf-hIQ0, 10.000, 20.000", "ends with 3 videos, line 2 promises 4"),
        (",/m/09x0r", "", "ends with 5 labels, line 2 promises 6"),
        (', 20.000, "/m/09x0r"', ', 20.000, "/m/09x0r', "line 7: a quote is not closed; the file is cut off there"),
        ('"/t/dd00129"\nc', '"/t/dd"00129"\nc', "line 5: a quote stands within a cell"),
        ("bB3d", "# a comment\nbB3d", "line 5: "),
        (ROWS[ROWS.index("dB3d"):], "", "line 6 ends with 3 rows, line 2 promises 4"),
        (ROWS, "", "has no row"),
        (COMMENTS, "", "4 rows, the published list has 22,160 or 20,371 or 2,041,789"),
    ],
)  # fmt: skip
def test_damage_is_one_line_that_says_row_and_what(tmp_path, old, new, line):
    assert (COMMENTS + ROWS).count(old) == 1
    assert line in line_of(small(tmp_path, (COMMENTS + ROWS).replace(old, new)))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "is empty"),
        ("<!DOCTYPE html>\n<html>\n", "line 1: a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "line 1: a Git LFS pointer"),
        ("404: Not Found", "line 1: 1 cell where 4 are wanted"),
        (b"PK\x03\x04\x00\x00", "is no text file"),
        ("YTID,start_seconds,positive_labels\n" + ROWS, "has no column 'end_seconds'; there are: ytid, start_seconds"),
    ],
)
def test_what_is_no_list_is_one_line(tmp_path, content, line):
    assert line in line_of(small(tmp_path, content))


def test_ids_that_lost_their_case_are_refused(tmp_path):
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
    rows = "".join(f'{"".join(draw.choices(letters, k=11))},0,10,"/m/09x0r"\n' for _ in range(200))
    assert "ids are all small letters" in line_of(small(tmp_path, rows, partial=True))


def test_times_in_another_unit_are_refused(tmp_path):
    draw = random.Random(0)
    letters = "ABCabc0123456789-_"
    ids = ["".join(draw.choices(letters, k=11)) for _ in range(100)]
    minutes = "".join(f'{name},0,0.16667,"/m/09x0r"\n' for name in ids)
    assert "line 1: from here on no clip lasts the 10 s of this data set" in line_of(
        small(tmp_path, minutes, partial=True)
    )


@pytest.mark.parametrize("part", [1, 2, 3, 50_000])
@pytest.mark.parametrize(
    ("faults", "line"),
    [
        ({6: ("/m/", "m/"), 2: ("/m/", "m/")}, "line 2: 'm/09x0r' is no class id"),
        ({6: ("/m/", "m/"), 5: (",10,", ",99,")}, "line 5: the clip lasts 99 s"),
        ({6: (",0,", ","), 4: ("4aaaaaaaaaA", "1aaaaaaaaaA")}, "line 4: clip 1aaaaaaaaaA_0 is there already"),
        ({6: ("6aaaaaaaaaA", "1aaaaaaaaaA"), 4: ("/m/", "m/")}, "line 4: 'm/09x0r' is no class id"),
        ({6: (",0,", ","), 5: ("/m/09x0r", "")}, "line 5: positive_labels is empty"),
        ({6: ("6aaaaaaaaaA", "1aaaaaaaaaA")}, "line 6: clip 1aaaaaaaaaA_0 is there already, "),
    ],
)
def test_of_several_wrong_rows_the_first_is_told_wherever_parts_end(tmp_path, monkeypatch, part, faults, line):
    monkeypatch.setattr(csv_chunks, "PART", part)
    rows = {number: f'{number}aaaaaaaaaA,0,10,"/m/09x0r"' for number in range(1, 8)}
    for number, change in faults.items():
        assert change[0] in rows[number]
        rows[number] = rows[number].replace(*change)
    assert line in line_of(small(tmp_path, "\n".join(rows.values()) + "\n", partial=True))


def test_labels_beside_a_further_column_keep_their_quotes_or_are_refused(tmp_path):
    header = "YTID,start_seconds,end_seconds,positive_labels,file\n"
    rows = ROWS.replace("\n", ",x.wav\n")
    assert labels(small(tmp_path, header + rows, partial=True)) == BOTH_OF_ROWS
    line = line_of(small(tmp_path, header + rows.replace('"', ""), partial=True))
    assert "line 2: 6 cells where 5 are wanted" in line


def test_a_part_is_taken_when_the_config_says_so(tmp_path):
    assert labels(small(tmp_path, ROWS, partial=True)) == BOTH_OF_ROWS
    assert labels(small(tmp_path, COMMENTS + ROWS[: ROWS.index("cB3d")], partial=True)) == BOTH_OF_ROWS


def test_a_label_cut_off_at_the_end_is_refused_even_in_a_part(tmp_path):
    line = line_of(small(tmp_path, ROWS.replace('"', "").rstrip()[:-2], partial=True))
    assert "line 4: the file ends within a line" in line


CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/t/dd00128,"Outside, urban"\n2,/t/dd00129,"Outside, rural"\n'


NO_HEADER = CLASSES.removeprefix("index,mid,display_name\n")


@pytest.mark.parametrize("names", [CLASSES, CLASSES.replace('"', ""), CLASSES.replace("\n", "\r\n"), NO_HEADER])
def test_classes_may_be_named_as_the_owners_name_them(tmp_path, names):
    (tmp_path / "classes.csv").write_text(names, newline="")
    (tmp_path / "list.csv").write_text(COMMENTS + ROWS)
    named = {"urban_rural": {"urban": "Outside, urban", "rural": ["outside, rural"]}}
    named["speech"] = {"speech": "Speech", "none": None}
    options = {"csv": str(tmp_path / "list.csv"), "classes": str(tmp_path / "classes.csv")}
    dataset = Audioset(["urban_rural", "speech"], labels=named, **options)
    assert labels(dataset) == BOTH_OF_ROWS
    assert dataset.inputs() == [tmp_path / "list.csv", tmp_path / "classes.csv"]
    wrong = {"urban_rural": {"urban": "Outside, urbn", "rural": None}}
    assert "no class 'Outside, urbn'; did you mean 'Outside, urban'?" in line_of(
        Audioset(["urban_rural"], labels=wrong, **options)
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('1,/t/dd00128,"Outside, urban"\n', "", "classes.csv, line 3: index 2 where 1 is wanted; rows are missing"),
        ('2,/t/dd00129,"Outside, rural"\n', "", "classes.csv has no class '/t/dd00129'"),
        ("/t/dd00128", "dd00128", "classes.csv, line 3: 'dd00128' is no class id"),
    ],
)
def test_a_damaged_list_of_classes_is_one_line(tmp_path, old, new, line):
    (tmp_path / "classes.csv").write_text(CLASSES.replace(old, new))
    assert line in line_of(small(tmp_path, COMMENTS + ROWS, classes=str(tmp_path / "classes.csv")))


def test_a_class_that_the_owners_do_not_have_is_refused(tmp_path):
    (tmp_path / "classes.csv").write_text(CLASSES)
    dataset = small(tmp_path, (COMMENTS + ROWS).replace('"/m/09x0r', '"/m/09x0'), classes=str(tmp_path / "classes.csv"))
    assert "list.csv, line 7: class /m/09x0 is not in" in line_of(dataset)


def test_descendants_count_as_the_class_above_them(shared):
    folder = shared / "manifests" / "audioset"
    task = {"voice": {"voice": "Human voice", "none": None}}
    options = {"csv": str(folder / "official_eval_segments.csv"), "classes": str(folder / "ontology.json")}
    with pytest.raises(UserError, match=r"labels\.voice\.voice: no clip"):
        Audioset(["voice"], labels=task, **options).manifest()  # the lists name no abstract class
    counts = Audioset(["voice"], labels=task, descendants=True, **options).manifest()["voice"].value_counts()
    assert counts["voice"] > 5324  # Speech alone
    assert counts.sum() == 20_371


def test_balance_keeps_as_many_of_each_and_depends_on_the_seed_alone(tmp_path):
    draw = random.Random(1)
    ids = ["".join(draw.choices("ABCDEFGHabcdefgh", k=11)) for _ in range(30)]
    rows = [
        f'{name},0,10,"{"/t/dd00128,/m/09x0r" if number < 20 else "/t/dd00129"}"\n' for number, name in enumerate(ids)
    ]
    kept = []
    for order, seed in ((rows, 0), (rows[::-1], 0), (rows, 1)):
        table = small(tmp_path, "".join(order), partial=True, balance=True, seed=seed).manifest()
        kept.append({label: set(clips["clip_id"]) for label, clips in table.groupby("urban_rural")})
    assert {label: len(clips) for label, clips in kept[0].items()} == {"urban": 10, "rural": 10}
    assert kept[0] == kept[1]
    assert kept[0]["urban"] != kept[2]["urban"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"labels": {"speech": SPEECH}}, "labels says nothing of task 'urban_rural'"),
        ({"clips_of": "urbn_rural"}, "nothing of task 'urbn_rural'; did you mean 'urban_rural'?"),
        ({"csv": []}, "csv: a path or URL"),
        ({"csv": {"tset": "x.csv"}}, "'tset' is no split"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, line):
    with pytest.raises(UserError, match=line):
        Audioset(["urban_rural"], **({"csv": "x.csv", "labels": STUDY} | options))


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ({"urban": "/t/dd00128"}, "two labels or more"),
        ({"urban": "/t/dd00128", "rural": ["/t/dd00128"]}, "/t/dd00128 is both 'urban' and 'rural'"),
        ({"a": None, "b": None}, "only one label can be null"),
        ({"urban": "Outside", "rural": None}, "'Outside' can be told only with the file of classes"),
        ({"urban": 3, "rural": None}, "a class, a list of classes or null"),
        ({"urban": "/m/0zzz", "rural": None}, "labels.urban_rural.urban: no clip"),
    ],
)
def test_labels_that_cannot_be_are_one_line(tmp_path, task, line):
    (tmp_path / "list.csv").write_text(COMMENTS + ROWS)
    dataset = Audioset(["urban_rural"], csv=str(tmp_path / "list.csv"), labels={"urban_rural": task})
    assert line in line_of(dataset)

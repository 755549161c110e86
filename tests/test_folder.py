"""CSVs as people have them, and what is said of broken ones."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

from modalens.datasets.folder import Folder
from modalens.media.failure_causes import ClipError
from modalens.media.sources import DownloadOptions
from modalens.utils import csv_chunks, csv_input
from modalens.utils.errors import UserError

ROWS = "file,label\na.mp4,cat\nb.mp4,dog\n"


@pytest.fixture
def table(tmp_path):
    """Write a CSV, give back its path."""

    def write(content: str | bytes, name: str = "clips.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read(csv: str, tasks=("label",), **options):
    return Folder(list(tasks), csv=csv, **options).manifest()


def test_file_names_count_from_the_csv_or_from_the_media_folder(table, tmp_path):
    assert read(table(ROWS))["source"].tolist() == [f"{tmp_path}/a.mp4", f"{tmp_path}/b.mp4"]
    assert read(table(ROWS), media="my clips")["source"][0] == "my clips/a.mp4"
    assert read(table("file,label\n/data/a.mp4,cat\n"))["source"][0] == "/data/a.mp4"


def test_segments_of_one_file_get_their_own_ids_and_share_a_group(table):
    found = read(table("file,start,end,label\nx/a.mp4,0,2.5,cat\nx/a.mp4,1:02,0:01:04.25,dog\n"))
    assert found["clip_id"].tolist() == ["a_0", "a_62"]
    assert found["start_s"].tolist() == ["0", "62"]
    assert found["end_s"].tolist() == ["2.5", "64.25"]
    assert found["group"].tolist() == ["x/a.mp4", "x/a.mp4"]


def test_columns_may_have_other_names(table):
    csv = table("path,klass,speaker,id\na.mp4,cat,ann,one\n")
    found = read(csv, ["sound"], columns={"file": "path", "sound": "klass", "group": "speaker", "clip_id": "id"})
    assert found.iloc[0][["clip_id", "group", "sound"]].tolist() == ["one", "ann", "cat"]


def test_split_names_are_brought_to_one_spelling(table):
    rows = [f"{name}.mp4,cat,{name}" for name in ("train", "Train", "validation", "val", "VALID", "dev", "test")]
    found = read(table("file,label,split\n" + "\n".join([*rows, "x.mp4,cat,"])))
    assert found["split"].tolist() == ["train"] * 2 + ["validation"] * 4 + ["test", ""]


def test_a_file_may_be_an_address_of_any_scheme_and_is_left_as_it_is(table):
    files = ["https://example.org/a//b.mp4?x=1", "youtube:-abcdefghij", "ftp://example.org/c.mp4", "d/e.mp4"]
    found = read(table("file,label\n" + "\n".join(f"{file},cat" for file in files)), media="m")
    assert found["source"].tolist() == [*files[:3], "m/d/e.mp4"]


def test_a_clip_may_lack_the_label_of_one_task(table):
    found = read(table("file,one,two\na.mp4,x,\nb.mp4,,NA\n"), ["one", "two"])
    assert found[["one", "two"]].to_numpy().tolist() == [["x", ""], ["", "NA"]]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_usual_separators_and_line_ends_are_detected(table, separator, newline):
    lines = [["file", "label"], ['"a;b,c\td.mp4"', "cat"], [], ["b.mp4", "dog"]]
    found = read(table(newline.join(separator.join(cells) for cells in lines)))
    assert found["label"].tolist() == ["cat", "dog"]
    assert found["source"][0].endswith("a;b,c\td.mp4")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_usual_encodings_are_read(table, encoding, caplog):
    found = read(table("file,label\ncafé.mp4,bébé\n".encode(encoding)))
    assert found.iloc[0][["clip_id", "label"]].tolist() == ["café", "bébé"]
    assert ("read as Latin-1" in caplog.text) == (encoding == "latin-1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("file,label\n", "no rows"),
        ("path,label\na.mp4,cat\n", "no column 'file'; there are: path, label"),
        ("file,Lable\na.mp4,cat\n", "no column 'label'; did you mean 'Lable'"),
        ("file,label,label\na.mp4,cat,dog\n", "2 columns called 'label'"),
        ("file,label\n,cat\n", "line 2: no file"),
        ("file,label\na.mp4,cat,dog\n", "line 2: 3 cells under 2 columns"),
        ("file,label,start\na.mp4,cat,1\nb.mp4,dog,soon\n", "line 3: start 'soon' is no time"),
        ("file,label,start\na.mp4,cat,-1\n", "line 2: start '-1' is no time"),
        ("file,label,end\na.mp4,cat,nan\n", "line 2: end 'nan' is no time"),
        ("file,label,start,end\na.mp4,cat,5,5\n", "line 2: end 5 is not after start 5"),
        ("file,label,end\na.mp4,cat,0\n", "line 2: end 0 is not after start 0"),
        ("file,label\na/x.mp4,cat\na/x.wav,dog\n", "first 'a/x' .*a/x.mp4 and .*a/x.wav"),
        ("file,label,split\na.mp4,cat,tset\n", "line 2: split 'tset'"),
        ("file,label,group\na.mp4,cat,\n", "line 2: the group is empty"),
        (b"file,label\n\0\1\2", "no text file"),
        ('file,label\n"a.mp4,cat\n' + "x" * 140000, "no readable CSV"),
    ],
)
def test_a_broken_csv_is_explained_in_one_line(table, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read(table(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [1, 2, 50_000])
def test_parts_change_neither_rows_nor_the_line_that_is_told(table, monkeypatch, part):
    monkeypatch.setattr(csv_chunks, "PART", part)
    head = 'file,start,text,label\na.mp4,1,"two\nlines",cat\n\n ,,,\nb.mp4,,,dog\n'
    found = read(table(head + "./c//d.mp4,0:02\n"))
    assert found["clip_id"].tolist() == ["a_1", "b", "d_2"]
    assert found["text"].tolist() == ["two\nlines", "", ""]
    assert found["label"].tolist() == ["cat", "dog", ""]
    assert found["source"][2].endswith("/c/d.mp4")
    with pytest.raises(UserError, match="line 7: start 'soon' is no time"):
        read(table(head + "c.mp4,soon\nd.mp4,-1\n"))


@pytest.mark.parametrize(
    "file",
    ["a.b.mp4", "a", ".a", "a.", "a/.", "a/./b.mp4", "./a.mp4", "a//b.mp4", "/a.mp4", "a/", "..", "a b.mp4", "a\\b"],
)
def test_files_are_called_as_a_path_calls_them(table, file):
    found = read(table(f"file,label\n{file},cat\n"), media="m/n").iloc[0]
    assert found["source"] == (Path("m/n") / file).as_posix()
    assert found["clip_id"] == Path(file).stem


def test_a_csv_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.csv is not there"):
        read(str(tmp_path / "nowhere.csv"))
    with pytest.raises(UserError, match="cannot be read"):
        read(str(tmp_path))


def test_an_unknown_column_field_gets_the_nearest_name(table):
    with pytest.raises(UserError, match="did you mean 'group'"):
        read(table(ROWS), columns={"gruop": "x"})


def test_a_media_file_is_used_where_it_lies_and_a_missing_one_is_data(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    fetched = Folder.fetch(str(tmp_path / "a.mp4"), 1.0, None, tmp_path / "out", DownloadOptions())
    assert (fetched.path, fetched.start_s, fetched.end_s) == (tmp_path / "a.mp4", 1.0, None)
    with pytest.raises(ClipError) as caught:
        Folder.fetch(str(tmp_path / "b.mp4"), None, None, tmp_path / "out", DownloadOptions())
    assert caught.value.cause == "missing"


@pytest.fixture
def server(tmp_path):
    """tmp_path over http; /away redirects to a file."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/away":
                self.send_response(302)
                self.send_header("Location", f"file://{tmp_path}/clips.csv")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_a_csv_is_read_from_the_web(table, server):
    table(ROWS)
    data = Folder(["label"], csv=f"{server}/clips.csv", media="clips")
    assert data.manifest()["source"].tolist() == ["clips/a.mp4", "clips/b.mp4"]
    assert data.inputs() == []


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/../../b", "C:\\x.mp4", "..\\x.mp4"])
def test_a_list_from_the_web_cannot_lead_out_of_the_media_folder(table, server, file):
    table(f"file,label\n{file},cat\n")
    with pytest.raises(UserError, match="leads out of the media folder"):
        read(f"{server}/clips.csv", media="clips")


def test_what_the_web_does_not_give_is_said_in_one_line(table, server, monkeypatch):
    table(ROWS)
    with pytest.raises(UserError, match="HTTP Error 404"):
        read(f"{server}/none.csv", media="clips")
    with pytest.raises(UserError, match="cannot be read"):
        read(f"{server}/away", media="clips")
    with pytest.raises(UserError, match="refused"):
        read("http://127.0.0.1:1/clips.csv", media="clips")
    with pytest.raises(UserError, match="only http and https"):
        read("ftp://127.0.0.1/clips.csv", media="clips")
    with pytest.raises(UserError, match="media is wanted"):
        read(f"{server}/clips.csv")
    monkeypatch.setattr(csv_input, "LARGEST", 10)
    with pytest.raises(UserError, match="is larger than"):
        read(f"{server}/clips.csv", media="clips")


def test_the_talking_faces_are_read(shared):
    data = Folder(["adverb", "command", "colour", "digit"], csv=str(shared / "grid" / "labels.csv"))
    found = data.manifest()
    assert len(found) == 160
    assert found["digit"].nunique() == 10
    assert all(Path(source).is_file() for source in found["source"])


@pytest.mark.parametrize(
    ("files", "groups"),
    [
        (["v.mp4", "./v.mp4", "a/../v.mp4", ".//v.mp4"], 1),
        (["v.mp4", "link.mp4", "w.mp4"], 2),
        (["a/v.mp4", "b/v.mp4", "linked/v.mp4"], 2),
        (["v.mp4", "V.mp4"], 2),
        (["absent.mp4", "./absent.mp4", "no folder/x.mp4", "no folder/./x.mp4"], 2),
        (["https://example.org/./v.mp4", "https://example.org/v.mp4"], 2),
        (["youtube:abcdefghijk", "youtube:abcdefghijk"], 1),
    ],
)
def test_clips_are_of_one_group_where_one_file_is_opened(table, tmp_path, files, groups):
    for name in ("v.mp4", "w.mp4", "a/v.mp4", "b/v.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.mp4").symlink_to("v.mp4")
    (tmp_path / "linked").symlink_to("a", target_is_directory=True)
    rows = "".join(f"{number},{file},cat\n" for number, file in enumerate(files))
    found = read(table("clip_id,file,label\n" + rows))
    assert found["group"].nunique() == groups
    assert found["group"][0] == files[0]


def test_a_link_out_of_the_media_folder_is_the_file_it_leads_to(table, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "media").mkdir()
    (tmp_path / "store/x.mp4").write_bytes(b"")
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / "media" / name).symlink_to(tmp_path / "store/x.mp4")
    found = read(table("file,label\none.mp4,cat\ntwo.mp4,dog\n"), media=str(tmp_path / "media"))
    assert found["group"].tolist() == ["../store/x.mp4"] * 2


def test_no_file_of_the_list_found_to_go_wrong_is_in_two_groups(shared):
    found = read(str(shared / "found/alias.csv"), ["mood"])
    assert found["group"].nunique() == 20
    assert found.groupby("group").size().tolist() == [2] * 20


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["happy/001.mp4", "sad/001.mp4"], ["happy/001", "sad/001"]),
        (["happy/001.mp4", "sad/002.mp4"], ["001", "002"]),
        (["001.mp4", "sad/001.mp4"], ["001", "sad/001"]),
        (["./happy/001.mp4", "sad//001.mp4"], ["happy/001", "sad/001"]),
        (["/data/happy/001.mp4", "/data/sad/001.mp4"], ["/data/happy/001", "/data/sad/001"]),
    ],
)
def test_clips_without_an_id_are_called_after_their_files_and_their_folders_where_names_recur(table, files, ids):
    rows = "".join(f"{file},cat\n" for file in files)
    assert read(table("file,label\n" + rows))["clip_id"].tolist() == ids


def test_a_backslash_is_noted_with_its_line(table, caplog):
    read(table("file,label\na.mp4,cat\nclips\\b.mp4,dog\n"))
    assert "line 3: 'clips\\\\b.mp4' holds a backslash, in 1 rows" in caplog.text

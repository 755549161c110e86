import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import fisher_exact
from sklearn import metrics as sklearn_metrics
from synthetic import answers_of, predictions, write_study

from modalens.commands import summary
from modalens.reporting import attrition, charts, comparison, drawings
from modalens.reporting.caveats import caveats
from modalens.reporting.page import number, probability
from modalens.reporting.paper_tables import per_class, results
from modalens.reporting.study_results import Study
from modalens.reporting.summary import find
from modalens.reporting.tables import TEXT
from modalens.stages import leaderboard, relevance, report
from modalens.tracking import records
from modalens.utils import cli
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

CLASSES = ["blue", "green", "red"]
SEEN = {"": 0.33, "audio": 0.34, "video": 0.97, "audio,video": 0.97}
IGNORED = {"": 0.33, "audio": 0.33, "video": 0.8, "audio,video": 0.8}
SYNERGY = {"": 0.33, "audio": 0.33, "video": 0.33, "audio,video": 0.9}
SHARED = {"": 0.33, "audio": 0.75, "video": 0.75, "audio,video": 0.95}
NOTHING = dict.fromkeys(SEEN, 0.33)
REDUNDANT = {"": 0.33, "audio": 0.9, "video": 0.9, "audio,video": 0.9}


def read(path):
    """A table beside the page: text stays text."""
    header = pd.read_csv(path, nrows=0).columns
    numbers = {name: [""] for name in header if name not in TEXT}
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT & set(header), str), keep_default_na=False, na_values=numbers)


def models(accuracies, audio=None, video=None):
    return {
        "audio_only": {"": 0.33, "audio": accuracies["audio"] if audio is None else audio},
        "video_only": {"": 0.33, "video": accuracies["video"] if video is None else video},
        "late_fusion": accuracies,
    }


def measure(root):
    for folder in sorted((root / "evaluate").iterdir()):
        for name in ("leave_one_out", "coalition_values", "interaction", "shapley"):
            command = ["--measure", name, "--options", '{"bootstrap": 100}', "--predictions", *folder.glob("*.parquet")]
            output = root / "relevance" / folder.name / name
            command += ["--output", f"{output}.csv", "--record", f"{output}.json"]
            cli.call(relevance, [str(part) for part in command])
    return root


def write_page(root, config=None):
    command = ["--study", root, "--config", config or root / "config.yaml", "--output", root / "report" / "index.html"]
    command += ["--record", root / "report" / "record.json", "--answer", root / "report" / "answer.txt"]
    cli.call(report, [str(part) for part in command])
    return (root / "report" / "index.html").read_text(encoding="utf-8")


def edit(root, **changes):
    config = yaml.safe_load((root / "config.yaml").read_text()) | changes
    (root / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    tasks = {"ignored": models(IGNORED, audio=0.62), "both": models(SYNERGY)}
    answers = {"both": answers_of(SYNERGY)}
    root = write_study(tmp_path_factory.mktemp("results") / "demo", tasks, CLASSES, answers, groups=40)
    return measure(root)


@pytest.fixture(scope="module")
def html(study):
    return write_page(study)


class Page(HTMLParser):
    """What a browser would do with the page: ids, links, loads, tags left open."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.open, self.scripts = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.scripts += [attrs.get("type", "")] if tag == "script" else []
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "a":
            self.links.append(attrs["href"])
        self.loads += [attrs[name] for name in ("src", "xlink:href", "srcset") if name in attrs and tag != "a"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.usefixtures("html")
def test_a_still_drawing_is_one_picture_with_words_and_no_parts_without_any(study):
    for path in (study / "report" / "figures").glob("*.svg"):
        drawing = path.read_text(encoding="utf-8")
        assert drawing.count('role="') == drawing.count('<svg role="img" aria-label="') == 1


def test_page_is_well_formed_asks_nothing_of_the_network_and_its_links_lead_somewhere(study, html):
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(load.startswith(("#", "data:")) for load in page.loads)
    drawn = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "@import" not in drawn
    assert not re.search(r"url\((?!#)", drawn)
    for link in page.links:
        target = link[1:] in page.ids if link.startswith("#") else (study / "report" / link).is_file()
        assert target, link
    assert len(html) < 3e6


def test_first_screen_says_which_modality_decides_and_which_is_ignored(html):
    first_screen = html[html.index('id="answer"') : html.index('id="task-1"')]
    assert "video dominates" in first_screen
    assert "synergistic: only together do they tell" in first_screen
    assert re.search(r"It does not need audio, although audio alone reaches 0\.(5|6)\d", first_screen)
    assert "The encoder resnet50 was not trained: video may tell more with trained weights" in first_screen
    assert "40 groups, trained from 5 seeds" in first_screen
    assert re.search(r"24 of \d+ clips \(\d\.\d%\) could not be used", first_screen)


@pytest.mark.parametrize(
    ("accuracies", "audio", "lead", "note"),
    [
        (SEEN, None, "video dominates", ""),
        (IGNORED, 0.62, "video dominates", "It does not need audio, although audio alone reaches 0."),
        (IGNORED, 0.33, "video dominates", ""),
        (SYNERGY, None, "synergistic: only together do they tell", ""),
        (SHARED, None, "both count; partly redundant", ""),
        (REDUNDANT, None, "redundant: any one modality suffices", "It does not need audio, although audio alone"),
        (
            NOTHING,
            0.8,
            "no better than chance",
            "The joint model is worse than one of audio alone: accuracy 0.",
        ),
    ],
)
def test_finding_says_what_the_numbers_say(tmp_path, accuracies, audio, lead, note):
    # Chance has an error of its own: sixty clips cannot tell a model without knowledge from one with a little.
    groups = 130 if accuracies is NOTHING else 60
    root = measure(write_study(tmp_path / "s", {"task": models(accuracies, audio)}, CLASSES, groups=groups))
    finding = find(Study(root, yaml.safe_load((root / "config.yaml").read_text())), "task")
    assert finding.lead == lead
    assert finding.notes[0].startswith(note) if note else not finding.notes, finding.notes


def test_ignored_takes_both_an_expert_above_chance_and_a_drop_that_may_be_zero(tmp_path):
    """Not said of a modality that is missed, nor of one whose expert knows nothing."""
    used = {"": 0.33, "audio": 0.5, "video": 0.6, "audio,video": 0.9}
    root = measure(write_study(tmp_path / "s", {"used": models(used), "deaf": models(IGNORED)}, CLASSES, groups=60))
    study = Study(root, yaml.safe_load((root / "config.yaml").read_text()))
    assert find(study, "used").notes == ()
    assert find(study, "deaf").notes == ()


def test_published_layout_holds_scikit_learns_numbers(study):
    table = results(Study(study, yaml.safe_load((study / "config.yaml").read_text())))
    rows = list(dict.fromkeys(table.loc[table["task"] == "both", "row"]))
    published = ["Audio Model", "Video Model", "late_fusion (full)", "Gaussian Audio", "Gaussian Video"]
    assert rows == [*published, "Silent Audio", "Black Video"]
    frame = pd.read_parquet(study / "evaluate" / "both" / "late_fusion.parquet")
    black = frame[(frame["replacement"] == "blank@input") & (frame["coalition"] == "audio")]
    f1 = [
        100 * sklearn_metrics.f1_score(part["label"], part["predicted"], average="macro")
        for _, part in black.groupby("seed")
    ]
    cell = table[(table["task"] == "both") & (table["row"] == "Black Video") & (table["metric"] == "f1")].iloc[0]
    assert (cell["mean"], cell["std"]) == pytest.approx((np.mean(f1), np.std(f1, ddof=1)))


def test_without_the_papers_replacements_its_table_has_that_of_the_answer(tmp_path):
    used = {"": 0.33, "audio": 0.5, "video": 0.6, "audio,video": 0.9}
    told = ["mean@fusion"]
    root = write_study(tmp_path / "s", {"used": models(used)}, CLASSES, groups=8, seeds=2, replacements=told)
    config = yaml.safe_load((root / "config.yaml").read_text()) | {"evaluate": {"replacements": told}}
    table = results(Study(root, config))
    fused = table.loc[table["model"] == "late_fusion", "row"]
    withheld = ["Without Audio (mean@fusion)", "Without Video (mean@fusion)"]
    assert list(dict.fromkeys(fused)) == ["Audio Model", "Video Model", "late_fusion (full)", *withheld]


def test_accuracy_per_class_has_the_five_cases_and_adds_up_to_the_accuracy(study):
    loaded = Study(study, yaml.safe_load((study / "config.yaml").read_text()))
    table = per_class(loaded)
    part = table[table["task"] == "both"]
    cases = set(zip(part["case"], part["modality"], strict=True))
    assert cases == {("full", ""), *((case, name) for case in ("only", "expert") for name in ("audio", "video"))}
    full = part[part["case"] == "full"]
    confusion = loaded.scores["both"]["late_fusion"].full
    overall = np.trace(confusion.sum(axis=0)) / confusion.sum()
    assert np.average(full["mean"], weights=full["clips"]) == pytest.approx(overall)


def test_known_answers_stand_beside_the_measured_ones(study, html):
    assert "Known against measured" in html
    table = read(study / "report" / "tables" / "known.csv")
    video = table[(table["quantity"] == "share used") & (table["modality"] == "video")]
    assert video["known"].item() == pytest.approx(0.5)
    assert video["within"].item()


def test_the_same_study_gives_the_same_bytes(tmp_path):
    root = measure(write_study(tmp_path / "s", {"t": {"late_fusion": SEEN}}, CLASSES, groups=6, seeds=2))
    written = []
    for _ in range(2):
        write_page(root)
        written.append({path: path.read_bytes() for path in sorted((root / "report").rglob("*.*"))})
    assert len(written[0]) > 10
    assert written[0] == written[1]


def test_a_task_that_left_the_study_leaves_no_figure_behind(tmp_path):
    root = write_study(
        tmp_path / "s", {"seen": models(SEEN), "gone": models(SEEN)}, CLASSES, groups=6, seeds=2, trained=False
    )
    write_page(root)
    assert (root / "report" / "figures" / "gone-classes.svg").exists()
    edit(root, tasks=["seen"])
    assert "gone" not in write_page(root)
    assert not list((root / "report" / "figures").glob("gone*"))


def test_hostile_names_are_shown_and_never_run(tmp_path):
    evil = '<script>alert("1")</script>'
    labels = [evil, "$x_{1}$ & more", "日本語\u0007\n", "NA"]
    root = write_study(tmp_path / "s", {"a <b> & c": models(SEEN)}, labels, groups=6, seeds=2, trained=False, lost=0)
    html = write_page(measure(root))
    page = Page(html)
    assert [kind for kind in page.scripts if kind != "application/json"] == ["", ""]  # Vega, and ours
    assert 'alert("1")</script>' not in html
    assert page.open == []
    assert "a &lt;b&gt; &amp; c" in html
    assert all((root / "report" / Path(*unquoted(link))).is_file() for link in page.links if not link.startswith("#"))


def unquoted(link):
    from urllib.parse import unquote

    return unquote(link).split("/")


def test_a_study_of_one_modality_of_three_and_of_strange_models_has_a_page(tmp_path):
    three = {"": 0.2, "audio": 0.4, "text": 0.5, "video": 0.6, "audio,text": 0.6, "audio,video": 0.7}
    three |= {"text,video": 0.8, "audio,text,video": 0.9}
    root = write_study(tmp_path / "three", {"t": {"my.model-2": three}}, CLASSES, groups=20, trained=False)
    assert "my.model-2" in write_page(measure(root))
    root = write_study(
        tmp_path / "one", {"t": {"depth_net": {"": 0.3, "depth": 0.8}}}, CLASSES, groups=20, trained=False
    )
    assert "from depth alone" in write_page(measure(root))


def test_one_test_group_and_one_seed_still_give_a_page_without_intervals(tmp_path):
    root = write_study(tmp_path / "s", {"t": models(SEEN)}, CLASSES, groups=1, seeds=1, lost=0, trained=False)
    html = write_page(measure(root))
    assert "too few test groups to tell" in html
    assert "no interval" in html
    assert "Only 1 seed: all that is said is of this one model" in html
    assert "No clip was lost." in html


def test_a_study_without_predictions_is_one_clear_line(tmp_path):
    (tmp_path / "config.yaml").write_text("relevance: {confidence: 0.95}\n")
    with pytest.raises(UserError, match="holds no predictions"):
        write_page(tmp_path)


def test_without_measures_and_histories_the_rest_is_still_reported(tmp_path):
    root = write_study(tmp_path / "s", {"t": models(SEEN)}, CLASSES, groups=4, seeds=2, trained=False)
    html = write_page(root)
    assert "not measured" in html
    assert "Black Video" in html


@pytest.mark.usefixtures("html")
def test_record_names_the_page_and_the_headline_accuracy(study):
    stage, runs = records.read(study / "report" / "record.json")
    assert stage == "report"
    assert runs[0].artifacts == [str(study / "report" / "index.html")]
    of_task = {run.key.get("task"): run for run in runs}
    assert of_task["ignored"].metrics["accuracy"] == pytest.approx(0.8, abs=0.06)


@pytest.mark.usefixtures("html")
def test_the_report_leaves_what_modalens_summary_prints(study, capsys):
    cli.call(summary, [str(study)])
    printed = capsys.readouterr().out
    assert "video dominates" in printed
    assert (study / "report" / "answer.txt").read_text(encoding="utf-8") == printed


def test_measures_that_were_asked_for_and_have_no_table_are_named(study):
    config = yaml.safe_load((study / "config.yaml").read_text())
    assert Study(study, config).unmeasured() == {}
    config["relevance"]["measures"] |= {"probe": {}, "of_a_plugin": {}}
    assert Study(study, config).unmeasured() == {"probe": ["ignored", "both"]}
    said = "probe was asked for, and there is no table of it for any task: the next run makes it."
    assert said in caveats(Study(study, config), {})


def test_results_of_another_version_are_one_line(study, tmp_path):
    root = shutil.copytree(study, tmp_path / "s")
    for path in root.glob("relevance/*/leave_one_out.csv"):
        pd.read_csv(path, keep_default_na=False).drop(columns="chance").to_csv(path, index=False)
    with pytest.raises(UserError, match=r"leave_one_out.csv is not what the study wrote: .*: run again with"):
        cli.call(summary, [str(root)])


@pytest.mark.slow
def test_the_metric_that_the_answer_is_told_in_is_named_everywhere(tmp_path):
    """One class is most of the test set: balanced accuracy."""
    root = write_study(tmp_path / "s", {"t": models(SEEN)}, CLASSES, groups=8, seeds=2, lost=0, trained=False)
    for path in root.glob("evaluate/t/*.parquet"):
        table = pd.read_parquet(path)
        few = sorted(table.loc[table["label"] != CLASSES[0], "clip_id"].unique())[::5]
        table[(table["label"] == CLASSES[0]) | table["clip_id"].isin(few)].to_parquet(path)
    html = write_page(measure(root))
    _, runs = records.read(root / "report" / "record.json")
    (told,) = [run for run in runs if run.key.get("task") == "t"]
    assert told.params["metric"] == "balanced_accuracy"
    assert set(told.metrics) == {"balanced_accuracy"}
    assert "Fall of balanced accuracy for each way" in html
    assert "<div>Shapley value in accuracy" in html
    figure = (root / "report" / "figures" / "t-withheld.svg").read_text()
    assert "drop of balanced accuracy when withheld" in figure
    assert "drop of accuracy" not in figure
    rows = read(root / "report" / "tables" / "leave_one_out.csv")
    row = rows[(rows["metric"] == "balanced_accuracy") & (rows["model"] == "late_fusion")].iloc[0]
    assert told.metrics["balanced_accuracy"] == pytest.approx(row["full"])
    _, measured = records.read(root / "relevance" / "t" / "leave_one_out.json")
    numbers = next(run.metrics for run in measured if run.key["model"] == "late_fusion")
    drop = numbers[f"drop/{row['modality']}/of balanced_accuracy/{row['replacement']}"]
    assert drop == pytest.approx(row["drop"])


def test_numbers_are_shown_with_a_real_minus_sign_and_without_a_negative_zero():
    assert [number(value) for value in (-0.126, -0.001, float("nan"), None)] == ["−0.13", "0.00", "–", "–"]
    assert number(0.1, 2, True) == "+0.10"
    assert [probability(value) for value in (0.0001, 0.04, float("nan"))] == ["< 0.001", "0.040", "–"]


def test_reading_predictions_takes_no_class_probabilities(tmp_path):
    """A thousand p_ columns would be most of the file."""
    table = predictions(SEEN, CLASSES, groups=4)
    names = [*CLASSES, *map(str, range(50))]
    for name in names:
        table[f"p_{name}"] = np.float32(1 / len(names))
    table["log_probability"] = np.log(1 / len(names))
    table.to_parquet(tmp_path / "m.parquet")
    frame = relevance.read_predictions([tmp_path / "m.parquet"])
    assert not [name for name in frame.columns if name.startswith("p_")]
    start = time.perf_counter()
    assert len(frame) == len(table)
    assert time.perf_counter() - start < 1


def lost_table(*rows):
    return pd.DataFrame(rows, columns=["task", "split", "label", "cause", "stage", "clips"])


def test_a_class_that_lost_more_than_chance_would_take_is_named_with_its_share():
    table = lost_table(
        ("t", "train", "a", "", "", 60),
        ("t", "train", "a", "removed", "clips", 40),
        ("t", "train", "b", "", "", 190),
        ("t", "train", "b", "removed", "clips", 10),
        ("even", "train", "a", "", "", 90),
        ("even", "train", "b", "", "", 90),
        ("even", "test", "a", "removed", "clips", 10),
        ("even", "train", "b", "removed", "clips", 10),
    )
    said = attrition.uneven(table[table["task"] == "t"])
    assert said == ["t: class a lost 40% (40 of 100), the others 5%: what is left is not a fair sample."]
    assert [line for line in attrition.uneven(table[table["task"] == "even"]) if "class" in line] == []


def test_of_few_losses_it_is_said_that_they_can_show_nothing_and_of_many_it_is_not():
    few = lost_table(*[("t", "train", name, "", "", 8) for name in "ab"], ("t", "test", "a", "removed", "clips", 1))
    assert attrition.untold(few[few["split"] == "train"]) == [], "nothing is lost"
    assert attrition.untold(few.assign(split="train")) == [
        "t: whether a class or a split lost more of its clips than chance would take, 1 lost of 17 clips cannot show."
    ]
    many = lost_table(
        *[("t", name, name, cause, "", clips) for name in ("train", "test") for cause, clips in (("", 50), ("x", 10))]
    )
    assert attrition.untold(many) == attrition.uneven(many) == []


def test_losses_by_chance_are_not_called_uneven():
    draw, said = np.random.default_rng(0), 0
    for _ in range(200):
        lost = draw.binomial(50, 0.2, 6)
        rows = [("t", "train", f"c{index}", "removed", "clips", count) for index, count in enumerate(lost)]
        rows += [("t", "train", f"c{index}", "", "", 50 - count) for index, count in enumerate(lost)]
        said += bool(attrition.uneven(lost_table(*rows)))
    assert said <= 20


def test_fishers_test_is_scipys():
    rows = [("a", "", "", 4), ("a", "removed", "clips", 6), ("b", "", "", 18), ("b", "removed", "clips", 2)]
    table = attrition.shares(lost_table(*[("t", "train", *row) for row in rows]), "label")
    assert table.loc["a", "p"] == pytest.approx(2 * fisher_exact([[6, 4], [2, 18]], "greater").pvalue)


def test_causes_are_counted_by_split_and_explained(study, html):
    table = read(study / "report" / "tables" / "lost.csv")
    row = table[(table["task"] == "both") & (table["cause"] == "damaged")].iloc[0]
    assert row[["train", "validation", "test", "all"]].tolist() == [4, 4, 4, 12]
    assert row["share"] == pytest.approx(12 / 624)
    assert "Damaged: it does not decode." in html


def test_page_shows_what_splits_share_and_what_was_lost_since_freezing(tmp_path):
    root = write_study(tmp_path / "s", {"t": models(SEEN)}, CLASSES, groups=4, seeds=2, trained=False)
    html = write_page(root)
    assert "What the splits share" not in html
    assert "Since the list was frozen" not in html
    (root / "duplicates").mkdir()
    (root / "duplicates" / "t.csv").write_text(
        "kind,similarity,clip_id,split,label,other,other_split,other_label\n"
        "identical,1.0,007,train,red,8,test,red\nnear-identical,0.9712,9,train,red,10,test,blue\n"
    )
    (root / "splits" / "t" / "leakage.csv").write_text("group,train,validation,test\ng,1,0,2\n")
    (root / "splits" / "t" / "clips.csv").write_text(
        "clip_id,shard,group,label,split,cause,stage,since\n"
        "1,0,1,red,train,removed,clips,lost\n2,0,2,red,test,,,same\n3,0,3,red,test,,,changed\n"
    )
    html = write_page(root)
    shared = read(root / "report" / "tables" / "shared.csv").iloc[0]
    assert shared.tolist() == ["t", 1, 1, 1]
    assert all(text in html for text in ("0.971", "007", "lost: good then, not to be had now", "another content"))
    assert read(root / "report" / "tables" / "since.csv")["since"].tolist() == ["lost", "changed", "same"]
    assert Page(html).open == []


def compare(root, reference="late_fusion"):
    for folder in sorted((root / "evaluate").iterdir()):
        words = ["--predictions", *sorted(folder.glob("*.parquet")), "--reference", reference, "--bootstrap", "60"]
        words += ["--output", root / "leaderboard" / f"{folder.name}.csv", "--record", root / "leaderboard" / "r.json"]
        cli.call(leaderboard, [str(word) for word in words])
    return root


def cells(html, row):
    """Text of the table row, in the leaderboard, of this model: the first of the table over the tasks, then its own."""
    part = html[html.index('id="leaderboard"') :]
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.S)
    found = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", one)] for one in rows]
    return next(one for one in found if row in one)


def write_trials(root, model, task="seen", scores=(0.9, 0.4), **more):
    count = len(scores)
    chosen = [score == min(scores) for score in scores]
    table = {"trial": range(count), "chosen": chosen, "status": "ok", "validation_calibrated_loss": scores}
    table |= {"training.learning_rate": [0.001, 0.0123456][:count], **more}
    path = root / "search" / task / model / "trials.csv"
    path.parent.mkdir(parents=True)
    pd.DataFrame(table).to_csv(path, index=False)


def test_leaderboard_ranks_the_models_and_calls_a_tie_a_tie(tmp_path):
    tasks = {"seen": models(SEEN), "both": models(SYNERGY)}
    root = compare(write_study(tmp_path / "s", tasks, CLASSES, groups=30, seeds=3, trained=False))
    html = write_page(root)
    page = Page(html)
    assert page.open == []
    assert "leaderboard" in page.ids
    table = read(root / "report" / "tables" / "leaderboard.csv")
    seen = table[table["task"] == "seen"].set_index("model")["verdict"]
    assert seen.to_dict() == {"late_fusion": "reference", "video_only": "not distinguishable", "audio_only": "worse"}
    ranks = read(root / "report" / "tables" / "ranks.csv").set_index("model")
    assert ranks.loc["late_fusion", "mean_rank"] == 1.25  # shared with video_only where only the picture tells
    accuracy = table.set_index(["task", "model"])["accuracy"]
    over_tasks = cells(html, "video_only")
    assert over_tasks[1] == number(ranks.loc["video_only", "mean_rank"], 1)
    assert over_tasks[2].split() == [number(100 * accuracy["seen", "video_only"], 1), "="]
    assert over_tasks[3].split()[1] == "▼"
    best = number(100 * accuracy["both", "late_fusion"], 1)
    assert f"<strong>{best}</strong>" in html
    assert "compared with late_fusion, on the same test clips and the same 3 seeds" in html
    assert "by Holm&#39;s method for the 4 comparisons of all 2 tasks" in html
    assert "There was no search" in html
    assert "no such test is ever below" not in html
    assert (root / "report" / "figures" / "seen-leaderboard.svg").exists()


def test_a_leaderboard_of_fewer_than_six_groups_says_that_no_test_tells_models_apart(tmp_path):
    root = write_study(tmp_path / "s", {"seen": models(SEEN)}, CLASSES, groups=4, clips=9, seeds=3, trained=False)
    html = write_page(compare(root))
    assert "With 4 test groups no such test is ever below 0.05" in html


def test_a_joint_model_worse_than_one_modality_is_said_with_its_paired_difference(tmp_path):
    worse = {"": 0.33, "audio": 0.5, "video": 0.33, "audio,video": 0.5}
    root = compare(
        measure(write_study(tmp_path / "s", {"t": models(worse, audio=0.9)}, CLASSES, groups=40, trained=False))
    )
    (note,) = find(Study(root, yaml.safe_load((root / "config.yaml").read_text())), "t").notes
    found = re.fullmatch(
        r"The joint model is worse than one of audio alone: accuracy (.*) against (.*), (\d+) points of accuracy "
        r"lower, interval (\d+) to (\d+)\.",
        note,
    )
    assert found, note
    full, alone, points, low, high = map(float, found.groups())
    assert points == pytest.approx(100 * (alone - full), abs=1.5)
    assert 0 < low < points < high


def test_predictions_of_any_model_have_a_page_by_the_command_line(tmp_path, capsys):
    table = predictions(SEEN, CLASSES, groups=60, seeds=5)
    table.to_parquet(tmp_path / "mine.parquet")
    page = tmp_path / "mine.html"
    words = ["--predictions", f"mood={tmp_path / 'mine.parquet'}", "--output", page, "--bootstrap", "100"]
    cli.call(report, [str(word) for word in words])
    assert capsys.readouterr().out == f"report: {page}\n"
    html = page.read_text(encoding="utf-8")
    assert "mood – video dominates" in html
    assert "Clips lost" not in html
    with pytest.raises(UserError, match="expected --predictions, or --study"):
        cli.call(report, [])
    with pytest.raises(UserError, match="not found: nowhere"):
        cli.call(report, ["--predictions", "nowhere.parquet", "--output", str(page)])


def test_leaderboard_says_how_much_was_searched_and_what_was_chosen(tmp_path):
    root = compare(write_study(tmp_path / "s", {"seen": models(SEEN)}, CLASSES, groups=20, seeds=2, trained=False))
    edit(root, search={"budget": 2, "seeds": [100, 101]})
    write_trials(root, "late_fusion", **{"balancing.alpha": [0.3, 0.25]})
    write_trials(root, "video_only", scores=(0.2, 0.4))
    html = write_page(root)
    assert "the best of 2 trials, the config&#39;s own first" in html
    assert "trained from seed 100, 101" in html
    assert "Not searched: audio_only." in html
    assert "training.learning_rate 0.0123, balancing.alpha 0.25" in html
    table = comparison.trials(Study(root, yaml.safe_load((root / "config.yaml").read_text())))
    chosen = {row["model"]: row for row in comparison.choices(table)}
    assert [chosen["video_only"][key] for key in ("own", "best", "changed")] == [0.2, 0.2, False]
    assert [chosen["late_fusion"][key] for key in ("own", "best", "changed")] == [0.9, 0.4, True]
    # What an earlier search left is not of this study.
    edit(root, search={"budget": 0, "seeds": [100, 101]})
    assert "There was no search" in write_page(root)


def test_no_leaderboard_where_there_is_one_model_or_no_table(tmp_path, html):
    assert 'id="leaderboard"' not in html
    root = write_study(tmp_path / "s", {"t": {"late_fusion": SEEN}}, CLASSES, groups=4, seeds=2, trained=False)
    html = write_page(compare(root))
    assert 'id="leaderboard"' not in html
    assert not (root / "report" / "tables" / "leaderboard.csv").exists()


def test_leaderboard_of_one_seed_one_group_and_hostile_names_is_still_a_page(tmp_path):
    made = {"<b>x": SEEN, "late_fusion": SEEN}
    root = write_study(tmp_path / "s", {"a & b": made}, CLASSES, groups=1, seeds=1, lost=0, trained=False)
    html = write_page(compare(root))
    assert Page(html).open == []
    assert "&lt;b&gt;x" in html
    assert "untested" in html
    assert "With one seed the luck of a training is not told" in html


def test_names_that_look_the_same_when_cut_are_rows_of_their_own():
    models = [f"late_fusion-cross_attention-{name}" for name in ("ogm_ge", "agm")]
    rows = [
        {"model": model, "notion": "used", "replacement": "mean@fusion", "value_function": "accuracy",
         "modality": modality, "value": 0.1, "low": 0.0, "high": 0.2}
        for model in models for modality in ("audio", "video")
    ]  # fmt: skip
    spec = charts.shapley(pd.DataFrame(rows), models, {}).to_dict()
    assert spec["params"][0]["bind"]["options"] == models


def test_a_figure_shows_all_models_or_the_answers_and_the_best_of_the_others():
    many = [f"model{number}" for number in range(30)]
    board = pd.DataFrame({"model": many[::-1]})
    assert drawings.drawn(many[:5], "model3", board) == ["model3", "model0", "model1", "model2", "model4"]
    shown = drawings.drawn(many, "model3", board)
    assert shown == ["model3", *many[-11:]]


def test_no_page_holds_a_password_of_the_config(study):
    text = (study / "config.yaml").read_text()
    try:
        edit(study, download={"proxy": "http://ann:s3cret@proxy"}, dataset={"csv": "https://host/x.csv?token=s3cret"})
        write_page(study)
        for path in (study / "report").rglob("*"):
            assert path.is_dir() or b"s3cret" not in path.read_bytes(), path.name
        assert "http://***@proxy" in (study / "report" / "index.html").read_text()
    finally:
        (study / "config.yaml").write_text(text)


def test_a_page_in_a_process_that_was_forked_after_another_is_refused_and_does_not_hang():
    """Threads that draw are not in a child."""
    child = (
        "import os, sys, altair as alt\n"
        "from modalens.reporting.rendering import render\n"
        "chart = alt.Chart(alt.Data(values=[{'x': 1}])).mark_point().encode(x='x:Q')\n"
        "render('a', chart, 'a').svg\n"
        "if not os.fork():\n"
        "    try:\n"
        "        render('b', chart, 'b').svg\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    said = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.startswith("UserError a page cannot be drawn in a process that was forked")

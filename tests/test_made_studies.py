"""Four made studies, each built to its page: what the page says of them, and what it must not say."""

import re

import pandas as pd
import pytest
from synthetic import predictions, write_study
from test_report import CLASSES, SHARED, compare, edit, measure, models, write_page

import modalens
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow

FORBIDDEN = re.compile(r"share −|share \d{3} %")  # of a whole, that is


def said(html):
    """Lead, sentences and numbers of the one task, and the caveats, as a reader sees them."""
    screen = html[html.index('id="answer"') : html.index('id="task-1"')]
    found, caveats = (
        re.search(r"<h3>(.*?)<p class=\"soft\"><strong>", screen, re.DOTALL)[1],
        screen[screen.index("caveats") :],
    )
    answer = f"{found} {caveats}"
    return " ".join(re.sub(r"<[^>]+>", " ", answer).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    def made(accuracies, audio=None, video=None, **sizes):
        root = tmp_path_factory.mktemp("made") / "study"
        write_study(root, {"task": models(accuracies, audio, video)}, CLASSES, lost=0, **sizes)
        return write_page(compare(measure(root)))

    return made


def test_a_joint_model_that_is_worse_than_one_modality_is_said_to_be_with_the_difference(made):
    joint = {"": 0.33, "audio": 0.45, "video": 0.36, "audio,video": 0.5}
    html = made(joint, audio=0.8, groups=100)
    found = re.search(
        r"The joint model is worse than one of audio alone: accuracy (0\.\d\d) against (0\.\d\d), "
        r"(\d+) points of accuracy lower, interval (\d+) to (\d+)\.",
        said(html),
    )
    worse, better, points, low, high = map(float, found.groups())
    assert points == pytest.approx(100 * (better - worse), abs=1)
    assert low < 30 < high
    assert not FORBIDDEN.search(html)


def test_a_joint_model_that_has_learned_nothing_beside_an_expert_has_no_shares(made):
    html = made(dict.fromkeys(("", "audio", "video", "audio,video"), 0.33), audio=0.8, groups=100)
    assert "The joint model is worse than one of audio alone" in said(html)
    assert not re.search(r"(?<!no )share \d", said(html))
    assert said(html).count("no share") == 4
    assert "No shares are given: it is not shown that late_fusion has learned enough to be divided." in html


def test_a_tie_names_neither_modality_and_no_difference_between_models(made):
    tie = {"": 0.33, "audio": 0.7, "video": 0.7, "audio,video": 0.9}
    html = made(tie, groups=100)
    (lead,) = re.findall(r"task</a> – ([^<]+)</h3>", html)
    assert lead.startswith("both count")
    assert not re.search("dominates|not needed|better without", said(html))
    shares = [int(text) for text in re.findall(r"share (\d+) %", said(html))]
    assert len(shares) == 4
    assert all(abs(share - 50) <= 8 for share in shares)
    assert html.count("not distinguishable") >= 1


def test_of_twelve_clips_no_absence_is_claimed_and_the_smallest_drop_is_named(made):
    html = made({"": 0.33, "audio": 0.4, "video": 0.8, "audio,video": 0.85}, groups=12, clips=1)
    text = said(html)
    assert not re.search("dominates|not needed|suffices|nothing learned|additive|redundant:", text)
    assert re.search(r"the smallest drop that this test could show: \d+ points", text)
    assert "Tested on 12 clips of 12 groups, trained from 5 seeds." in text
    assert "Only 12 test groups in the smallest task: the intervals are rough." in text


def test_three_modalities_are_each_named_once_with_their_part(tmp_path):
    three = {"": 0.2, "audio": 0.2, "text": 0.5, "video": 0.6, "audio,text": 0.5, "audio,video": 0.6}
    three |= {"text,video": 0.9, "audio,text,video": 0.9}
    table = predictions(three, CLASSES, groups=150).assign(model="joint")
    page = modalens.report(table, tmp_path / "report.html", bootstrap=200)
    text = said(page.read_text(encoding="utf-8"))
    assert "task – text and video count; audio is not needed" in text
    assert re.search(r"without audio it is 0\.\d\d, a drop of at most \d\.?\d? points?", text)
    shares = {int(one) for one in re.findall(r"share (−?\d+) %", text)}
    assert len(shares) == 3


def test_of_one_seed_no_pattern_is_called_synergistic_or_redundant(made):
    for accuracies in (
        {"": 0.33, "audio": 0.33, "video": 0.33, "audio,video": 0.9},
        {"": 0.33, "audio": 0.9, "video": 0.9, "audio,video": 0.9},
    ):
        text = said(made(accuracies, groups=100, seeds=1))
        leads = re.search(r"task – (.*?) (With|Without)", text)[1]
        assert not re.search("synergistic|redundant|additive", leads), leads
        assert "Only 1 seed: all that is said is of this one model" in text


def test_published_numbers_stand_beside_a_study_of_the_same_data_set_and_task_and_no_other(tmp_path):
    for dataset, task in (("audioset", "urban_rural"), ("known_answer", "urban_rural"), ("audioset", "mine")):
        tasks = {task: models(SHARED) | {"distillation": SHARED}}
        root = write_study(tmp_path / f"{dataset}_{task}", tasks, CLASSES, groups=20, seeds=2)
        edit(root, dataset={"name": dataset}, report={"title": "t", "model": "distillation"})
        html = write_page(measure(root))
        found = root / "report" / "tables" / "published.csv"
        if (dataset, task) != ("audioset", "urban_rural"):
            assert not found.exists()
            assert "Geraghty et al. 2023, Table 1" not in html
            continue
        table = pd.read_csv(found)
        accuracy = table[(table["metric"] == "Acc.") & (table["row"] == "Audio Model")].iloc[0]
        assert accuracy["published"] == 61.62, "Table 1 of the paper"
        results = pd.read_csv(root / "report" / "tables" / "results.csv")
        ours = results[(results["row"] == "Audio Model") & (results["metric"] == "accuracy")].iloc[0]["mean"]
        assert accuracy["ours"] == pytest.approx(ours)
        assert accuracy["difference"] == pytest.approx(ours - 61.62)
        assert "Geraghty et al. 2023, Table 1" in html
        assert "61.6" in html


@pytest.mark.parametrize("damage", ["garbage", "task,value\ntask,1\n"])
def test_a_damaged_table_of_a_measure_is_no_finding(tmp_path, damage):
    write_study(
        tmp_path / "study", {"task": models(dict.fromkeys(("", "audio", "video", "audio,video"), 0.5))}, CLASSES, lost=0
    )
    root = compare(measure(tmp_path / "study"))
    (tmp_path / "study" / "relevance" / "task" / "leave_one_out.csv").write_text(damage)
    with pytest.raises(UserError, match=r"leave_one_out.csv is not what the study wrote"):
        write_page(root)

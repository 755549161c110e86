"""`make calibration`: it counts what a table of predictions gives, its truth is right, and a small part of it holds."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modalens.measures.coalition_values import CoalitionValues
from modalens.measures.interaction import Interaction
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.stats.coalitions import to_text
from modalens.stats.information import bayes_accuracy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from calibration import run
from calibration_claims import Facts, false_parts, kind
from calibration_sampling import REPLACEMENT, REPLICATES, cells_of, draw, truth
from calibration_settings import WORLDS, Setting, settings

VALUES = {(): 0.33, ("audio",): 0.34, ("video",): 0.9, ("audio", "video"): 0.9}


def as_table(test, cells):
    """The predictions of the joint model, a row a clip, seed and coalition."""
    frames = []
    groups = np.repeat(np.arange(test.bootstrap.groups), test.clips // test.bootstrap.groups)
    share = np.bincount(cells.label, cells.chance)
    for kept, counts in test.joint.counts.items():
        matrix = counts.matrix.toarray().reshape(counts.seeds, -1, len(cells.label))
        named = matrix[:, :-1].reshape(counts.seeds, cells.classes, cells.classes, -1).sum(1).argmax(1)
        for seed in range(counts.seeds):
            frame = pd.DataFrame({"clip_id": np.arange(test.clips).astype(str), "group": groups, "seed": seed})
            frame["label"], frame["predicted"] = cells.label[test.cell], named[seed, test.cell]
            frame["log_probability"] = matrix[seed, -1, test.cell]
            frame["prior_predicted"] = share.argmax()
            frame["prior_log_probability"] = np.log(share)[frame["label"]]
            whole = kept == test.joint.modalities
            frames.append(
                frame.assign(coalition=to_text(kept), replacement="" if whole else REPLACEMENT, model="joint")
            )
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("world", ["mostly video", "two of three"])
def test_what_is_counted_by_cells_is_what_a_table_of_predictions_gives(world):
    setting = Setting(world, 60, 5, 3)
    test, cells = draw(setting, np.random.default_rng(3)), cells_of(world)
    table = as_table(test, cells)
    for measure in (LeaveOneOut, CoalitionValues, Interaction, Shapley):
        made = measure(bootstrap=REPLICATES)
        pd.testing.assert_frame_equal(made.of([test.joint]), made(table), atol=1e-9)


def test_there_are_sixty_settings_and_more_of_every_size():
    every = settings()
    assert len(every) >= 60
    assert len({setting.name for setting in every}) == len(every)
    assert {len(WORLDS[setting.world].joint.modalities) for setting in every} == {2, 3}


def test_the_truth_of_models_without_noise_is_bayes():
    for world in ("either", "both", "80:20", "three"):
        known = {to_text(kept): value for kept, value in truth(world, 0.0, 50).reached["accuracy"].items()}
        assert known == pytest.approx(bayes_accuracy(WORLDS[world].joint), abs=1e-6), world


@pytest.mark.parametrize(
    ("lead", "false"),
    [
        ("video dominates", []),
        ("video counts; cannot tell about audio", []),
        ("video counts; audio is not needed", []),
        ("audio dominates", ["audio dominates"]),
        ("both count; additive", ["both count"]),
        ("redundant: any one modality suffices", ["redundant: any one modality suffices"]),
        ("synergistic: only together do they tell", ["synergistic: only together do they tell"]),
        ("video counts in this model, yet video alone reaches 0.90", []),
        (
            "both count in this model, yet video alone reaches 0.90",
            ["both count in this model, yet video alone reaches 0.90"],
        ),
        (
            "video counts in this model, yet audio alone reaches 0.34",
            ["video counts in this model, yet audio alone reaches 0.34"],
        ),
        ("nothing learned", ["nothing learned"]),
        ("better without audio", []),
        ("better without video", ["better without video"]),
    ],
)
def test_a_false_sentence_is_found(lead, false):
    facts = Facts(
        VALUES | {("audio", "video"): 0.89} if "better" in lead else VALUES, 0.33, {"audio": 0.34, "video": 0.9}
    )
    assert false_parts(lead, "", (), facts) == false


def test_a_false_bound_and_a_false_note_are_found():
    facts = Facts(VALUES | {("audio",): 0.33}, 0.33, {"audio": 0.33, "video": 0.9})
    text = (
        "without audio accuracy is 0.9, a drop of at most 2 points, without video it is 0.8, a drop of at most 9 points"
    )
    notes = ("It does not need audio, although audio alone reaches 0.40.",)
    assert false_parts("cannot tell", text, notes, facts) == ["a drop of at most", "It does not need audio"]
    known = Facts(VALUES, 0.33, {"audio": 0.34, "video": 0.9})
    for loses, false in (
        ("It loses without video, although audio alone reaches 0.34.", []),
        ("It loses without audio, although video alone reaches 0.90.", ["It loses without audio"]),
    ):
        assert false_parts("cannot tell", "", (loses,), known) == false
    worse = (
        "The joint model is worse than one of video alone: accuracy 0.80 against 0.90, and their intervals differ.",
    )
    assert false_parts("cannot tell", "", worse, Facts(VALUES | {("audio", "video"): 0.8}, 0.33, facts.experts)) == []
    assert false_parts("cannot tell", "", worse, facts) != []
    assert false_parts("cannot tell", "", (worse[0].replace("video", "audio"),), facts) != []
    assert kind("audio and video count", ("audio", "video")) == "X and X count"
    alone = kind("both count in this model, yet video alone reaches 0.90", ("audio", "video"))
    assert alone == "both count in this model, yet X alone reaches N"


def test_the_calibration_asks_the_library_as_it_is():
    _, _, sentences = run(Setting("either", 60, 2, 3), 2)
    assert sentences[0]["sentence"] == "any"
    assert sum(row["said"] for row in sentences[1:]) >= 1


@pytest.mark.slow
def test_a_small_part_of_the_calibration_holds():
    """Of 30 test sets a true coverage of .95 gives fewer than 24 once in ten thousand."""
    for setting in (Setting("either", 60, 1, 3), Setting("none", 60, 5, 3)):
        intervals, tests, sentences = run(setting, 30)
        both = [row for row in intervals if row["over"] == "both" and not row["metric"].startswith("share")]
        assert len(both) >= 10
        assert min(row["coverage"] for row in both) >= 24 / 30
        assert max(row["found"] for row in tests if not row["there"]) <= 0.2
        assert sentences[0]["sentence"] == "any"
        assert sentences[0]["false"] <= 0.2

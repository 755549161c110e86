from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from modalens.reporting.caveats import disagreement, rare_class, trained_otherwise, untrained
from modalens.reporting.model_scores import ModelScores
from modalens.tracking import records


def study(*rows):
    columns = ["model", "replacement", "modality", "drop", "low", "high"]
    drops = pd.DataFrame(rows, columns=columns).assign(task="seen", metric="accuracy")
    return SimpleNamespace(
        scores={"seen": {}}, headline=lambda _: "late_fusion", measure=lambda _: drops, metric=lambda _: "accuracy"
    )


def test_stand_ins_that_contradict_each_other_are_named_with_their_numbers():
    text = disagreement(
        study(
            ("late_fusion", "blank@input", "audio", 0.61, 0.50, 0.70),
            ("late_fusion", "mean@fusion", "audio", 0.00, -0.01, 0.01),
            ("other", "zero@fusion", "audio", 0.99, 0.98, 1.00),
        )
    )
    assert "on seen, without audio" in text
    assert "0.61 under blank@input" in text
    assert "0.00 under mean@fusion" in text


def test_stand_ins_whose_intervals_overlap_or_that_differ_little_are_not_called_contradictory():
    wide = study(
        ("late_fusion", "blank@input", "audio", 0.6, 0.0, 1.0),
        ("late_fusion", "mean@fusion", "audio", 0.1, 0.0, 0.2),
    )
    close = study(
        ("late_fusion", "blank@input", "audio", 0.15, 0.12, 0.18),
        ("late_fusion", "mean@fusion", "audio", 0.0, -0.01, 0.01),
    )
    assert disagreement(wide) == disagreement(close) == ""


def test_a_class_of_few_test_clips_is_counted_where_the_answer_is_in_balanced_accuracy():
    def said(common, rare):
        confusion = {("", "audio"): np.array([np.diag([common, rare, 0.0])])}  # a third class was only named
        scored = ModelScores(("audio",), ["no", "yes", "maybe"], 100, 100, 0.9, confusion, 1)
        return rare_class(SimpleNamespace(scores={"ill": {"m": scored}}, headline=lambda _: "m"), "ill")

    assert said(93, 7) == (
        "ill: the class 'yes' has 7 test clips and makes 50 % of the balanced accuracy: its intervals are rough, "
        "mostly too narrow."
    )
    assert said(930, 70) == ""
    assert said(12, 10) == "", "told in accuracy"


def test_an_encoder_that_was_not_trained_is_named_once_with_all_that_it_reads():
    entries = {name: {"encoder": "depth_video"} for name in ("figure", "depth")} | {"sound": {"encoder": "log_mel"}}
    weights = {"depth": "c3d untrained 0", "figure": "c3d untrained 0", "sound": "log_mel"}
    told = "The encoder depth_video was not trained: depth and figure may tell more with trained weights."
    assert untrained(entries, weights) == [told]


@pytest.mark.parametrize(("epochs", "models"), [(4, ""), (5, "late_fusion was"), (None, "")])
def test_a_page_that_was_written_before_a_model_was_trained_anew_says_so(tmp_path, epochs, models):
    run = records.Run({"task": "mood", "model": "late_fusion", "seed": 0}, {"training.epochs": 4}, {})
    records.write(tmp_path / "train/mood/late_fusion/record.json", "train", [run])
    config = {"models": {"late_fusion": {"training": {"epochs": epochs} if epochs else {}}, "audio_only": {}}}
    study = SimpleNamespace(root=tmp_path, config=config, tasks=["mood"], models=["late_fusion", "audio_only"])
    told = trained_otherwise(study)
    assert told == (
        models and f"{models} trained with other settings than the config has now: call snakemake once more."
    )


@pytest.mark.parametrize("content", ['{"stage": "train", "runs": []}', '{"stage": "tr', "{}"])
def test_of_a_record_that_is_damaged_nothing_is_said(tmp_path, content):
    path = tmp_path / "train/mood/late_fusion/record.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    config = {"models": {"late_fusion": {"training": {"epochs": 5}}}}
    study = SimpleNamespace(root=tmp_path, config=config, tasks=["mood"], models=["late_fusion"])
    assert trained_otherwise(study) == ""

import re
from dataclasses import asdict
from pathlib import Path

import jsonschema
import pytest

from modalens.config import resolve
from modalens.config.resolved import fusions, left_out
from modalens.config.rules import schema
from modalens.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
SMALLEST = {"name": "x", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}


def test_schema_is_itself_valid():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", sorted((ROOT / "config").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_in_the_repository_resolves(path, monkeypatch):
    # As where `make weights` has run; the configs name its folder.
    monkeypatch.setattr("modalens.config.modalities.Path.exists", lambda _: True)
    # And where the studies' own features lie.
    monkeypatch.setattr("modalens.media.own_features.shape_of", lambda _: (6,))
    resolved = resolve.resolve(resolve.load(path))
    assert resolved["report"]["model"] in resolved["models"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"results": "-rf"}, "config: results: expected a path without braces"),
        ({"splits": {"seed": -1}}, "config: splits.seed: -1 is less than the minimum of 0"),
        ({"trainig": {}}, "config: unknown key 'trainig'; did you mean 'training'?"),
        ({"training": {"epochs": "ten"}}, 'config: training.epochs: expected an integer, got "ten"'),
        ({"seeds": []}, "config: seeds: "),
        ({"dataset": {"name": "foldr"}}, "config: dataset: no dataset 'foldr'; did you mean 'folder'?"),
        (
            {"dataset": {"name": "known_answer", "clps": 3}},
            "config: dataset: unknown option 'clps'; did you mean 'clips'",
        ),
        ({"dataset": {"name": "known_answer", "clips": "3"}}, 'config: dataset.clips: expected int, got "3"'),
        (
            {"dataset": {"name": "grid", "root": ".", "talkers": "s1"}},
            'config: dataset.talkers: expected list, got "s1"',
        ),
        (
            {"models": {"late_fusoin": {}}},
            "config: models.late_fusoin: no model 'late_fusoin'; did you mean 'late_fusion'",
        ),
        (
            {"models": {"late_fusion": {"options": {"fusion": "gatd"}}}},
            "config: models.late_fusion.fusion: no fusion 'gatd'; did you mean 'gated'?",
        ),
        (
            {"models": {"late_fusion": {"options": {"fusion": "vote"}}}},
            "config: models.late_fusion.fusion: expected one of add, average, concat, ",
        ),
        (
            {"models": {"late_fusion": {"options": {"fusion": "lmf", "fusion_options": {"rnk": 3}}}}},
            "config: models.late_fusion.fusion_options: unknown option 'rnk'; did you mean 'rank'?",
        ),
        (
            {"models": {"late_fusion": {"balancing": {"ogm": {}}}}},
            "config: models.late_fusion.balancing: no balancing 'ogm'; did you mean 'ogm_ge'?",
        ),
        (
            {"models": {"late_fusion": {"balancing": {"agm": {"alpha": "1"}}}}},
            'config: models.late_fusion.balancing.alpha: expected float, got "1"',
        ),
        (
            {"models": {"late_fusion": {"balancing": {"agm": {}, "ogm_ge": {}}}}},
            "config: models.late_fusion.balancing: ",
        ),
        (
            {"models": {"late_fusion": {"balancing": {"agm": None}}}},
            "config: models.late_fusion.balancing.agm: expected a mapping, got null",
        ),
        (
            {"models": {"audio_only": {"balancing": {"agm": {}}}}},
            "config: models.audio_only.balancing: the model looks at audio alone: nothing to balance",
        ),
        (
            {"modalities": {"audio": "log_mel"}, "models": {"late_fusion": {"balancing": {"agm": {}}}}},
            "config: models.late_fusion.balancing: the model looks at audio alone",
        ),
        (
            {"search": {"space": {"learning_rate": [1]}}},
            "config: search.space: expected options.NAME, training.NAME or balancing.NAME",
        ),
        ({"search": {"space": {"training.lr": [1]}}}, "config: search.space: audio_only has no 'training.lr'; known: "),
        (
            {"search": {"space": {"options.dropuot": [0, 0.5]}}, "models": {"late_fusion": {}}},
            "config: search.space: late_fusion has no 'options.dropuot'; did you mean 'dropout'?",
        ),
        (
            {"models": {"late_fusion": {"search": {"balancing.alpha": [0.1]}}}},
            "config: models.late_fusion.search: late_fusion has no 'balancing.alpha'; known: none",
        ),
        (
            {"search": {"space": {"training.batch_size": 3}}},
            "config: search.space.training.batch_size: expected a list or a mapping, got 3",
        ),
        ({"search": {"space": {"training.batch_size": []}}}, "config: search.space.training.batch_size: "),
        (
            {"search": {"space": {"training.learning_rate": {"low": 1}}}},
            "config: search.space.training.learning_rate: the key 'high' is missing",
        ),
        (
            {"search": {"space": {"training.weight_decay": {"low": 0, "high": 1, "log": True}}}},
            "config: search.space.training.weight_decay: low must be less than high",
        ),
        ({"search": {"budget": 2, "seeds": [3, 200]}}, "config: search.seeds: 3 is one of the study's seeds"),
        ({"models": {"distillation": {"teachers": ["audio_only"]}}}, "config: models.distillation.teachers: no model"),
        ({"modalities": {"audio": "log_mell"}}, "config: modalities.audio: no encoder 'log_mell'"),
        ({"splits": {"train": 0.9}}, "config: splits: train, validation and test must add up to 1"),
        (
            {"modalities": {"smell": "log_mel"}},
            "config: modalities.smell: no modality 'smell'; known: audio, depth",
        ),
        (
            {"modalities": {"audio": "resnet50"}},
            "config: modalities.audio: the encoder resnet50 reads frames, but audio",
        ),
        (
            {"modalities": {"audio": {"encoder": "log_mel", "decode": {"sample_rate": 8000}}}},
            "config: modalities.audio.decode.sample_rate: log_mel expects 16000, got 8000",
        ),
        (
            {"modalities": {"video": {"encoder": "frame_network", "options": {"weights": "mine.pth"}}}},
            "config: modalities.video.options.weights: not found: mine.pth",
        ),
        (
            {"modalities": {"ear": {"kind": "audio", "encoder": "log_mel", "column": "x"}}},
            "config: modalities.ear.column",
        ),
        (
            {"modalities": {"audio": {"encoder": "log_mel", "decode": {"second": 3}}}},
            "config: modalities.audio.decode: unkn",
        ),
        (
            {"modalities": {"video": {"encoder": "resnet50", "decode": {"crop": 300}}}},
            "config: modalities.video.decode: video: crop (300) must",
        ),
        (
            {"models": {"late_fusion": {"modalities": ["text"]}}},
            "config: models.late_fusion.modalities: no modality 'tex",
        ),
        ({"models": {"vidoe_only": {}}}, "config: models.vidoe_only: no modality 'vidoe'; did you mean 'video_only'?"),
        (
            {"report": {"model": "late-fusion"}},
            "config: report.model: no model 'late-fusion' in this study; did you mean",
        ),
        (
            {"report": {"replacement": "mean_fusion"}},
            "config: report.replacement: no replacement 'mean_fusion' in this",
        ),
        ({"plugins": ["nowhere.py"]}, "config: plugins: not found: "),
        ({"name": "../x"}, "config: name: "),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what(change, line):
    with pytest.raises(UserError) as caught:
        resolve.resolve({**SMALLEST, **change})
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_defaults_are_filled_in_and_a_model_inherits_the_training_options():
    resolved = resolve.resolve(
        {**SMALLEST, "training": {"epochs": 3}, "models": {"audio_only": {"training": {"patience": 2}}}}
    )
    assert resolved["models"]["audio_only"]["training"] == {**resolved["training"], "patience": 2}
    assert resolved["training"]["epochs"] == 3
    assert resolved["models"]["audio_only"]["model"] == "late_fusion"
    assert resolved["models"]["audio_only"]["modalities"] == ["audio"]
    assert list(resolved["models"]) == ["audio_only"], "the default models must not be mixed in"
    assert resolved["modalities"]["audio"]["decode"]["sample_rate"] == 16000
    assert resolve.resolve(resolved) == resolved, "what is written out is a config itself"


@pytest.mark.parametrize(
    ("given", "model"),
    [({}, "late_fusion"), ({"model": "logistic"}, "logistic"), ({"modalities": ["audio"]}, "late_fusion")],
)
def test_a_model_named_after_its_only_modality_has_that_modality(given, model):
    found = resolve.resolve({**SMALLEST, "models": {"audio_only": given}})["models"]["audio_only"]
    assert (found["model"], found["modalities"]) == (model, ["audio"])


def test_the_fusion_of_a_model_is_found_named_or_by_default():
    models = {"late_fusion": {}, "audio_only": {"options": {"fusion": "lmf"}}, "decision_fusion": {}}
    resolved = resolve.resolve({**SMALLEST, "models": models})["models"]
    found = {name: fusions(model) for name, model in resolved.items()}
    assert found == {
        "late_fusion": {"fusion": "concat"},
        "audio_only": {"fusion": "lmf"},
        "decision_fusion": {"rule": "average"},
    }


def test_a_search_has_its_defaults_and_a_model_ranges_of_its_own():
    own = {"options.fusion_options.width": [64, 256], "balancing.alpha": {"low": 0.1, "high": 1}}
    models = {"late_fusion": {"balancing": {"ogm_ge": {}}, "search": own}, "audio_only": {}}
    resolved = resolve.resolve({**SMALLEST, "models": models})
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    assert resolved["search"] == {"budget": 0, "seeds": [100], "seed": 0, "space": space}
    assert resolved["models"]["late_fusion"]["search"]["balancing.alpha"] == {"low": 0.1, "high": 1, "log": False}
    assert resolved["models"]["audio_only"]["search"] == resolved["models"]["audio_only"]["balancing"] == {}


def test_a_teacher_may_have_a_balancing():
    models = {"late_fusion": {"balancing": {"agm": {}}}, "distillation": {"teachers": ["late_fusion"]}}
    assert resolve.resolve({**SMALLEST, "models": models})["models"]["distillation"]["teachers"] == ["late_fusion"]


def test_a_models_missing_clips_differ_from_the_studys_where_it_says_so():
    models = {"late_fusion": {}, "other": {"model": "late_fusion", "missing": {"shares": {"video": 0.5}}}}
    resolved = resolve.resolve({**SMALLEST, "missing": {"shares": {"audio": 0.2}, "seed": 3}, "models": models})
    shared = {"replacement": "mean@input", "seed": 3}
    assert resolved["models"]["late_fusion"]["missing"] == {"shares": {"audio": 0.2}, **shared}
    assert resolved["models"]["other"]["missing"] == {"shares": {"video": 0.5}, **shared}


def test_a_grid_varies_how_many_clips_lack_a_modality():
    grid = {"late_fusion": {"grid": {"missing.shares.audio": [0, 0.5]}}}
    models = resolve.resolve({**SMALLEST, "models": grid})["models"]
    assert {name: model["missing"]["shares"] for name, model in models.items()} == {
        "late_fusion-0": {"audio": 0},
        "late_fusion-0.5": {"audio": 0.5},
    }


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"shares": {"sound": 0.1}}, "no modality 'sound'"),
        ({"shares": {"audio": 0.6, "video": 0.5}}, "expected 1 at most together, as no clip lacks two, got 1.1"),
        ({"shares": {"audio": 1.5}}, "1.5 is greater than the maximum"),
        ({"replacement": "mean@fusion"}, "expected one of mean@input, shuffle@input"),
    ],
)
def test_clips_that_cannot_be_missing_are_refused(missing, said):
    with pytest.raises(UserError, match=said):
        resolve.resolve({**SMALLEST, "missing": missing})


def test_training_defaults_are_those_of_the_training_loop():
    loop = pytest.importorskip("modalens.training.loop")
    assert resolve.resolve(SMALLEST)["training"] == asdict(loop.TrainingOptions())


def test_config_readme_has_one_row_for_each_key_with_its_default():
    rows = dict(re.findall(r"^\| `([^`]+)` \|(.+)$", (ROOT / "config" / "README.md").read_text(), flags=re.M))
    rules = schema()
    for name, node in rules["properties"].items():
        if name in rules["$defs"]:
            node = {**rules["$defs"][name], "description": node["description"]}
        assert node["description"] in rows[name]
        for key, child in node.get("properties", {}).items():
            assert child["description"] in rows[f"{name}.{key}"], f"{name}.{key}"


def test_environments_pin_what_the_lock_pins():
    lock = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text(), flags=re.M))
    files = sorted((ROOT / "envs").glob("*.yaml"))
    assert files
    for path in files:
        pins = re.findall(r"- '?([\w-]+)==([\w.]+)", path.read_text())
        assert pins, path.name
        for name, version in pins:
            assert lock[name] == version, f"{path.name}: {name}"


def test_every_pin_of_the_lock_has_hashes_so_that_no_other_file_of_its_version_is_installed():
    pins = re.split(r"^(?=\S)", (ROOT / "requirements.lock").read_text(), flags=re.M)[1:]
    assert len(pins) > 100
    for pin in pins:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", pin), pin.split()[0]


def test_only_a_default_of_the_report_falls_back_to_what_the_study_has():
    resolved = resolve.resolve({**SMALLEST, "models": {"audio_only": {}, "logistic": {}}})
    assert resolved["report"]["model"] == "audio_only"
    assert resolve.resolve(resolved) == resolved


VIDEO = {"encoder": "resnet50", "options": {"weights": "untrained"}, "keep": True}


def through(how: object = "frozen", video: object = VIDEO, **more: object) -> dict[str, object]:
    training = {"encoders": {"video": how}}
    return {**SMALLEST, "modalities": {"audio": "log_mel", "video": video}, "training": training, **more}


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (through(video={**VIDEO, "keep": False}), "reads what was decoded: expected modalities.video.keep: true"),
        (through(missing={"shares": {"video": 0.3}}), "expected missing.replacement: blank@input, gaussian@input or"),
        (
            {**through(relevance={"measures": {"probe": {}}}), "models": {"late_fusion": {}}},
            "relevance.measures.probe asks models of cached features, and every model here learns",
        ),
        (
            {
                **through(relevance={"measures": {"mm_shap": {"models": ["video_only"]}}}),
                "models": {"video_only": {}, "audio_only": {}},
            },
            "mm_shap.models: mm_shap asks models of cached features, and 'video_only' learns",
        ),
        (
            through("thawed"),
            "config: training.encoders.video: expected frozen or unfrozen or {last_layers: an integer from 1}, got "
            '"thawed"',
        ),
        (
            through({"last_layers": -1}),
            "training.encoders.video: expected frozen or unfrozen or {last_layers: an integer from 1}, got "
            '{"last_layers": -1}',
        ),
        (
            {**SMALLEST, "models": {"late_fusion": {"grid": {"options.fusion": "al"}}}},
            'models.late_fusion.grid.options.fusion: expected all or a list, got "al"',
        ),
        ({**through(), "training": {"augment": {"vidoe": {}}}}, "training.augment: no modality 'vidoe'; did you mean"),
        (
            through(search={"budget": 2, "space": {"training.encoders": ["frozen"]}}),
            "has no 'training.encoders'",
        ),
    ],
)
def test_what_a_model_cannot_learn_through_is_said(config, line):
    with pytest.raises(UserError) as error:
        resolve.resolve(config)
    assert line in str(error.value)


def test_a_measure_of_models_is_of_those_that_read_cached_features_and_that_is_said():
    config = through(relevance={"measures": {"permutation_importance": {}}})
    models = {"late_fusion": {}, "cached": {"model": "late_fusion", "training": {"encoders": {}}}}
    study = resolve.resolve({**config, "models": models})
    assert left_out(study) == ["permutation_importance: not of late_fusion: learnt through an encoder"]


def test_features_are_cached_unless_every_model_that_looks_at_them_learns_through_the_encoder():
    from modalens.config.modalities import encoded, learnt

    study = resolve.resolve(through())
    assert encoded(study) == ["audio"]
    assert learnt(study["models"]["late_fusion"]) == ["video"]
    assert learnt(study["models"]["audio_only"]) == []
    models = {"late_fusion": {}, "video_only": {"training": {"encoders": {}}}}
    assert encoded(resolve.resolve(through(models=models))) == ["audio", "video"]

"""What cannot work is said before anything runs: options by the plugins that know them, all of them at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modalens.commands import _fetched
from modalens.config.resolve import resolve
from modalens.curation import manifest
from modalens.plugins import registry
from modalens.search import rehearsal
from modalens.utils.errors import UserError

BASE: dict[str, Any] = {"name": "a", "dataset": {"name": "known_answer"}, "tasks": ["seen"]}
UNTRAINED = {"encoder": "resnet50", "options": {"weights": "untrained"}}
MODALITIES = {"audio": "log_mel", "video": UNTRAINED}


def problems(**more: Any) -> list[str]:
    return rehearsal.problems(resolve({**BASE, "modalities": MODALITIES, **more}))


def model(name: str, **options: Any) -> dict[str, Any]:
    return {"models": {name: {"options": options}}}


def balanced(name: str, **options: Any) -> dict[str, Any]:
    return {"models": {"late_fusion": {"balancing": {name: options}}}}


def searched(**space: Any) -> dict[str, Any]:
    return {"models": {"late_fusion": {"search": space}}, "search": {"budget": 2}}


def measured(name: str, **options: Any) -> dict[str, Any]:
    return {"relevance": {"measures": {name: options}}}


def modality(encoder: str, **options: Any) -> dict[str, Any]:
    return {"modalities": {**MODALITIES, "x": {"kind": "audio", "encoder": encoder, "options": options}}}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (model("late_fusion", hidden=[-5]), "models.late_fusion.hidden: expected whole numbers from 1, got [-5]"),
        (model("late_fusion", channels=0), "models.late_fusion.channels: expected whole numbers from 1, got 0"),
        (model("late_fusion", dropout=1.5), "models.late_fusion.dropout: expected a share from 0 to below 1, got 1.5"),
        (model("transformer", width=30, heads=4), "a width of 30 is not divided by 4 heads"),
        (model("transformer", lengths={"vidoe": 3}), "lengths: expected modalities of audio, video, got 'vidoe'"),
        (model("guidance", target="vidoe", guide="audio"), "'vidoe'"),
        (model("guidance", target="video", guide="audio", guide_frozen=True), "a frozen guide has to have learnt"),
        (model("late_fusion", fusion="film", fusion_options={"by": "vidoe"}), "fusion_options.by: expected one of"),
        (
            model("late_fusion", fusion="lmf", fusion_options={"rank": 0}),
            "fusions.lmf.rank: expected at least 1, got 0",
        ),
        *(
            (balanced(name, **options), f"balancing.{name}.{next(iter(options))}: expected")
            for name, options in (
                ("ogm_ge", {"alpha": -1}),
                ("agm", {"alpha": 0}),
                ("mm_cosine", {"scale": -2.0}),
                ("unimodal_losses", {"weight": -0.5}),
                ("sample_valuation", {"strength": -1}),
                ("modality_dropout", {"rate": 2}),
            )
        ),
        (searched(**{"options.hidden": [[64], [-1]]}), "with options.hidden = [-1]: models.late_fusion.hidden"),
        (searched(**{"options.channels": {"low": 0, "high": 4}}), "with options.channels = 0: models.late_fusion"),
        (modality("log_mel", mels=0), "encoder log_mel: options.mels: expected at least 1, got 0"),
        (
            {"modalities": {"video": "resnet50"}, "download": {"cookies": "no.txt"}},
            "download.cookies: not found: no.txt",
        ),
        (measured("leave_one_out", confidence=95), "leave_one_out.confidence: expected a number between 0 and 1"),
        (measured("leave_one_out", seed=-1), "leave_one_out.seed: expected a whole number from 0, got -1"),
        (measured("shapley", bootstrap=1), "shapley.bootstrap: expected 2 replicates or more"),
        (measured("coalition_values", metrics=["accurcy"]), "no metric 'accurcy'; did you mean 'accuracy'"),
        (
            measured("leave_one_out", metrics=[]),
            "leave_one_out.metrics: expected one metric or more, each once, got []",
        ),
        (measured("interaction", value_functions=["f1", "f1"]), "interaction.value_functions: expected one metric"),
        (measured("leave_one_out", replacement=[]), "leave_one_out.replacement: expected one replacement or more"),
        (measured("probe", models=[]), "probe.models: expected one model or more, each once, got []"),
        ({"mlflow": {"tracking_uri": "file:///x"}}, "mlflow.tracking_uri 'file:///x' is a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_that_cannot_be_is_one_line_before_anything_runs(config: dict[str, Any], said: str) -> None:
    (line,) = problems(**config)
    assert line.startswith(("config: ", "mlflow", "encoder"))
    assert said in line
    assert "\n" not in line


def test_an_address_that_no_mlflow_understands_is_said_before_anything_runs() -> None:
    (line,) = problems(mlflow={"tracking_uri": "foo://bar"})
    assert line.startswith("config: mlflow.tracking_uri: expected an address of MLflow (sqlite, http")


def test_misspelt_and_missing_weights_are_said_without_reading_any() -> None:
    def study(weights: str) -> dict[str, Any]:
        return {"audio": "log_mel", "video": {"encoder": "resnet50", "options": {"weights": weights}}}

    (line,) = problems(modalities=study("imagnet"))
    assert "encoder resnet50: options.weights: " in line
    assert "imagnet" in line
    with pytest.raises(UserError, match=r"modalities\.video\.options\.weights: not found: /no/weights\.pt"):
        problems(modalities=study("/no/weights.pt"))


def test_every_problem_is_told_and_a_students_teachers_one_does_not_hide_others() -> None:
    models = {
        "audio_only": {"options": {"hidden": [0]}},
        "video_only": {},
        "distillation": {"teachers": ["audio_only", "video_only"]},
        "transformer": {"options": {"width": 30}},
    }
    assert len(problems(models=models, download={"cookies": "no.txt"})) == 3


def test_the_default_models_and_every_fusion_and_balancing_have_no_problem() -> None:
    assert problems() == []
    grid = {"late_fusion": {"grid": {"options.fusion": "all"}}}
    others = {"other": {"model": "late_fusion", "grid": {"balancing": "all"}}, "guidance": {}, "balance_mla": {}}
    others["guidance"] = {"options": {"target": "video", "guide": "audio"}}
    assert problems(models=grid | others) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, ""), ({"step_size": 64}, "the teacher 'video_only' has no network of 'video' of these sizes")],
)
def test_what_depends_on_the_length_of_a_sequence_is_no_problem_before_its_length_is_known(options, said) -> None:
    """A model of one sequence reads long ones by a convolution, which a guide has none of; the eight frames here are
    short. Sizes that cannot fit are told of all the same."""
    guided = {
        "model": "guidance",
        "options": {"target": "audio", "guide": "video", "guide_frozen": True, "fused": [8, 8, 8], **options},
        "teachers": ["video_only"],
    }
    found = problems(models={"video_only": {}, "guided": guided})
    assert [said in line for line in found] == [True] * bool(said)


def test_a_sequence_whose_length_the_config_states_has_that_length() -> None:
    series = {"kind": "series", "encoder": "raw_series"}
    guided = {"model": "guidance", "options": {"target": "audio", "guide": "gyroscope", "guide_frozen": True}}

    def said(steps: int, **options: Any) -> list[str]:
        gyroscope = {**series, "decode": {"channels": 3, "steps": steps}}
        models = {"gyroscope_only": {"options": options}, "guided": {**guided, "teachers": ["gyroscope_only"]}}
        return problems(modalities={"audio": "log_mel", "gyroscope": gyroscope}, models=models)

    assert said(8) == []
    assert ["sequences: {gyroscope: mean}" in line for line in said(100)] == [True]
    assert said(100, sequences={"gyroscope": "mean"}) == []


def test_a_plugin_that_breaks_its_contract_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "own_models.py"
    path.write_text(
        "from modalens.models.late_fusion import LateFusion\n"
        "class NoLoss(LateFusion):\n    def loss(self, features, labels):\n        return self(features)\n"
        "class Narrow(LateFusion):\n    def forward(self, features):\n        return super().forward(features)[:, :1]\n"
        "class Broken(LateFusion):\n    def embed(self, features):\n        raise KeyError('x')\n"
    )
    models = {"no_loss": {}, "narrow": {}, "broken": {}}
    found = problems(plugins=[str(path)], models=models)
    assert [line.partition(": ")[2].partition(":")[0] for line in sorted(found)] == [
        "models.broken", "models.narrow", "models.no_loss"
    ]  # fmt: skip
    assert any("expected a dict with loss and logits, got Tensor" in line for line in found)
    assert any("expected logits (clips, classes) (4, 3), got (4, 1)" in line for line in found)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"models": {"distillation": {}}}, "models.distillation: distillation learns from teachers"),
        ({"models": {"audio_only": {}, "late_fusion": {"teachers": ["audio_only"]}}}, "late_fusion takes no teachers"),
        ({"results": "a{b}"}, "results: expected a path without braces"),
        ({"training": {"learning_rate": float("inf")}}, "training.learning_rate: expected a finite number, got inf"),
        ({"modalities": {"audio": {"encoder": "log_mel", "decode": {"seconds": float("nan")}}}}, "decode.seconds: exp"),
        ({"search": {"space": {"options.dropout": [float("nan")]}}}, "search.space.options.dropout[0]: expected a fin"),
    ],
)
def test_what_the_config_alone_tells_is_refused_with_it(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"^config: ") as refused:
        resolve({**BASE, **config})
    assert said in str(refused.value)


@pytest.mark.parametrize("task", ["clip_id", "group", "split", "source"])
def test_a_task_called_as_a_column_of_every_manifest_is_refused(task: str) -> None:
    with pytest.raises(UserError, match=f"config: tasks: '{task}' is no label"):
        resolve({**BASE, "tasks": ["seen", task]})


def test_a_task_whose_classes_cannot_be_split_is_refused_before_media_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("file,name\n" + "".join(f"{k}.mp4,{k}\n" for k in range(9)))
    clips = manifest.build({"name": "folder", "csv": str(tmp_path / "a.csv")}, ["name"]).manifest()
    with pytest.raises(UserError, match="task 'name': 9 of 9 classes have clips of one group only, first '0'"):
        manifest.check(clips, ["name"])
    clips["name"] = ["a", "b", "b"] * 3
    manifest.check(clips, ["name"])


def test_the_registry_forgets_the_plugins_of_another_study() -> None:
    resolve(BASE)
    assert "no_loss" not in registry.names("models")


@pytest.mark.parametrize(
    ("name", "training", "said"),
    [
        ("audio", {"encoders": {"audio": "unfrozen"}}, "nothing in log_mel can be learnt; expected `frozen`"),
        (
            "audio",
            {"augment": {"audio": {"flip": 0.5}}},
            "audio: expected rows with the axis width, got (mel, time)",
        ),
        ("video", {"augment": {"video": {"crop": 2.0}}}, "augment: crop: expected a share from above 0 to 1, got 2.0"),
    ],
)
def test_what_cannot_be_learnt_through_or_augmented_is_said_before_anything_runs(name, training, said):
    kept = {**MODALITIES, name: {**({"encoder": "log_mel"} if name == "audio" else UNTRAINED), "keep": True}}
    found = problems(modalities=kept, models={f"{name}_only": {"training": training}})
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("side", "training", "said"),
    [
        (
            32,
            {"batch_size": 1},
            ["batch normalisation learns nothing from a batch of one clip; expected training.batch_"],
        ),
        (32, {"batch_size": 2}, []),
        (32, {"batch_size": 1, "encoders": {"video": {"last_layers": 99}}}, ["last_layers: expected at most"]),
        (32, {"batch_size": 1, "encoders": {"video": "frozen"}}, []),
        (64, {"batch_size": 1}, []),
    ],
)
def test_a_batch_of_one_clip_is_refused_where_a_network_has_one_number_a_channel_to_normalise(side, training, said):
    """Of 32 pixels the last map of this network is of one place, of 64 of four."""
    options = {"library": "timm", "model": "test_resnet", "weights": "untrained", "side": side}
    video = {"kind": "image", "column": "x", "encoder": "image_network", "options": options, "keep": True}
    models = {"video_only": {"training": {"encoders": {"video": "unfrozen"}, **training}}}
    found = problems(modalities={**MODALITIES, "video": video}, models=models)
    assert [one in line for one, line in zip(said, found, strict=True)] == [True] * len(said)


@pytest.mark.parametrize(
    ("encoder", "options", "most"),
    [
        ("image_network", {"library": "timm", "model": "test_resnet"}, 10),
        ("image_network", {"library": "torchvision", "model": "mobilenet_v2"}, 21),
        ("lip_network", {"units": 8}, 19),
    ],
)
def test_more_layers_than_a_network_has_are_refused_without_its_weights(encoder, options, most):
    entry = {"kind": "image", "column": "x"} if encoder == "image_network" else {"kind": "video"}
    entry |= {"encoder": encoder, "options": options, "keep": True}

    def lines(count: int) -> list[str]:
        training = {"encoders": {"video": {"last_layers": count}}}
        return problems(modalities={**MODALITIES, "video": entry}, models={"video_only": {"training": training}})

    assert [line for line in lines(most) if "last_layers" in line] == []
    (line,) = [line for line in lines(most + 1) if "last_layers" in line]
    assert line == (
        f"config: models.video_only.training: encoder {encoder}: last_layers: expected at most {most}, got {most + 1}"
    )


def test_weights_that_are_fetched_are_named_and_those_of_a_file_or_drawn_are_not(tmp_path):
    (tmp_path / "weights.pth").touch()
    network = {"kind": "image", "column": "x", "encoder": "image_network"}
    modalities = {
        "fetched": network | {"options": {"library": "timm", "model": "mobileone_s4"}},
        "drawn": network | {"options": {"weights": "untrained"}},
        "own": network | {"options": {"weights": str(tmp_path / "weights.pth")}},
        "video": "resnet50",
        "audio": "log_mel",
    }
    unless = "are fetched from the net when the study runs, unless this machine has them"
    assert _fetched.fetched(resolve({**BASE, "modalities": modalities})) == {
        "fetched": f"modalities.fetched: weights `pretrained` of mobileone_s4 (timm) {unless}",
        "video": f"modalities.video: weights `imagenet` of resnet50 {unless}",
    }


def test_cached_maps_may_be_augmented_by_the_axes_that_the_encoders_options_give():
    maps = {"encoder": "frame_network", "options": {"weights": "untrained", "library": "timm", "model": "test_resnet"}}
    models = {"video_only": {"training": {"augment": {"video": {"crop": 0.8}}}}}
    (said,) = problems(modalities={**MODALITIES, "video": maps}, models=models)
    assert "expected rows with the axis height, got (time, channel)" in said
    maps["options"]["pool"] = "none"
    assert problems(modalities={**MODALITIES, "video": maps}, models=models) == []


@pytest.mark.slow
def test_trying_a_study_does_without_pytorchs_compiler_which_takes_longer_to_import_than_what_is_tried():
    """torchvision imports it, and so does an optimizer of PyTorch."""
    tried = (
        "import sys, json; from modalens.config.resolve import resolve; from modalens.search import rehearsal\n"
        "assert rehearsal.problems(resolve(json.loads(sys.argv[1]))) == []\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", tried, json.dumps({**BASE, "modalities": MODALITIES})], check=True)

# What the rules share: the config, the shards and the input functions.
import json
import re
import shlex
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from modalens.config import code_version, workflow as wiring
from modalens.config.grid import FUSIONS
from modalens.config.resolve import fusions, resolve
from modalens.plugins.introspection import attribute
from modalens.plugins.registry import members
from modalens.utils import files
from modalens.utils.errors import UserError

# A study is one whole file: the demo is read only where no other was named, so that the two never mix.
if not workflow.config_settings.configfiles:

    configfile: Path(workflow.basedir) / "config" / "config.yaml"


# Jobs import modalens from this checkout, installed or not, in a conda environment or not.
# (Snakemake takes PYTHONPATH out of a conda environment's, so it is part of each command.)
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}; "
)

try:
    STUDY = resolve(config)
    R = f"{STUDY['results']}/{STUDY['study']}"
    wiring.ensure_manifest(STUDY, Path(R) / "manifest")
    SHARDS = wiring.shards(Path(R) / "manifest")
except UserError as error:
    sys.exit(f"modalens: {error}")

SEEDS = STUDY["seeds"]
ENCODERS = sorted(set(STUDY["modalities"].values()))
# Which stage an encoder reads: frames or waveforms.
READS = {encoder: attribute("encoders", encoder, "input") for encoder in ENCODERS}
DECODED = sorted(set(READS.values()))
files.write_if_changed(Path(R) / "config.yaml", yaml.safe_dump(STUDY, sort_keys=False))


wildcard_constraints:
    shard=r"\d+",
    encoder="|".join(ENCODERS),
    stage="frames|waveforms",
    task="|".join(map(re.escape, STUDY["tasks"])),
    model="|".join(map(re.escape, STUDY["models"])),
    measure="|".join(STUDY["relevance"]["measures"]),


def code(*modules):
    """Reruns a rule when the source that it calls changes."""
    return code_version.code_digest(*modules)


def settings(value):
    """A part of the config as one argument; it is small, and a change of it reruns the rule."""
    return json.dumps(value, sort_keys=True)


def kept(path, keep):
    return update(path) if keep else temp(path)


def made(environment, *modules, options=None):
    pins = (Path(workflow.basedir) / "envs" / f"{environment}.yaml").read_text()
    return files.digest(options, code(*modules), yaml.safe_load(pins)["dependencies"])


# What rows are made with: where that is the same, a job that runs again for a new clip keeps them.
MADE = {
    "frames": made("media", "stages/frames"),
    "waveforms": made("media", "stages/waveforms"),
    "fingerprints": made("tables", "stages/fingerprints"),
    **{
        name: made(
            "torch", "stages/features", f"encoders/{name}", options=STUDY["encoders"][name]
        )
        for name in ENCODERS
    },
}


def consumers(stage):
    """MADE=PATH of all that is made from decoded clips which are thrown away."""
    made_from = [
        f"{MADE[encoder]}={R}/features/{encoder}"
        for encoder in ENCODERS
        if READS[encoder] == stage
    ]
    made_from.append(f"{MADE['fingerprints']}={R}/fingerprints/{stage}")

    def of_shard(wildcards):
        return [f"{folder}/{wildcards.shard}.h5" for folder in made_from]

    return [] if STUDY[stage]["keep"] else of_shard


def preprocessing(stage):
    """The attributes that frames or waveforms of this study bear; features made from other ones are never mixed in."""
    constants = {
        name: value
        for name, value in STUDY[stage].items()
        if name not in ("keep", "decoder")
    }
    return {
        "kind": stage,
        **constants,
    }


def encoder_input(wildcards):
    return f"{R}/{READS[wildcards.encoder]}/{wildcards.shard}.h5"


def model_encoders():
    return [
        f"{name}={R}/features/{encoder}"
        for name, encoder in sorted(STUDY["modalities"].items())
    ]


def teachers(wildcards):
    return STUDY["models"][wildcards.model]["teachers"]


def teacher_checkpoints(wildcards):
    return [
        f"{R}/train/{wildcards.task}/{name}/{seed}/model.pt"
        for name in teachers(wildcards)
        for seed in SEEDS
    ]


def chosen(wildcards):
    """What a search found takes the place of the config's settings."""
    if STUDY["search"]["budget"] == 0:
        return []
    return f"{R}/search/{wildcards.task}/{wildcards.model}/chosen.json"


def model_code(*names):
    """Modules of models of the study; fusions and balancing are names in the config, which no import gives away."""
    for name in names:
        model = STUDY["models"][name]
        yield f"models/{model['class']}"
        # A search may choose any other one.
        varied = {f"options.{option}" for option in FUSIONS} & {
            *STUDY["search"]["space"],
            *model["search"],
        }
        used = members("fusions") if varied else fusions(model).values()
        yield from (f"fusions/{one}" for one in used)
        yield from (f"balancing/{one}" for one in model["balancing"])


def records():
    """Every stage's record, in the order of the flow."""
    yield f"{R}/manifest/record.json"
    for stage in ["clips", *DECODED, *(f"features/{encoder}" for encoder in ENCODERS)]:
        yield from (f"{R}/{stage}/{shard}.json" for shard in SHARDS)
    yield from (f"{R}/replacements/{encoder}.json" for encoder in ENCODERS)
    yield from (f"{R}/fingerprints/{shard}.json" for shard in SHARDS)
    yield f"{R}/duplicates/record.json"
    for task in STUDY["tasks"]:
        yield f"{R}/splits/{task}/record.json"
        for model in STUDY["models"]:
            if STUDY["search"]["budget"] > 0:
                yield f"{R}/search/{task}/{model}/record.json"
            yield f"{R}/train/{task}/{model}/record.json"
            yield f"{R}/evaluate/{task}/{model}.json"
        yield f"{R}/leaderboard/{task}.json"
        yield from (
            f"{R}/relevance/{task}/{measure}.json"
            for measure in STUDY["relevance"]["measures"]
        )
    yield f"{R}/report/record.json"


RECORDS = list(records())
# A list of thousands of paths goes by file: a command line has an end.
files.write_if_changed(Path(R) / "records.txt", "\n".join(RECORDS) + "\n")

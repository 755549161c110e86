# What the rules share: the config, the shards and the input functions.
import json
import os
import re
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, str(Path(workflow.basedir) / "src"))
from modalens.config import (
    clock,
    code_version,
    modalities,
    workflow as wiring,
    yaml_file,
)
from modalens.config.grid import FUSIONS
from modalens.config.resolve import resolve
from modalens.config.resolved import fusions, left_out, measures_of, target_of
from modalens.plugins import files as plugin_files, registry
from modalens.terminal.handler import Terminal
from modalens.tracking import live
from modalens.plugins.introspection import attribute
from modalens.utils import files
from modalens.utils.errors import UserError

# A study is one whole file: the demo is read only where no other was named, so that the two never mix.
if not workflow.config_settings.configfiles:

    configfile: Path(workflow.basedir) / "config" / "config.yaml"


try:
    for path in workflow.config_settings.configfiles:
        yaml_file.load(
            Path(path)
        )  # Snakemake's own reader takes a key that occurs twice
    STUDY = resolve(config)
    isolated = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    # Jobs import modalens from this checkout, installed or not, in a conda environment or not. (Snakemake takes
    # PYTHONPATH out of a conda environment's, so it is part of each command.) And they know the study's plugins.
    environment = [
        "set -euo pipefail",
        f"export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"export {plugin_files.ENVIRONMENT}={shlex.quote(os.environ[plugin_files.ENVIRONMENT])}",
    ]
    if server := wiring.live_tracking(STUDY):
        environment.append(f"export {live.ENVIRONMENT}={shlex.quote(server)}")
    if not isolated:
        # The Python that runs Snakemake, activated or not; conda's environments bring their own.
        environment.append(f'python() {{ {shlex.quote(sys.executable)} "$@"; }}')
    prefix = "; ".join(environment) + "; "
    shell.prefix(prefix.replace("{", "{{").replace("}", "}}"))
    R = f"{STUDY['results']}/{STUDY['name']}"
    call = wiring.read_call(sys.argv[1:])
    main = workflow.is_main_process
    TERMINAL = Terminal(hidden=["all", "feature_list"])
    if main and (call.runs or workflow.output_settings.dryrun):
        TERMINAL.take_over(workflow.logger_manager)
    if main and call.runs and call.locks:
        wiring.lock(Path(R))
        if ahead := clock.bring_back(Path(R)):
            print(
                f"{ahead} results bore times to come, now they bear this one: is the clock right?",
                file=sys.stderr,
            )
    FILES = wiring.StudyFiles(
        Path(R), write=main and call.runs, draft=main and not call.runs
    )
    FILES.manifest(STUDY)
    for line in left_out(STUDY) if main and call.runs else ():
        print(line, file=sys.stderr)
    if main and call.runs and not isolated:
        # Where jobs have environments of their own, this one need not hold what they use.
        wiring.rehearse(STUDY, Path(R))
    SHARDS = wiring.shards(FILES.planned("manifest"))
except UserError as error:
    sys.exit(f"modalens: {error}")

TERMINAL.trainings = len(STUDY["tasks"]) * len(STUDY["models"])
SEEDS = STUDY["seeds"]
# What studies share, where the config says so.
CACHE = ["--cache", STUDY["cache"]] if "cache" in STUDY else []
MODALITIES = sorted(STUDY["modalities"])
# Those whose features are cached: a model may read what was decoded instead.
ENCODED = modalities.encoded(STUDY)
# What is decoded, by the name of its folder: frames, waveforms, ...
FORMS = modalities.forms(STUDY)
# Folder of what a modality's encoder reads.
READS = {name: modalities.form_of(STUDY, name) for name in MODALITIES}
# What a measure is computed from, and the argument of stage `relevance` that gives it.
NEEDS = {
    name: attribute("measures", name, "needs")
    for name in STUDY["relevance"]["measures"]
}
SOURCES = {"predictions": "predictions", "history": "histories"}


def alike(*needs):
    """tasks -> the measures with such needs that are defined for their labels: nearly always all tasks."""
    found = {}
    for name in (name for name, need in NEEDS.items() if need in needs):
        own = tuple(task for task in STUDY["tasks"] if name in measures_of(STUDY, task))
        found.setdefault(own, []).append(name)
    found.pop((), None)
    return found


ALIKE = alike(*SOURCES)
FILES.put("config.yaml", yaml.safe_dump(STUDY, sort_keys=False))


wildcard_constraints:
    shard=r"\d+",
    modality="|".join(MODALITIES),
    form="|".join(FORMS),
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
    "fingerprints": made(
        "tables",
        "stages/fingerprints",
        *(f"modalities/{form['modality']}" for form in FORMS.values()),
    ),
    **{
        folder: made(
            form["environment"], "stages/decode", f"modalities/{form['modality']}"
        )
        for folder, form in FORMS.items()
    },
    **{
        name: made(
            attribute("encoders", entry["encoder"], "environment"),
            "stages/features",
            f"encoders/{entry['encoder']}",
            options=entry["options"],
        )
        for name, entry in STUDY["modalities"].items()
    },
}


def consumers(form):
    """MADE=PATH of all that is made from decoded clips which are thrown away."""
    made_from = [
        f"{MADE[name]}={R}/features/{name}"
        for name in MODALITIES
        if READS[name] == form
    ]
    made_from.append(f"{MADE['fingerprints']}={R}/fingerprints/{form}")

    def of_shard(wildcards):
        return [f"{folder}/{wildcards.shard}.h5" for folder in made_from]

    return [] if FORMS[form]["keep"] else of_shard


def cells_of(names):
    """--cells TABLE --columns NAME ... of the shard, where a modality reads columns of the annotations."""
    if not names:
        return []
    return lambda wildcards, input: ["--cells", input.cells, "--columns", *names]


def listed(folder):
    """Input function: a shard's table of the manifest."""
    return lambda wildcards: FILES.path(f"manifest/{folder}/{wildcards.shard}.csv")


def listed_digest(folder):
    return lambda wildcards: FILES.digest(f"manifest/{folder}/{wildcards.shard}.csv")


def encoder_environment(wildcards):
    """Libraries of pretrained networks only where the encoder runs one."""
    name = attribute("encoders", entry(wildcards)["encoder"], "environment")
    return f"../../envs/{name}.yaml"


def learning_environment(*models):
    """The same where a model itself runs a network: one that it learns through, or that reads its captions."""
    used = [
        attribute("models", STUDY["models"][name]["model"], "environment", "torch")
        for name in models
    ]
    for name in models:
        for modality in modalities.learnt(STUDY["models"][name]):
            encoder = STUDY["modalities"][modality]["encoder"]
            used.append(attribute("encoders", encoder, "environment"))
    return f"../../envs/{'encoders' if 'encoders' in used else 'torch'}.yaml"


def encoder_input(wildcards):
    return f"{R}/{READS[wildcards.modality]}/{wildcards.shard}.h5"


def entry(wildcards):
    """Of the modality in the config."""
    return STUDY["modalities"][wildcards.modality]


def cached(model):
    """Modalities whose features a model reads."""
    through = modalities.learnt(STUDY["models"][model])
    return [
        name for name in STUDY["models"][model]["modalities"] if name not in through
    ]


def shards_of(names):
    """Files of what modalities are decoded to."""
    forms = sorted({READS[name] for name in names})
    return expand(f"{R}/{{form}}/{{shard}}.h5", form=forms, shard=SHARDS)


def model_features(wildcards):
    """One file a modality, not one a shard: else a graph has models times shards edges."""
    return expand(
        f"{R}/features/{{modality}}/all.txt", modality=cached(wildcards.model)
    )


def model_decoded(wildcards):
    return shards_of(modalities.learnt(STUDY["models"][wildcards.model]))


def model_folders(wildcards):
    """What a model is given."""
    return folders(
        cached(wildcards.model), modalities.learnt(STUDY["models"][wildcards.model])
    )


def folders(names, through):
    """--modalities MODALITY=FOLDER ... of features, --decoded MODALITY=FOLDER ... of what is learnt through."""
    given = [f"{name}={R}/features/{name}" for name in names]
    decoded_to = [f"{name}={R}/{READS[name]}" for name in through]
    entries = settings({name: STUDY["modalities"][name] for name in through})
    return [
        *(["--modalities", *given] if given else []),
        *(["--entries", entries, "--decoded", *decoded_to] if through else []),
    ]


def model_replacements(wildcards):
    return [f"{R}/replacements/{name}.h5" for name in cached(wildcards.model)]


def lacking(wildcards):
    """Files of what stands in for a modality that training clips lack, where it has to go through its encoder."""
    missing = STUDY["models"][wildcards.model]["missing"]
    read = missing["replacement"] in ("blank@input", "gaussian@input")
    return model_replacements(wildcards) if read and missing["shares"] else []


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
        yield f"models/{model['model']}"
        # A search may choose any other one.
        varied = {f"options.{option}" for option in FUSIONS} & {
            *STUDY["search"]["space"],
            *model["search"],
        }
        used = registry.names("fusions") if varied else fusions(model).values()
        yield from (f"fusions/{one}" for one in used)
        for one in modalities.learnt(model):
            entry = STUDY["modalities"][one]
            yield from (f"encoders/{entry['encoder']}", f"modalities/{entry['kind']}")
        yield from (f"balancing/{one}" for one in model["balancing"])


def asking():
    """Names of rules that ask models again -> their tasks and measures.

    From features it is minutes, of which a process for each task would mostly load PyTorch. Through the encoders it may
    be hours: a job for each task.
    """
    found = named("relevance_of_models", alike("model"))
    if names := [name for name in NEEDS if NEEDS[name] == "input"]:
        found["relevance_at_input"] = (("{task}",), names)
    return found


def named(rule, groups):
    """tasks -> measures as name -> (tasks, measures); the name of all tasks is as given, of some it has a number.

    By number: tasks may be called so that their names, joined, are the same, or another rule's.
    """
    some = [tasks for tasks in groups if len(tasks) < len(STUDY["tasks"])]
    return {
        f"{rule}_{some.index(tasks) + 1}" if tasks in some else rule: (tasks, names)
        for tasks, names in groups.items()
    }


def measured(wildcards):
    """Of all models and tasks: what a measure is computed from that needs no model."""
    tasks = next(tasks for tasks, names in ALIKE.items() if wildcards.measure in names)
    if NEEDS[wildcards.measure] == "predictions":
        return expand(
            f"{R}/evaluate/{{task}}/{{model}}.parquet",
            task=tasks,
            model=STUDY["models"],
        )
    return expand(
        f"{R}/train/{{task}}/{{model}}/{{seed}}/history.csv",
        task=tasks,
        model=STUDY["models"],
        seed=SEEDS,
    )


def decoded(wildcards):
    """What a measure at the input reads; the config has seen to it that it is kept."""
    if NEEDS[wildcards.measure] != "input":
        return []
    return [
        f"{R}/{form}/{shard}.h5"
        for form in sorted(set(READS.values()))
        for shard in SHARDS
    ]


def measure_options(wildcards):
    shared = {key: STUDY["relevance"][key] for key in ("bootstrap", "confidence")}
    return settings(shared | STUDY["relevance"]["measures"][wildcards.measure])


def modality_code():
    """Plugins that decode and encode the study's modalities."""
    for entry in STUDY["modalities"].values():
        yield from (f"modalities/{entry['kind']}", f"encoders/{entry['encoder']}")


def records():
    """Every stage's record, in the order of the flow."""
    yield FILES.path("manifest/record.json")
    for stage in ["clips", *FORMS, *(f"features/{name}" for name in ENCODED)]:
        yield from (f"{R}/{stage}/{shard}.json" for shard in SHARDS)
    yield from (f"{R}/replacements/{name}.json" for name in ENCODED)
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
            for measure in measures_of(STUDY, task)
        )
    yield f"{R}/report/record.json"


# By some model of the study: as features, and as what was decoded.
LOOKED_AT = sorted({name for model in STUDY["models"] for name in cached(model)})
THROUGH = sorted(
    {name for one in STUDY["models"].values() for name in modalities.learnt(one)}
)
# Models of cached features: those that measures ask.
ASKED = [
    name for name, model in STUDY["models"].items() if not modalities.learnt(model)
]
MEASURE_TABLES = [
    f"{R}/relevance/{task}/{measure}.csv"
    for task in STUDY["tasks"]
    for measure in measures_of(STUDY, task)
]
RECORDS = list(records())
# A list of thousands of paths goes by file: a command line has an end.
FILES.put("records.txt", "\n".join(RECORDS) + "\n")

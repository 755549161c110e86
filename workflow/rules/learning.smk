# Splits -> trained models -> predictions. `evaluate` and the measures of models alone have a test list as input.
rule splits:
    """Divide a task's clips that went well by group, and count those that did not."""
    input:
        labels=lambda wildcards: FILES.path(f"manifest/labels/{wildcards.task}.csv"),
        status=expand(
            f"{R}/{{stage}}/{{shard}}.csv", stage=["clips", *FORMS], shard=SHARDS
        ),
        # Where a published list says what its clips looked and sounded like, they are compared with it.
        fingerprints=(
            expand(f"{R}/fingerprints/{{shard}}.csv", shard=SHARDS)
            if FILES.planned("manifest/expected.csv").exists()
            else []
        ),
    output:
        parts=expand(
            f"{R}/splits/{{{{task}}}}/{{part}}.csv",
            part=["train", "validation", "test"],
        ),
        tables=expand(
            f"{R}/splits/{{{{task}}}}/{{table}}.csv",
            table=["classes", "attrition", "leakage", "clips", "sizes"]
            + ["incomplete"] * (STUDY["splits"]["incomplete"] == "keep"),
        ),
        record=f"{R}/splits/{{task}}/record.json",
    log:
        f"{R}/logs/splits/{{task}}.log",
    benchmark:
        f"{R}/benchmarks/splits/{{task}}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        study=lambda wildcards: R,
        folder=lambda wildcards, output: Path(output.record).parent,
        stages=["clips", *FORMS],
        fractions=settings(
            {part: STUDY["splits"][part] for part in ["train", "validation", "test"]}
        ),
        seed=STUDY["splits"]["seed"],
        target=lambda wildcards: target_of(STUDY, wildcards.task),
        overlap=["--allow-overlap"] if STUDY["splits"]["allow_overlap"] else [],
        incomplete=(
            ["--incomplete", *(f"{name}={form}" for name, form in READS.items())]
            if STUDY["splits"]["incomplete"] == "keep"
            else []
        ),
        lists=lambda wildcards: [
            FILES.digest(f"manifest/{name}.csv")
            for name in (f"labels/{wildcards.task}", "expected")
        ],
        code=code("stages/splits"),
    shell:
        "python -m modalens splits --labels {input.labels:q} --target {params.target:q} --study {params.study:q} --stages {params.stages:q} "
        "--fractions {params.fractions:q} --seed {params.seed:q} {params.overlap:q} {params.incomplete:q} "
        "--output {params.folder:q} --record {output.record:q} 2> {log:q}"


rule train:
    """Train a model on a task, all seeds in one job, on the training and validation splits."""
    input:
        parts=expand(
            f"{R}/splits/{{{{task}}}}/{{part}}.csv",
            part=["train", "validation", "classes"],
        ),
        features=model_features,
        decoded=model_decoded,
        teachers=teacher_checkpoints,
        lacking=lacking,
        chosen=chosen,
        # Nothing is trained on a split that leaks; what the table says changes no model.
        duplicates=ancient(f"{R}/duplicates/{{task}}.csv"),
    output:
        models=expand(
            f"{R}/train/{{{{task}}}}/{{{{model}}}}/{{seed}}/model.pt", seed=SEEDS
        ),
        histories=expand(
            f"{R}/train/{{{{task}}}}/{{{{model}}}}/{{seed}}/history.csv", seed=SEEDS
        ),
        record=f"{R}/train/{{task}}/{{model}}/record.json",
    log:
        f"{R}/logs/train/{{task}}/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/train/{{task}}/{{model}}.tsv"
    conda:
        lambda wildcards: learning_environment(wildcards.model)
    threads: lambda wildcards: 2 if modalities.learnt(STUDY["models"][wildcards.model]) else 1
    resources:
        mem_mb=study_mb,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        model=lambda wildcards: STUDY["models"][wildcards.model]["model"],
        options=lambda wildcards: settings(STUDY["models"][wildcards.model]["options"]),
        training=lambda wildcards: settings(
            STUDY["models"][wildcards.model]["training"]
        ),
        balancing=lambda wildcards: settings(
            STUDY["models"][wildcards.model]["balancing"]
        ),
        chosen=lambda wildcards, input: (
            ["--chosen", input.chosen] if input.chosen else []
        ),
        seeds=SEEDS,
        modalities=model_folders,
        missing=lambda wildcards: settings(STUDY["models"][wildcards.model]["missing"]),
        replacements=lambda wildcards, input: [
            f"{Path(path).stem}={path}" for path in input.lacking
        ],
        splits=lambda wildcards, input: Path(input.parts[0]).parent,
        target=lambda wildcards: target_of(STUDY, wildcards.task),
        folder=lambda wildcards, output: Path(output.record).parent,
        teachers=lambda wildcards: [
            f"{name}={R}/train/{wildcards.task}/{name}" for name in teachers(wildcards)
        ],
        key=lambda wildcards: settings(
            {"task": wildcards.task, "model": wildcards.model}
        ),
        code=lambda wildcards: code(
            "stages/train", *model_code(wildcards.model, *teachers(wildcards))
        ),
    shell:
        "python -m modalens train --model {params.model:q} --options {params.options:q} "
        "--training {params.training:q} --balancing {params.balancing:q} {params.chosen:q} "
        "--seeds {params.seeds:q} {params.modalities:q} --missing {params.missing:q} "
        "--replacements {params.replacements:q} --teachers {params.teachers:q} --splits {params.splits:q} "
        "--target {params.target:q} --threads {threads} --key {params.key:q} --output {params.folder:q} --record {output.record:q} 2> {log:q}"


rule evaluate:
    """Predict every test clip under every condition, by all models of a task."""
    input:
        test=f"{R}/splits/{{task}}/test.csv",
        models=expand(
            f"{R}/train/{{{{task}}}}/{{model}}/{{seed}}/model.pt",
            model=STUDY["models"],
            seed=SEEDS,
        ),
        features=expand(f"{R}/features/{{modality}}/all.txt", modality=LOOKED_AT),
        replacements=expand(f"{R}/replacements/{{modality}}.h5", modality=LOOKED_AT),
        decoded=shards_of(THROUGH),
    output:
        # Those of models whose predictions would be the same stay.
        data=update(
            expand(
                f"{R}/evaluate/{{{{task}}}}/{{model}}.parquet", model=STUDY["models"]
            )
        ),
        # Joined embeddings of the test clips, for the map in the report.
        embeddings=update(
            expand(f"{R}/evaluate/{{{{task}}}}/{{model}}.h5", model=STUDY["models"])
        ),
        records=update(
            expand(f"{R}/evaluate/{{{{task}}}}/{{model}}.json", model=STUDY["models"])
        ),
    log:
        f"{R}/logs/evaluate/{{task}}.log",
    benchmark:
        f"{R}/benchmarks/evaluate/{{task}}.tsv"
    conda:
        learning_environment(*STUDY["models"])
    threads: 1
    resources:
        mem_mb=study_mb,
        runtime=lambda wildcards, attempt: attempt * (40 + 20 * len(STUDY["models"])),
    params:
        folders=lambda wildcards: [
            f"{R}/train/{wildcards.task}/{model}" for model in STUDY["models"]
        ],
        made=settings(
            {
                model: {
                    "modalities": entry["modalities"],
                    "code": made("torch", "stages/evaluate", *model_code(model)),
                }
                for model, entry in STUDY["models"].items()
            }
        ),
        seeds=SEEDS,
        modalities=folders(LOOKED_AT, THROUGH),
        replacements=[f"{name}={R}/replacements/{name}.h5" for name in LOOKED_AT],
        output=lambda wildcards, output: Path(output.data[0]).parent,
        conditions=STUDY["evaluate"]["replacements"],
        device=STUDY["training"]["device"],
        key=lambda wildcards: settings({"task": wildcards.task}),
    shell:
        "python -m modalens evaluate --models {params.folders:q} --made {params.made:q} --seeds {params.seeds:q} "
        "--test {input.test:q} {params.modalities:q} --replacements {params.replacements:q} "
        "--conditions {params.conditions:q} --device {params.device:q} --threads {threads} --key {params.key:q} "
        "--output {params.output:q} 2> {log:q}"

# Predictions, histories or models -> relevance -> report and MLflow.
for name, (tasks, names) in named("relevance", ALIKE).items():

    rule:
        """Compute one measure of all tasks from the predictions, or the training histories, of their models."""
        name:
            name
        input:
            measured,
        output:
            # Those of tasks whose predictions are the same stay.
            tables=[
                update(
                    report(
                        f"{R}/relevance/{task}/{{measure}}.csv",
                        category="Relevance",
                        subcategory=task,
                        labels={"measure": "{measure}"},
                    )
                )
                for task in tasks
            ],
            records=[update(f"{R}/relevance/{task}/{{measure}}.json") for task in tasks],
        log:
            f"{R}/logs/relevance/{{measure}}.log",
        benchmark:
            f"{R}/benchmarks/relevance/{{measure}}.tsv"
        wildcard_constraints:
            measure="|".join(names),
        conda:
            "../../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=lambda wildcards, attempt: attempt * (20 + 40 * len(STUDY["tasks"])),
        params:
            options=measure_options,
            given=lambda wildcards, input: [
                f"--{SOURCES[NEEDS[wildcards.measure]]}",
                *input,
            ],
            made=lambda wildcards: made(
                "tables", "stages/relevance", f"measures/{wildcards.measure}"
            ),
            output=lambda wildcards: f"{R}/relevance/{{task}}/{wildcards.measure}",
        shell:
            "python -m modalens relevance --measure {wildcards.measure:q} --options {params.options:q} "
            "--made {params.made:q} {params.given:q} "
            "--output {params.output:q}.csv --record {params.output:q}.json 2> {log:q}"


for name, (tasks, names) in asking().items():
    each = "{task}/" if tasks == ("{task}",) else ""

    rule:
        """Compute one measure from all trained models, which are asked again."""
        name:
            name
        input:
            parts=expand(
                f"{R}/splits/{{task}}/{{part}}.csv",
                task=tasks,
                part=["train", "validation", "test"],
            ),
            models=expand(
                f"{R}/train/{{task}}/{{model}}/{{seed}}/model.pt",
                task=tasks,
                model=ASKED,
                seed=SEEDS,
            ),
            features=expand(f"{R}/features/{{modality}}/all.txt", modality=ENCODED),
            replacements=expand(f"{R}/replacements/{{modality}}.h5", modality=ENCODED),
            decoded=decoded,
        output:
            # Those of tasks whose models are the same stay.
            tables=[
                update(
                    report(
                        f"{R}/relevance/{task}/{{measure}}.csv",
                        category="Relevance",
                        subcategory=task,
                        labels={"measure": "{measure}"},
                    )
                )
                for task in tasks
            ],
            records=[update(f"{R}/relevance/{task}/{{measure}}.json") for task in tasks],
        log:
            f"{R}/logs/relevance/{each}{{measure}}.log",
        benchmark:
            f"{R}/benchmarks/relevance/{each}{{measure}}.tsv"
        wildcard_constraints:
            measure="|".join(names),
        conda:
            "../../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=study_mb,
            runtime=lambda wildcards, attempt: attempt
            * (120 + 120 * (1 if "task" in wildcards.keys() else len(STUDY["tasks"]))),
        params:
            options=measure_options,
            folders=[f"{R}/train/{task}/{model}" for task in tasks for model in ASKED],
            seeds=SEEDS,
            modalities=[f"{name}={R}/features/{name}" for name in ENCODED],
            replacements=[f"{name}={R}/replacements/{name}.h5" for name in ENCODED],
            decoded=lambda wildcards, input: (
                [
                    *["--entries", settings(STUDY["modalities"]), "--decoded"],
                    *[f"{name}={R}/{READS[name]}" for name in MODALITIES],
                ]
                if input.decoded
                else []
            ),
            device=STUDY["training"]["device"],
            made=lambda wildcards, input: made(
                "torch",
                "stages/relevance",
                "evaluation/studied",
                f"measures/{wildcards.measure}",
                *model_code(*ASKED),
                *(
                    ["evaluation/input_level", *modality_code()]
                    if input.decoded
                    else []
                ),
            ),
            splits=lambda wildcards: f"{R}/splits/{{task}}",
            output=lambda wildcards: f"{R}/relevance/{{task}}/{wildcards.measure}",
        shell:
            "python -m modalens relevance --measure {wildcards.measure:q} --options {params.options:q} "
            "--made {params.made:q} --models {params.folders:q} --seeds {params.seeds:q} --splits {params.splits:q} "
            "--modalities {params.modalities:q} --replacements {params.replacements:q} {params.decoded:q} "
            "--device {params.device:q} --threads {threads} "
            "--output {params.output:q}.csv --record {params.output:q}.json 2> {log:q}"


rule report:
    """Write the page with its tables and figures."""
    input:
        config=FILES.path("config.yaml"),
        relevance=MEASURE_TABLES,
        predictions=expand(
            f"{R}/evaluate/{{task}}/{{model}}.parquet",
            task=STUDY["tasks"],
            model=STUDY["models"],
        ),
        histories=expand(
            f"{R}/train/{{task}}/{{model}}/{{seed}}/history.csv",
            task=STUDY["tasks"],
            model=STUDY["models"],
            seed=SEEDS,
        ),
        attrition=expand(f"{R}/splits/{{task}}/attrition.csv", task=STUDY["tasks"]),
        status=expand(
            f"{R}/{{stage}}/{{shard}}.csv", stage=["clips", *FORMS], shard=SHARDS
        ),
        features=expand(f"{R}/features/{{modality}}/{SHARDS[0]}.h5", modality=ENCODED),
        duplicates=expand(f"{R}/duplicates/{{task}}.csv", task=STUDY["tasks"]),
        leaderboards=expand(f"{R}/leaderboard/{{task}}.csv", task=STUDY["tasks"]),
        trials=(
            expand(
                f"{R}/search/{{task}}/{{model}}/trials.csv",
                task=STUDY["tasks"],
                model=STUDY["models"],
            )
            if STUDY["search"]["budget"] > 0
            else []
        ),
        answers=(
            FILES.path("manifest/answers.json")
            if FILES.planned("manifest/answers.json").exists()
            else []
        ),
    output:
        page=report(f"{R}/report/index.html", category="Report"),
        # What a run ends with.
        answer=f"{R}/report/answer.txt",
        record=f"{R}/report/record.json",
    log:
        f"{R}/logs/report.log",
    benchmark:
        f"{R}/benchmarks/report.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        study=lambda wildcards: R,
        files=[FILES.digest(name) for name in ("config.yaml", "manifest/answers.json")],
        code=code(
            "stages/report",
            "reporting/published.csv",
            *code_version.files("reporting/templates"),
        ),
    shell:
        "python -m modalens report --study {params.study:q} --config {input.config:q} "
        "--output {output.page:q} --answer {output.answer:q} --record {output.record:q} 2> {log:q}"


rule track:
    """Bring the records of all stages into MLflow."""
    input:
        listing=FILES.path("records.txt"),
        records=RECORDS,
    output:
        f"{R}/track/synced.json",
    log:
        f"{R}/logs/track.log",
    benchmark:
        f"{R}/benchmarks/track.tsv"
    localrule: True
    conda:
        "../../envs/track.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        study=lambda wildcards: R,
        uri=STUDY["mlflow"]["tracking_uri"],
        experiment=STUDY["mlflow"]["experiment"],
        code=code("stages/track"),
    shell:
        "python -m modalens track --study {params.study:q} --records {input.listing:q} "
        "--tracking-uri {params.uri:q} --experiment {params.experiment:q} --output {output:q} 2> {log:q}"

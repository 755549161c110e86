# Models on equal terms: as many settings tried for each, on the validation split, and the results side by side.
rule search:
    """Choose a model's settings for a task on the validation split, by a stated number of trials."""
    input:
        parts=expand(
            f"{R}/splits/{{{{task}}}}/{{part}}.csv",
            part=["train", "validation", "classes"],
        ),
        features=model_features,
        decoded=model_decoded,
        teachers=teacher_checkpoints,
        lacking=lacking,
        # Nothing is chosen on a split that leaks; what the table says changes no choice.
        duplicates=ancient(f"{R}/duplicates/{{task}}.csv"),
    output:
        chosen=f"{R}/search/{{task}}/{{model}}/chosen.json",
        trials=f"{R}/search/{{task}}/{{model}}/trials.csv",
        record=f"{R}/search/{{task}}/{{model}}/record.json",
    log:
        f"{R}/logs/search/{{task}}/{{model}}.log",
    benchmark:
        f"{R}/benchmarks/search/{{task}}/{{model}}.tsv"
    conda:
        lambda wildcards: learning_environment(wildcards.model)
    threads: 1
    resources:
        mem_mb=study_mb,
        # Trials that were done are kept: what is cut off goes on in the next attempt.
        runtime=lambda wildcards, attempt: 480 * attempt,
    params:
        model=lambda wildcards: STUDY["models"][wildcards.model]["model"],
        options=lambda wildcards: settings(STUDY["models"][wildcards.model]["options"]),
        training=lambda wildcards: settings(
            STUDY["models"][wildcards.model]["training"]
        ),
        balancing=lambda wildcards: settings(
            STUDY["models"][wildcards.model]["balancing"]
        ),
        space=lambda wildcards: settings(
            STUDY["search"]["space"] | STUDY["models"][wildcards.model]["search"]
        ),
        budget=STUDY["search"]["budget"],
        draw_seed=STUDY["search"]["seed"],
        seeds=STUDY["search"]["seeds"],
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
        teacher_seeds=SEEDS,
        key=lambda wildcards: settings(
            {"task": wildcards.task, "model": wildcards.model}
        ),
        code=lambda wildcards: code(
            "stages/search", *model_code(wildcards.model, *teachers(wildcards))
        ),
    shell:
        "python -m modalens search --model {params.model:q} --options {params.options:q} "
        "--training {params.training:q} --balancing {params.balancing:q} --space {params.space:q} "
        "--budget {params.budget:q} --draw-seed {params.draw_seed:q} --seeds {params.seeds:q} "
        "{params.modalities:q} --missing {params.missing:q} "
        "--replacements {params.replacements:q} --teachers {params.teachers:q} --teacher-seeds {params.teacher_seeds:q} "
        "--splits {params.splits:q} --target {params.target:q} --threads {threads} --key {params.key:q} "
        "--output {params.folder:q} --record {output.record:q} 2> {log:q}"


rule leaderboard:
    """Compare the models of a task on the same test clips and seeds."""
    input:
        expand(f"{R}/evaluate/{{{{task}}}}/{{model}}.parquet", model=STUDY["models"]),
    output:
        table=report(
            f"{R}/leaderboard/{{task}}.csv",
            category="Leaderboard",
            labels={"task": "{task}"},
        ),
        record=f"{R}/leaderboard/{{task}}.json",
    log:
        f"{R}/logs/leaderboard/{{task}}.log",
    benchmark:
        f"{R}/benchmarks/leaderboard/{{task}}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        reference=STUDY["report"]["model"],
        bootstrap=STUDY["relevance"]["bootstrap"],
        confidence=STUDY["relevance"]["confidence"],
        key=lambda wildcards: settings({"task": wildcards.task}),
        code=code("stages/leaderboard"),
    shell:
        "python -m modalens leaderboard --predictions {input:q} --reference {params.reference:q} "
        "--bootstrap {params.bootstrap:q} --confidence {params.confidence:q} --key {params.key:q} "
        "--output {output.table:q} --record {output.record:q} 2> {log:q}"

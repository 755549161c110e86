# Decoded clips and splits -> the same content in two splits, which stops the study before it trains.
rule fingerprints:
    """Digest and sketch what was decoded of a shard, to find copies by."""
    input:
        clips=f"{R}/clips/{{shard}}.csv",
        decoded=expand(f"{R}/{{form}}/{{{{shard}}}}.h5", form=list(FORMS)),
    output:
        table=update(f"{R}/fingerprints/{{shard}}.csv"),
        sketches=update(
            expand(f"{R}/fingerprints/{{form}}/{{{{shard}}}}.h5", form=list(FORMS))
        ),
        record=f"{R}/fingerprints/{{shard}}.json",
    log:
        f"{R}/logs/fingerprints/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/fingerprints/{{shard}}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=minutes(1),
    params:
        decoded=lambda wildcards, input: [
            f"{form}={path}" for form, path in zip(FORMS, input.decoded)
        ],
        folder=lambda wildcards, output: Path(output.table).parent,
        forms=settings(FORMS),
        made=MADE["fingerprints"],
        cache=CACHE,
    shell:
        "python -m modalens fingerprints --clips {input.clips:q} --decoded {params.decoded:q} --forms {params.forms:q} --made {params.made:q} {params.cache:q} "
        "--output {params.folder:q} --record {output.record:q} 2> {log:q}"


rule duplicates:
    """Find the same content in two splits, and stop the study where it leaks."""
    input:
        parts=expand(
            f"{R}/splits/{{task}}/{{part}}.csv",
            task=STUDY["tasks"],
            part=["train", "validation", "test"],
        ),
        fingerprints=expand(f"{R}/fingerprints/{{shard}}.csv", shard=SHARDS),
        sketches=expand(
            f"{R}/fingerprints/{{form}}/{{shard}}.h5", form=list(FORMS), shard=SHARDS
        ),
    output:
        tables=expand(f"{R}/duplicates/{{task}}.csv", task=STUDY["tasks"]),
        record=f"{R}/duplicates/record.json",
    log:
        f"{R}/logs/duplicates.log",
    benchmark:
        f"{R}/benchmarks/duplicates.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (2000 + int(0.1 * all_clips())),
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        study=lambda wildcards: R,
        folder=lambda wildcards, output: Path(output.record).parent,
        tasks=STUDY["tasks"],
        forms=settings(FORMS),
        near=STUDY["splits"]["near_duplicates"],
        threshold=(
            ["--threshold", STUDY["splits"]["near_threshold"]]
            if "near_threshold" in STUDY["splits"]
            else []
        ),
        overlap=["--allow-overlap"] if STUDY["splits"]["allow_overlap"] else [],
        code=code(
            "stages/duplicates",
            *(f"modalities/{form['modality']}" for form in FORMS.values()),
        ),
    shell:
        "python -m modalens duplicates --study {params.study:q} --tasks {params.tasks:q} --forms {params.forms:q} "
        "--near {params.near:q} {params.threshold:q} {params.overlap:q} "
        "--output {params.folder:q} --record {output.record:q} 2> {log:q}"

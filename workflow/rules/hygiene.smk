# Decoded clips and splits -> the same content in two splits, which stops the study before it trains.
rule fingerprints:
    input:
        clips=f"{R}/clips/{{shard}}.csv",
        decoded=expand(f"{R}/{{stage}}/{{{{shard}}}}.h5", stage=DECODED),
    output:
        table=update(f"{R}/fingerprints/{{shard}}.csv"),
        sketches=update(
            expand(f"{R}/fingerprints/{{stage}}/{{{{shard}}}}.h5", stage=DECODED)
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
            f"{stage}={path}" for stage, path in zip(DECODED, input.decoded)
        ],
        folder=lambda wildcards, output: Path(output.table).parent,
        made=MADE["fingerprints"],
    shell:
        "python -m modalens fingerprints --clips {input.clips} --decoded {params.decoded} --made {params.made} "
        "--output {params.folder} --record {output.record} 2> {log}"


rule duplicates:
    input:
        parts=expand(
            f"{R}/splits/{{task}}/{{part}}.csv",
            task=STUDY["tasks"],
            part=["train", "validation", "test"],
        ),
        fingerprints=expand(f"{R}/fingerprints/{{shard}}.csv", shard=SHARDS),
        sketches=expand(
            f"{R}/fingerprints/{{stage}}/{{shard}}.h5", stage=DECODED, shard=SHARDS
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
        stages=DECODED,
        near=STUDY["splits"]["near_duplicates"],
        threshold=STUDY["splits"]["near_threshold"],
        overlap="--allow-overlap" if STUDY["splits"]["allow_overlap"] else "",
        code=code("stages/duplicates"),
    shell:
        "python -m modalens duplicates --study {params.study} --tasks {params.tasks} --stages {params.stages} "
        "--near {params.near} --threshold {params.threshold} {params.overlap} "
        "--output {params.folder} --record {output.record} 2> {log}"

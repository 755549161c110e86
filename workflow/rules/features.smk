# Decoded forms -> cached features, and what takes their place when a modality is withheld.
rule features:
    """Encode the decoded clips of a shard, once for every model."""
    input:
        encoder_input,
    output:
        data=update(f"{R}/features/{{modality}}/{{shard}}.h5"),
        record=f"{R}/features/{{modality}}/{{shard}}.json",
    log:
        f"{R}/logs/features/{{modality}}/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/features/{{modality}}/{{shard}}.tsv"
    conda:
        encoder_environment
    # Shards run side by side, which costs less than to share the work of one.
    threads: 2 if len(SHARDS) == 1 else 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=minutes(6),
    params:
        encoder=lambda wildcards: entry(wildcards)["encoder"],
        options=lambda wildcards: settings(entry(wildcards)["options"]),
        key=lambda wildcards: settings({"modality": wildcards.modality}),
        device=STUDY["training"]["device"],
        made=lambda wildcards: MADE[wildcards.modality],
        cache=CACHE,
    shell:
        "python -m modalens features --encoder {params.encoder:q} --options {params.options:q} "
        "--made {params.made:q} {params.cache:q} --key {params.key:q} --device {params.device:q} --threads {threads} --input {input:q} "
        "--output {output.data:q} --record {output.record:q} 2> {log:q}"


rule feature_list:
    """The records of all shards of a modality in one file, which stands for them where all are needed."""
    input:
        data=expand(f"{R}/features/{{{{modality}}}}/{{shard}}.h5", shard=SHARDS),
        records=expand(f"{R}/features/{{{{modality}}}}/{{shard}}.json", shard=SHARDS),
    output:
        f"{R}/features/{{modality}}/all.txt",
    log:
        f"{R}/logs/feature_list/{{modality}}.log",
    localrule: True
    conda:
        "../../envs/tables.yaml"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        # By a pattern: a line of thousands of paths is longer than a command may be.
        "cat {params.folder:q}/[0-9]*.json > {output:q} 2> {log:q}"


rule replacements:
    """Encode blank and noise inputs: what a withheld modality is replaced with."""
    output:
        data=f"{R}/replacements/{{modality}}.h5",
        record=f"{R}/replacements/{{modality}}.json",
    log:
        f"{R}/logs/replacements/{{modality}}.log",
    benchmark:
        f"{R}/benchmarks/replacements/{{modality}}.tsv"
    conda:
        encoder_environment
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        encoder=lambda wildcards: entry(wildcards)["encoder"],
        options=lambda wildcards: settings(entry(wildcards)["options"]),
        key=lambda wildcards: settings({"modality": wildcards.modality}),
        modality=lambda wildcards: entry(wildcards)["kind"],
        decode=lambda wildcards: settings(entry(wildcards)["decode"]),
        device=STUDY["training"]["device"],
        code=lambda wildcards: code(
            "stages/replacements",
            f"encoders/{entry(wildcards)['encoder']}",
            f"modalities/{entry(wildcards)['kind']}",
        ),
    shell:
        "python -m modalens replacements --encoder {params.encoder:q} --options {params.options:q} "
        "--modality {params.modality:q} --decode {params.decode:q} --key {params.key:q} --device {params.device:q} "
        "--output {output.data:q} --record {output.record:q} 2> {log:q}"

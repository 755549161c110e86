# Frames and waveforms -> cached features, and what takes their place when a modality is withheld.
rule features:
    input:
        encoder_input,
    output:
        data=update(f"{R}/features/{{encoder}}/{{shard}}.h5"),
        record=f"{R}/features/{{encoder}}/{{shard}}.json",
    log:
        f"{R}/logs/features/{{encoder}}/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/features/{{encoder}}/{{shard}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=minutes(6),
    params:
        options=lambda wildcards: settings(STUDY["encoders"][wildcards.encoder]),
        device=STUDY["training"]["device"],
        made=lambda wildcards: MADE[wildcards.encoder],
    shell:
        "python -m modalens features --encoder {wildcards.encoder} --options {params.options:q} "
        "--made {params.made} --device {params.device} --threads {threads} --input {input} "
        "--output {output.data} --record {output.record} 2> {log}"


rule replacements:
    output:
        data=f"{R}/replacements/{{encoder}}.h5",
        record=f"{R}/replacements/{{encoder}}.json",
    log:
        f"{R}/logs/replacements/{{encoder}}.log",
    benchmark:
        f"{R}/benchmarks/replacements/{{encoder}}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        options=lambda wildcards: settings(STUDY["encoders"][wildcards.encoder]),
        preprocessing=lambda wildcards: settings(
            preprocessing(READS[wildcards.encoder])
        ),
        device=STUDY["training"]["device"],
        code=lambda wildcards: code("stages/replacements", f"encoders/{wildcards.encoder}"),
    shell:
        "python -m modalens replacements --encoder {wildcards.encoder} --options {params.options:q} "
        "--preprocessing {params.preprocessing:q} --device {params.device} "
        "--output {output.data} --record {output.record} 2> {log}"

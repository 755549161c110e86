# Decoded forms -> cached features, and what takes their place when a modality is withheld.
rule features:
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
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=minutes(6),
    params:
        encoder=lambda wildcards: entry(wildcards)["encoder"],
        options=lambda wildcards: settings(entry(wildcards)["options"]),
        key=lambda wildcards: settings({"modality": wildcards.modality}),
        device=STUDY["training"]["device"],
        made=lambda wildcards: MADE[wildcards.modality],
    shell:
        "python -m modalens features --encoder {params.encoder} --options {params.options:q} "
        "--made {params.made} --key {params.key:q} --device {params.device} --threads {threads} --input {input} "
        "--output {output.data} --record {output.record} 2> {log}"


rule replacements:
    output:
        data=f"{R}/replacements/{{modality}}.h5",
        record=f"{R}/replacements/{{modality}}.json",
    log:
        f"{R}/logs/replacements/{{modality}}.log",
    benchmark:
        f"{R}/benchmarks/replacements/{{modality}}.tsv"
    conda:
        "../../envs/torch.yaml"
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
        "python -m modalens replacements --encoder {params.encoder} --options {params.options:q} "
        "--modality {params.modality} --decode {params.decode:q} --key {params.key:q} --device {params.device} "
        "--output {output.data} --record {output.record} 2> {log}"

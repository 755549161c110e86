# Clips -> frames and waveforms. Failure is data: a clip that cannot be had is a row in the status CSV.
rule clips:
    input:
        f"{R}/manifest/shards/{{shard}}.csv",
    output:
        status=f"{R}/clips/{{shard}}.csv",
        record=f"{R}/clips/{{shard}}.json",
    log:
        f"{R}/logs/clips/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/clips/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        dataset=STUDY["dataset"]["name"],
        media=lambda wildcards, output: output.status.removesuffix(".csv"),
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        code=code("clips", f"datasets/{STUDY['dataset']['name']}"),
    shell:
        "python -m modalens.clips --dataset {params.dataset} --shard {input} --media {params.media} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--output {output.status} --record {output.record} 2> {log}"


rule frames:
    input:
        f"{R}/clips/{{shard}}.csv",
    output:
        data=kept(f"{R}/frames/{{shard}}.h5", STUDY["frames"]["keep"]),
        status=f"{R}/frames/{{shard}}.csv",
        record=f"{R}/frames/{{shard}}.json",
    log:
        f"{R}/logs/frames/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/frames/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        number=STUDY["frames"]["count"],
        resize=STUDY["frames"]["resize"],
        crop=STUDY["frames"]["crop"],
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        code=code("frames"),
    shell:
        "python -m modalens.frames --clips {input} "
        "--count {params.number} --resize {params.resize} --crop {params.crop} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--output {output.data} --status {output.status} --record {output.record} 2> {log}"


rule waveforms:
    input:
        f"{R}/clips/{{shard}}.csv",
    output:
        data=kept(f"{R}/waveforms/{{shard}}.h5", STUDY["waveforms"]["keep"]),
        status=f"{R}/waveforms/{{shard}}.csv",
        record=f"{R}/waveforms/{{shard}}.json",
    log:
        f"{R}/logs/waveforms/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/waveforms/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        rate=STUDY["waveforms"]["sample_rate"],
        seconds=STUDY["waveforms"]["seconds"],
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        code=code("waveforms"),
    shell:
        "python -m modalens.waveforms --clips {input} --sample-rate {params.rate} --seconds {params.seconds} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--output {output.data} --status {output.status} --record {output.record} 2> {log}"

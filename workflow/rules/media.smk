# Clips -> frames and waveforms. Failure is data: a clip that cannot be had is a row in the status CSV.
from modalens.media import fetch_log

# Read once: a job ends by writing the number of the next run.
RUNS = {
    shard: fetch_log.run_number(
        Path(R) / "clips" / "runs" / f"{shard}.json", STUDY["download"]["runs"]
    )
    for shard in SHARDS
}


rule clips:
    input:
        f"{R}/manifest/shards/{{shard}}.csv",
    output:
        status=f"{R}/clips/{{shard}}.csv",
        metadata=f"{R}/clips/{{shard}}.jsonl",
        record=f"{R}/clips/{{shard}}.json",
    log:
        f"{R}/logs/clips/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/clips/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=decoders_mb,
        runtime=minutes(10 + 2 * STUDY["download"]["sleep_s"]),
    params:
        dataset=STUDY["dataset"]["name"],
        # No outputs: Snakemake deletes those before a job runs again, and these are what is kept from run to run.
        media=lambda wildcards: f"{R}/clips/media",
        runs=lambda wildcards: f"{R}/clips/runs/{wildcards.shard}.json",
        # Changes when clips are left to ask for again.
        run=lambda wildcards: RUNS[wildcards.shard],
        offline="" if STUDY["download"]["runs"] else "--offline",
        download=settings(
            {
                name: value
                for name, value in STUDY["download"].items()
                if name != "runs"
            }
        ),
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        code=code("stages/clips", f"datasets/{STUDY['dataset']['name']}"),
    shell:
        "python -m modalens clips --dataset {params.dataset} --shard {input} --media {params.media} "
        "--download {params.download:q} {params.offline} --runs {params.runs} --run {params.run} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--output {output.status} --metadata {output.metadata} --record {output.record} 2> {log}"


rule frames:
    input:
        f"{R}/clips/{{shard}}.csv",
    output:
        data=kept(f"{R}/frames/{{shard}}.h5", STUDY["frames"]["keep"]),
        status=update(f"{R}/frames/{{shard}}.csv"),
        record=f"{R}/frames/{{shard}}.json",
    log:
        f"{R}/logs/frames/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/frames/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=decoders_mb,
        runtime=minutes(4),
    params:
        number=STUDY["frames"]["count"],
        resize=STUDY["frames"]["resize"],
        crop=STUDY["frames"]["crop"],
        sampling=STUDY["frames"]["sampling"],
        decoder=STUDY["frames"]["decoder"],
        refuse=STUDY["media"]["refuse"],
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        made=MADE["frames"],
        consumers=consumers("frames"),
    shell:
        "python -m modalens frames --clips {input} "
        "--count {params.number} --resize {params.resize} --crop {params.crop} "
        "--sampling {params.sampling} --decoder {params.decoder} --refuse {params.refuse} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--made {params.made} --consumers {params.consumers} "
        "--output {output.data} --status {output.status} --record {output.record} 2> {log}"


rule waveforms:
    input:
        f"{R}/clips/{{shard}}.csv",
    output:
        data=kept(f"{R}/waveforms/{{shard}}.h5", STUDY["waveforms"]["keep"]),
        status=update(f"{R}/waveforms/{{shard}}.csv"),
        record=f"{R}/waveforms/{{shard}}.json",
    log:
        f"{R}/logs/waveforms/{{shard}}.log",
    benchmark:
        f"{R}/benchmarks/waveforms/{{shard}}.tsv"
    conda:
        "../../envs/media.yaml"
    threads: STUDY["media"]["threads"]
    resources:
        mem_mb=decoders_mb,
        runtime=minutes(2),
    params:
        rate=STUDY["waveforms"]["sample_rate"],
        seconds=STUDY["waveforms"]["seconds"],
        refuse=STUDY["media"]["refuse"],
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        made=MADE["waveforms"],
        consumers=consumers("waveforms"),
    shell:
        "python -m modalens waveforms --clips {input} --sample-rate {params.rate} --seconds {params.seconds} "
        "--refuse {params.refuse} "
        "--workers {threads} --timeout {params.timeout} --memory-mb {params.memory} "
        "--made {params.made} --consumers {params.consumers} "
        "--output {output.data} --status {output.status} --record {output.record} 2> {log}"

# Clips -> decoded forms. Failure is data: a clip that cannot be had is a row in the status CSV.
from modalens.media import fetch_log

# Read once: a job ends by writing the number of the next run.
RUNS = {
    shard: fetch_log.run_number(
        Path(R) / "clips" / "runs" / f"{shard}.json", STUDY["download"]["max_runs"]
    )
    for shard in SHARDS
}


rule clips:
    """Fetch the media of a shard's clips and look at what is in them: a status row a clip."""
    input:
        listed("shards"),
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
        media=lambda wildcards: (
            [f"{STUDY['cache']}/media", "--shared"]
            if "cache" in STUDY
            else f"{R}/clips/media"
        ),
        runs=lambda wildcards: f"{R}/clips/runs/{wildcards.shard}.json",
        clips=listed_digest("shards"),
        # Changes when clips are left to ask for again.
        run=lambda wildcards: RUNS[wildcards.shard],
        offline=[] if STUDY["download"]["max_runs"] else ["--offline"],
        download=settings(
            {
                name: value
                for name, value in STUDY["download"].items()
                if name != "max_runs"
            }
        ),
        timeout=STUDY["media"]["timeout_s"],
        memory=STUDY["media"]["memory_mb"],
        code=code("stages/clips", f"datasets/{STUDY['dataset']['name']}"),
    shell:
        "python -m modalens clips --dataset {params.dataset:q} --shard {input:q} --media {params.media:q} "
        "--download {params.download:q} {params.offline:q} --runs {params.runs:q} --run {params.run:q} "
        "--workers {threads} --timeout {params.timeout:q} --memory-mb {params.memory:q} "
        "--output {output.status:q} --metadata {output.metadata:q} --record {output.record:q} 2> {log:q}"


for form, entry_of in FORMS.items():

    # One rule a decoded form, called as its folder: frames, waveforms, ...
    rule:
        """Decode a shard's clips to one form, or read what else holds it: a row a clip, or a cause."""
        name:
            form
        input:
            clips=f"{R}/clips/{{shard}}.csv",
            cells=listed("columns") if entry_of["columns"] else [],
            store=[entry_of["store"]] if entry_of["store"] else [],
        output:
            data=kept(f"{R}/{form}/{{shard}}.h5", entry_of["keep"]),
            status=update(f"{R}/{form}/{{shard}}.csv"),
            record=f"{R}/{form}/{{shard}}.json",
        log:
            f"{R}/logs/{form}/{{shard}}.log",
        benchmark:
            f"{R}/benchmarks/{form}/{{shard}}.tsv"
        conda:
            f"../../envs/{entry_of['environment']}.yaml"
        threads: STUDY["media"]["threads"]
        resources:
            mem_mb=decoders_mb,
            runtime=minutes(4),
        params:
            modality=entry_of["modality"],
            options=settings(entry_of["decode"]),
            longest=["--longest", entry_of["longest"]] if entry_of["longest"] else [],
            columns=cells_of(entry_of["columns"]),
            store=["--store", entry_of["store"]] if entry_of["store"] else [],
            cells=listed_digest("columns") if entry_of["columns"] else "",
            reject=STUDY["media"]["reject"],
            timeout=STUDY["media"]["timeout_s"],
            memory=STUDY["media"]["memory_mb"],
            made=MADE[form],
            consumers=consumers(form),
            cache=CACHE,
        shell:
            "python -m modalens decode --modality {params.modality:q} --options {params.options:q} "
            "--clips {input.clips:q} {params.columns:q} {params.store:q} {params.longest:q} --reject {params.reject:q} "
            "--workers {threads} --timeout {params.timeout:q} --memory-mb {params.memory:q} "
            "--made {params.made:q} --consumers {params.consumers:q} {params.cache:q} "
            "--output {output.data:q} --status {output.status:q} --record {output.record:q} 2> {log:q}"

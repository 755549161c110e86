# What a job asks for on a cluster: more with each attempt, and with what it works on. Generous for a slow machine.
def shard_clips(wildcards):
    return wiring.clips_in(FILES.planned(f"manifest/shards/{wildcards.shard}.csv"))


def all_clips():
    return sum(
        wiring.clips_in(FILES.planned(f"manifest/shards/{shard}.csv"))
        for shard in SHARDS
    )


def minutes(seconds_each):
    """For a shard: seconds of one core for each clip, over the threads of the job, and what every job costs."""
    return lambda wildcards, threads, attempt: attempt * (
        20 + int(shard_clips(wildcards) * seconds_each / threads / 60)
    )


def decoders_mb(wildcards, threads, attempt):
    """A stage that decodes: its own, and a process for each thread."""
    return attempt * (1000 + 1500 * threads)


def study_mb(wildcards, attempt):
    """A stage that holds the features of all clips: up to 0.2 MB a clip, and as much again while they are read."""
    return attempt * (3000 + int(0.4 * all_clips()))

#!/usr/bin/env bash
# start.sh start|stop FOLDER: a real SLURM on this machine alone, from Debian's packages, without systemd, cgroups or
# accounting. All of it lies in FOLDER, but for slurm.conf and gres.conf: the jobs of Snakemake's plugin drop SLURM_CONF.
# `start` starts what does not run, so it also brings back a daemon that was killed.
set -euo pipefail

CONFIG=/etc/slurm
MARK="# written by modalens: tests/slurm/start.sh"
USAGE="usage: $0 start|stop FOLDER"
FOLDER=$(realpath -m "${2:?$USAGE}")
# Not SLURM's own numbers, so that a cluster's daemons on this machine are not in the way.
PORT=26817

say() { echo "start.sh: $*" >&2; }

missing() {
  for program in munged slurmctld slurmd srun; do
    command -v $program > /dev/null || { echo $program; return; }
  done
}

runs() { # folder, program: true if the process of its pid file is that program and lives (not a zombie)
  local pid
  pid=$(cat "$1/$2.pid" 2> /dev/null) && grep -qs "^$pid ($2) [^ZX]" "/proc/$pid/stat"
}

ours() { [ ! -e "$1" ] || [ "$(head -n 1 "$1")" = "$MARK" ]; }

configure() {
  local host memory
  host=$(hostname -s)
  memory=$(($(awk '/MemTotal/ {print $2}' /proc/meminfo) / 1024 - 512))
  mkdir -p "$CONFIG"
  # OverMemoryKill: without cgroups it is what ends a job over its memory, at the next look, a second apart.
  cat > "$CONFIG/slurm.conf" << END
$MARK
ClusterName=modalens
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$PORT
SlurmdPort=$((PORT + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$FOLDER/munge.socket
CredType=cred/munge
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
OverTimeLimit=0
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=1-00:00:00 State=UP
END
  # A GPU to ask for, not one to compute on.
  printf '%s\n' "$MARK" "Name=gpu File=/dev/zero" > "$CONFIG/gres.conf"
}

start() {
  local absent
  absent=$(missing)
  [ -z "$absent" ] || { say "no $absent here: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"; exit 1; }
  [ "$(id -u)" = 0 ] || { say "SLURM's daemons need root"; exit 1; }
  for file in "$CONFIG/slurm.conf" "$CONFIG/gres.conf"; do
    ours "$file" || { say "$file is another cluster's: it is left as it is, and nothing was started"; exit 1; }
  done
  mkdir -p "$FOLDER/state" "$FOLDER/spool"
  chmod 755 "$FOLDER"
  grep -qs "^StateSaveLocation=$FOLDER/state$" "$CONFIG/slurm.conf" || configure
  [ -s "$FOLDER/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom > "$FOLDER/munge.key")
  runs "$FOLDER" munged || munged --force --key-file "$FOLDER/munge.key" --socket "$FOLDER/munge.socket" \
    --pid-file "$FOLDER/munged.pid" --log-file "$FOLDER/munged.log" --seed-file "$FOLDER/munged.seed"
  runs "$FOLDER" slurmctld || slurmctld
  runs "$FOLDER" slurmd || slurmd
  for _ in $(seq 60); do
    case "$(sinfo --noheader --partition main --format %t 2> /dev/null)" in idle | mix | alloc) return ;; esac
    sleep 0.5
  done
  say "the node did not come up; see $FOLDER/slurmctld.log and $FOLDER/slurmd.log"
  exit 1
}

stop() {
  local program file
  ! runs "$FOLDER" slurmctld || scancel --user root --quiet || true
  for program in slurmd slurmctld munged; do
    ! runs "$FOLDER" $program || kill "$(cat "$FOLDER/$program.pid")"
    for _ in $(seq 40); do
      runs "$FOLDER" $program || break
      sleep 0.25
    done
  done
  for file in "$CONFIG/slurm.conf" "$CONFIG/gres.conf"; do
    ! ours "$file" || rm -f "$file"
  done
}

case "$1" in
  start) start ;;
  stop) stop ;;
  *) say "$USAGE" ; exit 1 ;;
esac

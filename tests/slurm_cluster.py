"""A SLURM cluster of two nodes on this machine, for tests; needs slurm-wlm, munge and root.

As a command, ``python tests/slurm_cluster.py FOLDER`` starts it, says how to use it, and waits.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
ReturnToService=2
KillWait=10
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{first},{second}] CPUs=2
PartitionName=main Nodes=ALL Default=YES
"""
#: Where the daemon that vouches for users keeps its files.
MUNGE = {
    "key-file": "key",
    "socket": "munge.sock",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "seed",
}
#: What submitit asks of SLURM's accounting, which a small cluster does not have.
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
for word; do
    [ "$before" = -j ] && squeue -h -r -t all -j "$word" -o '%i|%T|%N'
    before=$word
done
"""


class NotStartedError(RuntimeError):
    """A daemon does not come up, as where a container forbids it."""


def can_start():
    """Whether such a cluster can be started here."""
    wanted = ("munged", "slurmctld", "slurmd", "sbatch")
    return os.geteuid() == 0 and all(shutil.which(name) for name in wanted)


@contextlib.contextmanager
def cluster(folder, path=None):
    """Start a cluster whose files lie in a folder; yields the environment to use it in.

    Jobs have one thread, and may import from one folder more, ``path``.
    """
    folder = Path(folder)
    for name in ("ctld", "n1", "n2", "bin"):
        (folder / name).mkdir(parents=True)
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    ports = dict(zip(("port", "first", "second"), free_ports(3), strict=True))
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, **ports).lstrip())
    (folder / "bin" / "sacct").write_text(SACCT)
    (folder / "bin" / "sacct").chmod(0o755)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    environment["PATH"] = f"{folder}/bin:{environment['PATH']}"
    # The names of nodes are none of hosts.
    environment |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    if path is not None:
        environment["PYTHONPATH"] = f"{path}:{os.environ.get('PYTHONPATH', '')}"
    daemons = [
        ["munged", "-F", "--force", *(f"--{key}={folder}/{name}" for key, name in MUNGE.items())],
        ["slurmctld", "-D"],
        *(["slurmd", "-D", "-N", name] for name in ("n1", "n2")),
    ]
    running = []
    idle = ["sinfo", "-h", "-N", "-t", "idle", "-o", "%n"]
    try:
        try:
            for command in daemons:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                running.append(subprocess.Popen(command, env=environment, **quiet))
                if command[0] == "munged":
                    until(lambda: (folder / "munge.sock").exists())
            until(lambda: len(said(idle, environment).split()) == 2)
        except AssertionError as error:
            raise NotStartedError("no SLURM cluster starts on this machine") from error
        yield environment
    finally:
        with contextlib.suppress(OSError):
            said(["scancel", "--state=RUNNING", "--full", "--signal=KILL"], environment)
            said(["scancel", "--user=root"], environment)
        time.sleep(1)
        for daemon in reversed(running):
            daemon.terminate()
        for daemon in running:
            daemon.wait(timeout=20)


def free_ports(count):
    """Ports that nobody listens to."""
    with contextlib.ExitStack() as stack:
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        return [stack.enter_context(server).getsockname()[1] for server in servers]


def said(command, environment, folder=None):
    """What a command prints, run in a folder."""
    options = {"env": environment, "cwd": folder, "capture_output": True, "text": True}
    return subprocess.run(command, **options).stdout.strip()


def until(condition, seconds=30):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with cluster(sys.argv[1]) as variables:
        names = ("SLURM_CONF", "PATH", "MASTER_ADDR")
        print(*(f"export {name}={variables[name]}" for name in names), sep="\n", flush=True)
        time.sleep(1e6)

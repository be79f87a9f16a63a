"""A real Slurm on one machine: one slurmctld, several slurmd with fake GPUs, a private munged.

Everything lives in one folder, listens on free ports and runs in the foreground as our children, so that
:meth:`Cluster.stop` can end each by its process id. Nothing of the machine's own configuration is touched
but ``/etc/hosts``, where node names must resolve (MASTER_ADDR); the lines are removed again.
Needs root, ``slurm-wlm`` and ``munge``; with accounting also ``slurmdbd`` and ``mariadb-server``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

from tests.cluster.accounting import Accounting
from tests.cluster.processes import Daemons, fill, free_ports, processes_with, wait_until

HERE = Path(__file__).parent
NODES = 10
GPUS_PER_NODE = 4
PROGRAMS = ("slurmctld", "slurmd", "munged", "munge", "sbatch", "squeue", "scontrol", "srun")


def why_unavailable() -> str | None:
    """Why no cluster can be started here, None when one can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "a test cluster needs root (device files, slurmd)"


class Cluster:
    """Ten nodes of four fake GPUs each; partitions as in ``slurm.conf.in``.

    remembers: seconds that slurmctld keeps ended jobs (MinJobAge).
    """

    def __init__(self, folder: Path, accounting: bool = False, remembers: int = 600) -> None:
        self.folder = folder
        self.remembers = remembers
        self.name = f"yolox{secrets.token_hex(3)}"
        self.node_prefix = f"{self.name}n"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        self.env["SLURM_CONF"] = str(folder / "slurm.conf")
        self.daemons = Daemons(folder, self.env)
        self.accounting = Accounting(folder, self.daemons) if accounting else None

    def start(self) -> None:
        for name in ("state", "spool", "dev"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munged refuses parents that others may write
        self._write_configuration()
        self._name_nodes()
        self._start_munged()
        if self.accounting is not None:
            self.accounting.start(self.name)
        self.start_controller()
        for number in range(1, NODES + 1):
            self.start_node(number)
        wait_until("all nodes to register", lambda: self._registered() == NODES, 30)

    def stop(self) -> None:
        """Cancel every job, then end every process that we started, by its id."""
        try:
            if "slurmctld" in self.daemons.running and self._ask("scontrol", "ping").returncode == 0:
                for job in set(self._ask("squeue", "-h", "-o", "%A").stdout.split()):
                    self._ask("scontrol", "update", f"JobId={job}", "Requeue=0")
                    self._ask("scancel", "-Q", job)
                wait_until("jobs to end", lambda: not self._ask("squeue", "-h").stdout.strip(), 30)
        finally:
            self.daemons.stop_all()
            for pid in processes_with(f"SLURM_CONF={self.folder / 'slurm.conf'}"):
                os.kill(pid, signal.SIGKILL)  # job steps outlive slurmd
            self._forget_nodes()

    def start_controller(self) -> None:
        self.daemons.start("slurmctld", ["/usr/sbin/slurmctld", "-D"])
        wait_until("slurmctld", lambda: "is UP" in self._ask("scontrol", "ping").stdout, 30)

    def start_node(self, number: int) -> None:
        self.daemons.start(self.node(number), ["/usr/sbin/slurmd", "-D", "-N", self.node(number)])

    def node(self, number: int) -> str:
        return f"{self.node_prefix}{number}"

    def _registered(self) -> int:
        """Nodes that have told their version; they say idle before that."""
        return self._ask("scontrol", "-o", "show", "node").stdout.count(" Version=")

    def _ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)

    def _start_munged(self) -> None:
        key, where = self.folder / "munge.key", self.folder / "munge.sock"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        options = [f"--key-file={key}", f"--socket={where}", f"--seed-file={self.folder}/munge.seed"]
        options += [f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log"]
        self.daemons.start("munged", ["/usr/sbin/munged", "--foreground", *options])
        wait_until("munged", lambda: self._ask("munge", "-n", "-S", str(where)).returncode == 0, 20)

    def _write_configuration(self) -> None:
        for gpu in range(GPUS_PER_NODE):  # slurmd wants a character device; a clone of /dev/null will do
            os.mknod(self.folder / f"dev/gpu{gpu}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        ports = free_ports(NODES + 1)
        host = socket.gethostname().split(".")[0]
        nodes = [
            f"NodeName={self.node(number)} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[number]} "
            f"CPUs=16 RealMemory=64000 Gres=gpu:{GPUS_PER_NODE} State=UNKNOWN"
            for number in range(1, NODES + 1)
        ]
        accounting = "AccountingStorageType=accounting_storage/none"
        if self.accounting is not None:
            accounting = self.accounting.slurm_conf()
        values = {
            "name": self.name,
            "host": host,
            "folder": self.folder,
            "node": self.node_prefix,
            "controller_port": ports[0],
            "accounting": accounting,
            "remembers": self.remembers,
            "nodes": "\n".join(nodes),
        }
        (self.folder / "slurm.conf").write_text(fill((HERE / "slurm.conf.in").read_text(), values))
        devices = f"{self.folder}/dev/gpu[0-{GPUS_PER_NODE - 1}]"
        gres = f"NodeName={self.node_prefix}[1-{NODES}] Name=gpu File={devices}\n"
        (self.folder / "gres.conf").write_text(gres)
        # Unused with linuxproc, but slurmd loads a plugin all the same and fails to detect one on odd mounts.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")

    def _name_nodes(self) -> None:
        names = " ".join(self.node(number) for number in range(1, NODES + 1))
        with Path("/etc/hosts").open("a", encoding="utf-8") as hosts:
            hosts.write(f"127.0.0.1 {names}\n")

    def _forget_nodes(self) -> None:
        hosts = Path("/etc/hosts")
        lines = hosts.read_text(encoding="utf-8").splitlines(keepends=True)
        hosts.write_text("".join(line for line in lines if self.node_prefix not in line), encoding="utf-8")

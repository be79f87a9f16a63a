"""Slurm's accounting for a test cluster: a private MariaDB and slurmdbd, so that ``sacct`` answers."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from tests.cluster.processes import Daemons, fill, free_ports, wait_until

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket=@folder@/munge.sock
DbdHost=localhost
DbdPort=@dbd_port@
SlurmUser=root
PidFile=@folder@/slurmdbd.pid
LogFile=@folder@/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=@database_port@
StorageUser=slurm
StoragePass=@password@
StorageLoc=slurm_acct_db
"""

SLURM_CONF = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=@dbd_port@
AccountingStoragePass=@folder@/munge.sock
AccountingStorageEnforce=limits
AccountingStorageTRES=gres/gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5"""

GRANTS = """
CREATE DATABASE slurm_acct_db;
CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '@password@';
CREATE USER slurm@localhost IDENTIFIED BY '@password@';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
"""


def why_no_accounting() -> str | None:
    """Why sacct cannot be tested here, None when it can."""
    path = "/usr/bin:/usr/sbin"
    missing = [p for p in ("slurmdbd", "mariadbd", "mariadb-install-db") if not shutil.which(p, path=path)]
    return f"no {', '.join(missing)}: apt-get install slurmdbd mariadb-server" if missing else None


class Accounting:
    """MariaDB and slurmdbd inside a cluster's folder."""

    def __init__(self, folder: Path, daemons: Daemons) -> None:
        self.daemons = daemons
        self.folder = folder
        self.database = folder / "database"
        dbd_port, database_port = free_ports(2)
        self.values = {
            "folder": folder,
            "dbd_port": dbd_port,
            "database_port": database_port,
            "password": secrets.token_hex(12),
        }

    def slurm_conf(self) -> str:
        return fill(SLURM_CONF, self.values)

    def start(self, cluster: str) -> None:
        self._start_database()
        conf = self.folder / "slurmdbd.conf"
        conf.touch(mode=0o600)  # slurmdbd insists on it
        conf.write_text(fill(SLURMDBD_CONF, self.values))
        self.daemons.start("slurmdbd", ["/usr/sbin/slurmdbd", "-D"])
        wait_until("slurmdbd", lambda: self._manager("show", "cluster").returncode == 0)
        self._manager("add", "cluster", cluster)
        self._manager("add", "account", "everybody")
        self._manager("add", "user", "root", "account=everybody")

    def limit_jobs(self, number: int) -> None:
        """How many jobs root may have in the queue (MaxSubmitJobs); -1: any number."""
        done = self._manager("modify", "user", "root", "set", f"MaxSubmitJobs={number}")
        assert done.returncode == 0, done.stderr

    def _manager(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sacctmgr", "-inQ", *words], env=self.daemons.env, capture_output=True, text=True, check=False
        )

    def _start_database(self) -> None:
        self.database.mkdir(mode=0o700)
        shutil.chown(self.database, "mysql", "mysql")
        common = ["--no-defaults", "--user=mysql", f"--datadir={self.database}"]
        subprocess.run(
            ["mariadb-install-db", *common, "--skip-test-db", "--auth-root-authentication-method=socket"],
            check=True,
            capture_output=True,
        )
        socket_path = self.database / "mysql.sock"
        network = ["--bind-address=127.0.0.1", f"--port={self.values['database_port']}"]
        tuning = ["--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900"]
        self.daemons.start(
            "mariadbd", ["/usr/sbin/mariadbd", *common, f"--socket={socket_path}", *network, *tuning]
        )
        client = ["mariadb", "--no-defaults", f"--socket={socket_path}"]
        wait_until(
            "MariaDB",
            lambda: (
                subprocess.run([*client, "-e", "SELECT 1"], capture_output=True, check=False).returncode == 0
            ),
        )
        subprocess.run(client, input=fill(GRANTS, self.values), text=True, check=True, capture_output=True)

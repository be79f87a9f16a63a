"""A fake Slurm on PATH: it records what it is asked and answers what it is told, without running anything."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """\
#!{python}
import json, os, sys
from pathlib import Path
folder = Path({folder!r})
name = Path(sys.argv[0]).name
with (folder / "calls.jsonl").open("a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
answers = json.loads((folder / "answers.json").read_text())
silence = {{"status": 0, "out": "", "err": ""}}
special = [answers[key] for key in answers if key.startswith(name + " ") and key.split(" ")[1] in sys.argv]
answer = special[0] if special else answers.get(name, silence)
if name == "sbatch" and answer["status"] == 0 and not answer["out"]:
    count = folder / "count"
    number = int(count.read_text()) + 1
    count.write_text(str(number))
    answer["out"] = str(number)
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["status"])
"""


class FakeSlurm:
    """Slurm's commands, which record their calls and answer what they are told."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.folder = folder
        (folder / "count").write_text("100")
        (folder / "calls.jsonl").touch()
        self._answers: dict[str, dict[str, Any]] = {}
        self._save()
        for name in ("sbatch", "squeue", "scancel", "sinfo", "sacct", "scontrol"):
            path = self.bin / name
            path.write_text(_PROGRAM.format(python=sys.executable, folder=str(folder)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        self.answer("sacct", status=1, err="Slurm accounting storage is disabled\n")

    def open_to_all(self) -> None:
        """Let other accounts call it too; our own interpreter may be hidden from them."""
        for path in self.bin.iterdir():
            path.write_text(path.read_text().replace(f"#!{sys.executable}", "#!/usr/bin/python3", 1))
        for path in (self.bin, *self.bin.iterdir()):
            path.chmod(0o755)
        self.folder.chmod(0o777)
        (self.folder / "calls.jsonl").chmod(0o666)
        (self.folder / "count").chmod(0o666)

    def answer(self, program: str, out: str = "", err: str = "", status: int = 0) -> None:
        """What a program says from now on; ``"squeue --start"`` when it is called with that word."""
        self._answers[program] = {"status": status, "out": out, "err": err}
        self._save()

    def queue(self, *lines: str) -> None:
        """Lines of squeue: name|job|index|state|node|reason."""
        self.answer("squeue", out="".join(f"{line}\n" for line in lines))

    def calls(self, program: str) -> list[list[str]]:
        """Arguments of every call of a program."""
        rows = [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]
        return [row[1:] for row in rows if row[0] == program]

    def _save(self) -> None:
        (self.folder / "answers.json").write_text(json.dumps(self._answers))

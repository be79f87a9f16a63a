"""How values enter a job script: three places, three rules.

- In shell code every value goes through :func:`shell` (single-quoted when it must be).
- ``#SBATCH`` lines are read by sbatch, not by a shell. Values there are words of a small alphabet
  (:func:`directive`), or a path in double quotes, sbatch's own quoting (:func:`path_directive`).
- Comments take single lines (:func:`comment`).

Control characters are refused everywhere: a line break could start a new command.
"""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterable

#: Letters, digits and what Slurm's names, times, sizes, lists and constraints are made of.
_WORD = re.compile(r"[A-Za-z0-9_.,:;=+*/@%&|!()\[\]{}-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ScriptTemplate(string.Template):
    """A job script with ``@{name}`` for what is filled in; the shell's own ``$`` is left alone."""

    delimiter = "@"
    pattern = r"@\{(?P<braced>[a-z_]+)\}|(?P<escaped>(?!))|(?P<named>(?!))|(?P<invalid>(?!))"  # type: ignore[assignment]


def check_printable(value: str, what: str) -> str:
    """Return the value. Raises ValueError when it has control characters, line breaks included."""
    if any(ord(c) < 32 or ord(c) == 127 or c in "\u2028\u2029\x85" for c in value):
        raise ValueError(f"{what} must not contain line breaks or control characters: {value!r}")
    return value


def check_name(value: str, what: str) -> str:
    """Return a name fit for files and job names. Raises ValueError otherwise."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{what} must be letters, digits, '.', '_' and '-', not {value!r}")
    return value


def check_word(value: str, what: str) -> str:
    """Return a word fit for an ``#SBATCH`` line. Raises ValueError otherwise."""
    if not _WORD.fullmatch(value):
        raise ValueError(
            f"{what} is {value!r}: Slurm options take letters, digits and _.,:;=+*/@%&|!()[]{{}}-, no spaces"
        )
    return value


def shell(value: str, what: str = "value") -> str:
    """One word of shell code that stands for exactly this value."""
    return shlex.quote(check_printable(value, what))


def command_line(words: Iterable[str]) -> str:
    """A command as one line of shell code."""
    return " ".join(shell(word, "command word") for word in words)


def directive(option: str, value: str | int | None = None) -> str:
    """An ``#SBATCH`` line. Raises ValueError for a value that sbatch could read as something else."""
    if value is None:
        return f"#SBATCH {check_word(option, 'option')}"
    return f"#SBATCH {option}={check_word(str(value), option)}"


def path_directive(option: str, path: str, pattern: str = "") -> str:
    """An ``#SBATCH`` line with a path, followed by a file pattern such as ``%A_%a.log``.

    Spaces, quotes, ``$`` and ``#`` are kept by sbatch's double quotes. Raises ValueError for ``%`` and
    backslashes in the path, which Slurm expands (``%j``) or drops and offers no escape for.
    """
    check_printable(path, option)
    if "%" in path or "\\" in path:
        raise ValueError(f"{option}: Slurm cannot write to a path with '%' or a backslash: {path}")
    quoted = path.replace('"', '\\"')
    return f'#SBATCH {option}="{quoted}{pattern}"'


def comment(text: str) -> str:
    """A comment line of a script."""
    return f"# {check_printable(text, 'comment')}"

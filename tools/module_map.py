"""One line per file, from their docstrings: python tools/module_map.py [--write] updates README.md."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("roadmap", "yolox_core", "studies", "reports", "slurm")
BEGIN, END = "<!-- map: begin (make map) -->", "<!-- map: end -->"


def module_map() -> str:
    """The map as Markdown: per package, each module with the first sentence of its docstring."""
    lines = []
    for package in PACKAGES:
        lines += [f"**{package}/**", "", "| file | what it is |", "| --- | --- |"]
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"| `{path.relative_to(ROOT / package)}` | {first_sentence(path)} |")
        lines.append("")
    return "\n".join(lines).strip()


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = " ".join(
        (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split()
    )
    for mark in (". ", "? "):
        text = text.split(mark)[0] + (mark[0] if mark in text else "")
    return text.rstrip(".:").replace("|", "\\|")


def with_map(readme: str) -> str:
    """README's text with the map brought up to date."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{module_map()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    if "--write" in sys.argv:
        readme.write_text(with_map(readme.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(module_map() + "\n")

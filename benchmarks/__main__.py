"""Every benchmark against the official code, one after the other, each in a process of its own.

make benchmarks
"""

from __future__ import annotations

import subprocess
import sys

NAMES = ("startup", "augmentation", "assignment", "loss", "training_step", "inference", "evaluation")


def main() -> int:
    """Run them all; 1 when one could not run."""
    failed = []
    for name in NAMES:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\ncould not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

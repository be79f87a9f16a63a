"""What pyproject.toml cannot say: an installed package carries the decision notes, which a report lists."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

NOTES = Path("docs", "decisions")


class WithNotes(build_py):
    """Copies the notes beside the package that reads them, unless it is installed to be edited."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "reports", "decisions")
            self.mkpath(str(target))
            for note in sorted(NOTES.glob("*.md")):
                self.copy_file(str(note), str(target / note.name))


setup(cmdclass={"build_py": WithNotes})

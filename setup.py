import shutil
from pathlib import Path

from scikit_build_core.setuptools.wrapper import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Also puts `training/` into a wheel, as `nucleiseg.training`, for `nucleiseg train`."""

    def run(self):
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "nucleiseg" / "training"
            unwanted = shutil.ignore_patterns("weights", "*.ipynb", "*.md", "__pycache__")
            shutil.copytree("training", target, ignore=unwanted, dirs_exist_ok=True)


setup(cmake_source_dir=".", cmdclass={"build_py": BuildPy})

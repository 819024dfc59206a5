"""Adds to a wheel what lies outside `ssl`: the configs and tables of `experiments` and the recorded results."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ('*.py', '*.txt')
RECORDED = ('digits.json', 'cifar5k_vit.json', 'recipes.json', 'findings/*.json')


class BuildWithConfigs(build_py):
    """`selfsup/experiments` in a built package; a checkout has them beside `ssl`."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'selfsup' / 'experiments'
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build, with configs that are gone
        for pattern in CARRIED:
            for file in (ROOT / 'experiments').rglob(pattern):
                place = target / file.relative_to(ROOT / 'experiments')
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
        for pattern in RECORDED:
            for file in (ROOT / 'docs').glob(pattern):
                place = target / file.relative_to(ROOT / 'docs')
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)


setup(cmdclass={'build_py': BuildWithConfigs})

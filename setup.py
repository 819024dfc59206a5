"""Adds to a wheel what lies outside `ssl`: the configs and tables of `experiments` and the recorded results."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ('*.py', '*.txt')
RECORDED = ('digits.json', 'cifar5k_vit.json', 'recipes.json')


class BuildWithConfigs(build_py):
    """`selfsup/experiments` in a built package; a checkout has them beside `ssl`."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'selfsup' / 'experiments'
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build, with configs that are gone
        for pattern in CARRIED:
            for file in (ROOT / 'experiments').glob(f'*/{pattern}'):
                (target / file.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target / file.parent.name)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / 'experiments' / '__init__.py', target)
        for name in RECORDED:
            shutil.copy(ROOT / 'docs' / name, target)


setup(cmdclass={'build_py': BuildWithConfigs})

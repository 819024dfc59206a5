"""Runs that are compiled once for all tests of a file."""

import copy
import functools
import json

from selfsup.engine.run import Run


class Prepared:
    """In the place of `Run`: what a config was turned into, and compiled, before is used again.

    What is compiled depends on neither `train.stop_after_steps` nor `checkpoint.keep`. `forget` makes the next one
    start from nothing but its workdir, as in another process.
    """

    def __init__(self):
        self.made = {}
        self.forget = self.made.clear

    def __call__(self, config, *, devices=None):
        fields = config.to_dict()
        del fields['train']['stop_after_steps'], fields['checkpoint']['keep']
        key = json.dumps(fields, sort_keys=True), devices
        if key not in self.made:
            self.made[key] = Run(config, devices=devices)
            self.made[key].monitor = functools.cache(self.made[key].monitor)
        found = copy.copy(self.made[key])
        found.config = config
        return found

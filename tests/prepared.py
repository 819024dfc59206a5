"""Runs that are compiled once for all tests of a file."""

import copy
import functools
import json

import jax
import numpy as np
from selfsup.engine.checkpoint import Checkpoints
from selfsup.engine.encoder import read_config
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

    def final_state(self, path):
        """Step and state of a workdir's newest checkpoint."""
        checkpoints = Checkpoints(path)
        found = checkpoints.restore(self(read_config(path), devices=1).shapes)
        checkpoints.close()
        return found

    def assert_same_run(self, a, b):
        """Two workdirs hold the same numbers, to the bit."""
        (step_a, state_a), (step_b, state_b) = self.final_state(a), self.final_state(b)
        assert step_a == step_b
        for (name, x), y in zip(jax.tree_util.tree_leaves_with_path(state_a), jax.tree.leaves(state_b), strict=True):
            np.testing.assert_array_equal(np.asarray(x), np.asarray(y), err_msg=jax.tree_util.keystr(name))
        assert (a / 'metrics.jsonl').read_text() == (b / 'metrics.jsonl').read_text()

"""Records the authors' training runs on small fixed problems, for `tests/test_trajectories.py`.

Needs PyTorch, torchvision, Lightning, omegaconf, timm and git checkouts of the reference repositories;
the tests need none of them. The reference's own script runs from its entry point to its end: model,
loss, optimiser, schedules and order of a step are its code. What this file supplies at run time are the
data, a small backbone, a CPU in the GPU's place, and a note of each loss.

    OMP_WAIT_POLICY=passive PYTHONPATH=tests python tools/golden/trajectories/record.py --root CHECKOUTS
"""

import references
from recording import command
from trajectories import problem

RUNS = {case: (references.run, references.REPOSITORIES[case], entry) for case, (_, entry) in references.RUNS.items()}

if __name__ == '__main__':
    command(__doc__, problem, RUNS, problem.devices)

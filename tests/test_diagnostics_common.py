"""What holds for every diagnostic: jit equals eager, types, docstrings, and that the folder stands alone."""

import ast
import inspect
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from selfsup import diagnostics


def cloud(n=24, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


X, Y, VIEWS, SQUARE = cloud(), cloud(seed=1), cloud(24, 15, 2).reshape(24, 3, 5), np.abs(cloud(24, 24, 3))
LABELS = np.arange(24) % 3
KEY = jax.random.key(0)
DEFAULT = (X,)
ARGUMENTS = {
    'agglomerate': (np.abs(cloud(24, 24)), np.arange(24) // 2, X),
    'alignment': (X, Y),
    'apply_stitch': None,
    'attention_rollout': (np.abs(cloud(2 * 3 * 2 * 4, 4)).reshape(2, 3, 2, 4, 4),),
    'attention_weights': (VIEWS[:, :2, :3],),
    'canonical_correlations': (X, Y),
    'cka': (X, Y),
    'cka_from_terms': (np.abs(cloud(4, 3)),),
    'clid': (KEY, X),
    'clid_scores': (X[:, 0], X[:, 1]),
    'cluster_learnability': (KEY, X),
    'collapse_alarm': (X, Y),
    'csls': (SQUARE,),
    'empty_lidar': None,
    'empty_summary': None,
    'evidence': None,
    'feature_variance_share': (X, Y),
    'dense_structure': (KEY, VIEWS),
    'fit_stitch': (X, Y),
    'hsic_terms': (X, Y),
    'hubness_of': None,
    'inertia': (X, X[:3], np.arange(len(X)) % 3),
    'joint_modes': None,  # the number of modes depends on the values
    'kernel_coordinates': None,  # likewise
    'kmeans': (KEY, X),
    'latent_similarity': (X, Y),
    'lidar': (VIEWS,),
    'linear_optimum': None,
    'local_scaling': (SQUARE,),
    'merge_lidar': None,
    'merge_summaries': None,
    'minibatch_cka': (X, Y),
    'mutual_proximity': (SQUARE,),
    'nearest_by_distance': (SQUARE,),
    'neighbour_recall': (X, Y),
    'neural_collapse': (X, LABELS),
    'nicdm': (SQUARE,),
    'occurrences': None,
    'procrustes': (X, Y),
    'pwcca': (X, Y),
    'relative_alignment': (X, Y),
    'relative_representation': (X, Y),
    'sslmem': (VIEWS, VIEWS + 1),
    'stitching_score': (X, Y, Y, X),
    'svcca': (X, Y),
    'token_rank': (VIEWS, np.arange(72).reshape(24, 3) % 2 == 0),
    'tolerance': (X, LABELS),
    'update_lidar': None,
    'update_summary': None,
    'view_distances': (VIEWS,),
    'whiten': None,
}
OPTIONS = {
    'agglomerate': {'left': 4},
    'neighbour_affinity': {'neighbours': 4},
    'attention_weights': {'heads': 1},
    'alpha_req': {'ranks': (1, 5)},
    'clid': {'clusters': 3, 'k': 4},
    'dense_structure': {'local_clusters': 2, 'global_clusters': 4, 'group': 6},
    'cluster_learnability': {'clusters': 3, 'k': 4},
    'hubness': {'k': 4},
    'kmeans': {'clusters': 3},
    'lid_mle': {'k': 6},
    'lid_moments': {'k': 6},
    'minibatch_cka': {'batch': 8},
    'nearest': {'k': 3},
    'nearest_by_distance': {'k': 3},
    'neural_collapse': {'classes': 3},
    'tolerance': {'classes': 3},
}
FUNCTIONS = [name for name in diagnostics.__all__ if inspect.isfunction(getattr(diagnostics, name))]
CASES = [name for name in FUNCTIONS if ARGUMENTS.get(name, DEFAULT) is not None]


def call(name, dtype, *, jit):
    def cast(a):
        return jnp.asarray(a, dtype) if isinstance(a, np.ndarray) and a.dtype.kind == 'f' else a

    def function(*arguments):
        return getattr(diagnostics, name)(*arguments, **OPTIONS.get(name, {}))

    return (jax.jit(function) if jit else function)(*map(cast, ARGUMENTS.get(name, DEFAULT)))


# Operation by operation they compile long: a spectrum, a similarity, neighbours and classes stand for the others.
@small.each(CASES, quick=('cka', 'hubness', 'lidar', 'neural_collapse', 'rankme'))
def test_jit_equals_eager_and_types_are_kept(name, x64):
    eager, jitted = call(name, jnp.float64, jit=False), call(name, jnp.float64, jit=True)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert a.dtype in (jnp.float64, jnp.int32, jnp.int64, jnp.bool_), a.dtype


@pytest.mark.parametrize('name', [name for name in CASES if name not in ('clid_scores', 'cka_from_terms')])
def test_half_precision_is_promoted(name):
    for leaf in jax.tree.leaves(jax.eval_shape(lambda: call(name, jnp.bfloat16, jit=True))):
        assert leaf.dtype in (jnp.float32, jnp.int32, jnp.bool_), leaf.dtype


@pytest.mark.parametrize('name', FUNCTIONS)
def test_docstrings_and_signatures(name):
    function = getattr(diagnostics, name)
    assert function.__doc__
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default not in (inspect.Parameter.empty, None):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter


def test_all_is_complete():
    public = {n for n, v in vars(diagnostics).items() if not n.startswith('_') and callable(v)}
    assert public <= set(diagnostics.__all__) and len(set(diagnostics.__all__)) == len(diagnostics.__all__)


def test_the_folder_can_be_copied_out():
    for path in Path(diagnostics.__file__).parent.glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module.split('.')[0] in ('jax', 'jaxtyping', 'typing', 'collections')
            elif isinstance(node, ast.Import):
                assert all(a.name.split('.')[0] in ('jax', 'numpy', 'math', 'functools') for a in node.names), path

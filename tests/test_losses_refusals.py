"""Bad input to a loss ends in an error that names the argument and the shapes."""

import jax.numpy as jnp
import pytest
from selfsup import losses

BAD = {
    'other batch': (lambda: losses.vicreg(jnp.ones((4, 3)), jnp.ones((5, 3))), ['z1', 'z2', '[4, 3]', '[5, 3]']),
    'other width': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 2))), ['[4, 3]', '[4, 2]']),
    'one row': (lambda: losses.barlow_twins(jnp.ones((1, 3)), jnp.ones((1, 3))), ['z1', '2 row', '[1, 3]']),
    'empty': (lambda: losses.ntxent(jnp.ones((0, 3)), jnp.ones((0, 3))), ['z1', '[0, 3]']),
    'rank': (lambda: losses.ntxent(jnp.ones((2, 2, 3)), jnp.ones((2, 2, 3))), ['z1', '[2, 2, 3]']),
    'integers': (lambda: losses.ntxent(jnp.ones((4, 3), int), jnp.ones((4, 3))), ['z1', 'int']),
    'temperature': (lambda: losses.ntxent(jnp.ones((4, 3)), jnp.ones((4, 3)), temperature=0.0), ['temperature', '0.0']),
    'queue width': (
        lambda: losses.info_nce(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'triples that count': (
        lambda: losses.mixed_pairs(*3 * (jnp.ones((4, 3)),), jnp.ones(4), counted=jnp.ones(3, bool)),
        ['counted', '[4]', '[3]'],
    ),
    'width of targets': (
        lambda: losses.feature_contrast(*2 * (jnp.ones((4, 3)),), *2 * (jnp.ones((4, 2)),)),
        ['t1', '[4, 2]', '[4, 3]'],
    ),
    'rows of targets': (
        lambda: losses.feature_contrast(*2 * (jnp.ones((4, 3)),), *2 * (jnp.ones((5, 3)),)),
        ['t1', '[5, 3]', '[4, 3]'],
    ),
    'shapes of regions': (
        lambda: losses.detcon(*3 * (jnp.ones((4, 2, 3)),), jnp.ones((4, 3, 3)), *2 * (jnp.zeros((4, 2), int),)),
        ['t2', '[4, 2, 3]', '[4, 3, 3]'],
    ),
    'numbers of regions': (
        lambda: losses.detcon(*4 * (jnp.ones((4, 2, 3)),), jnp.zeros((4, 2), int), jnp.zeros((4, 3), int)),
        ['regions2', '[4, 2]', '[4, 3]'],
    ),
    'tokens of a teacher': (
        lambda: losses.patch_kernel_alignment(jnp.ones((4, 2, 3)), jnp.ones((4, 3, 3))),
        ['teacher', '[4, 2, 3]', '[4, 3, 3]'],
    ),
    'counted tokens': (
        lambda: losses.patch_kernel_alignment(*2 * (jnp.ones((4, 2, 3)),), counted=jnp.ones((4, 3), bool)),
        ['counted', '[4, 2]', '[4, 3]'],
    ),
    'hardest': (
        lambda: losses.info_nce_hardest(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 3)), hardest=9),
        ['hardest=9', '[1, 8]'],
    ),
    'hardest queue width': (
        lambda: losses.info_nce_hardest(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2)), hardest=2),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'mixtures': (
        lambda: losses.mochi(
            jnp.ones((4, 3)),
            jnp.ones((4, 3)),
            jnp.ones((8, 3)),
            jnp.zeros((4, 2), int),
            jnp.ones((4, 2)),
            jnp.zeros((4, 1), int),
            jnp.ones((4, 1)),
            hardest=2,
        ),
        ['pairs', 'own_shares', '[4, 2]'],
    ),
    'consistency queue width': (
        lambda: losses.co2(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'alignment': (lambda: losses.macl(jnp.ones((4, 3)), jnp.ones((4, 3)), reference=2.0), ['reference', '2.0']),
    'memory width': (
        lambda: losses.instance_softmax(jnp.ones((4, 3)), jnp.ones((8, 2)), jnp.arange(4)),
        ['memory', '[8, 2]', '[4, 3]'],
    ),
    'index count': (
        lambda: losses.instance_softmax(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.arange(5)),
        ['index', '[5]', '[4, 3]'],
    ),
    'index outside': (
        lambda: losses.instance_softmax(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.array([0, 1, 2, 8])),
        ['index', '[0, 8)', '0 to 8'],
    ),
    'examples': (
        lambda: losses.instance_softmax(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.arange(4), count=9),
        ['count', '[1, 8]', '9'],
    ),
    'negatives': (
        lambda: losses.instance_nce(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.arange(4), jnp.zeros(4, int)),
        ['negatives', '[4, count]', '[4]'],
    ),
    'candidates': (
        lambda: losses.invariance_propagation(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.arange(4), jnp.zeros(4, int)),
        ['positives', '[4, candidates]', '[4]'],
    ),
    'hops': (lambda: losses.propagated(jnp.zeros((4, 2), int), jnp.arange(4), hops=0), ['hops', '0']),
    'smoothing': (
        lambda: losses.diet(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.ones(8), jnp.arange(4), smoothing=1.0),
        ['smoothing', '1.0'],
    ),
    'bias': (
        lambda: losses.diet(jnp.ones((4, 3)), jnp.ones((8, 3)), jnp.ones(7), jnp.arange(4)),
        ['bias', '[7]', '[8, 3]'],
    ),
    'neighbours queue width': (
        lambda: losses.nnclr(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'relations queue width': (
        lambda: losses.ressl(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'teacher temperature': (
        lambda: losses.ressl(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 3)), teacher_temperature=-1.0),
        ['teacher_temperature', '-1.0'],
    ),
    'prediction and target': (
        lambda: losses.simsiam(jnp.ones((4, 3)), jnp.ones((4, 2))),
        ['p', 'z', '[4, 3]', '[4, 2]'],
    ),
    'byol, second target': (
        lambda: losses.byol(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((5, 3)), jnp.ones((4, 3))),
        ['p2', 'z1', '[4, 3]', '[5, 3]'],
    ),
    'byol, directions': (
        lambda: losses.byol(jnp.ones((4, 3)), jnp.ones((5, 3)), jnp.ones((5, 3)), jnp.ones((4, 3))),
        ['p1', 'p2', '[4, 3]', '[5, 3]'],
    ),
    'label count': (
        lambda: losses.supcon(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(5, int)),
        ['labels', '[5]', '[4, 3]'],
    ),
    'label type': (lambda: losses.supcon(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones(4)), ['labels', 'float']),
    'no other image': (lambda: losses.decoupled(jnp.ones((1, 3)), jnp.ones((1, 3))), ['z1', '2 row', '[1, 3]']),
    'prior': (
        lambda: losses.debiased(jnp.ones((4, 3)), jnp.ones((4, 3)), positive_prior=1.0),
        ['positive_prior', '1.0'],
    ),
    'kernel': (
        lambda: losses.icon_views(jnp.ones((4, 3)), jnp.ones((4, 3)), kernel='cosin'),
        ['kernel', 'cosine, gaussian', 'cosin'],
    ),
    'leak': (lambda: losses.leak(jnp.zeros((3, 3)), share=1.2), ['share', '1.2']),
    'divergence': (
        lambda: losses.icon(jnp.zeros((3, 3)), jnp.zeros((3, 4))),
        ['log_target', 'log_learned', '[3, 3]', '[3, 4]'],
    ),
    'widths': (lambda: losses.gaussian_kernel(jnp.ones((4, 3)), width=jnp.ones(3)), ['width', '[3]', '[4]']),
    'neighbours': (lambda: losses.neighbour_kernel(jnp.ones((4, 3)), k=4), ['k=4', '3', '[4, 3]']),
    'perplexity': (lambda: losses.perplexity_widths(jnp.ones((9, 3)), perplexity=8.0), ['perplexity', '8.0']),
    'kernel labels': (lambda: losses.label_kernel(jnp.ones(4)), ['labels', 'float']),
    'sentences queue width': (
        lambda: losses.esimcse(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((8, 2))),
        ['queue', '[8, 2]', '[4, 3]'],
    ),
    'groups': (lambda: losses.group_whiten(jnp.ones((4, 6)), groups=4), ['groups=4', '[4, 6]']),
    'order of columns': (
        lambda: losses.group_whiten(jnp.ones((4, 6)), jnp.arange(4), groups=2),
        ['order', '[6]', '[4]'],
    ),
    'orders': (
        lambda: losses.whitened_contrastive(jnp.ones((4, 6)), jnp.ones((4, 6)), orders=jnp.arange(6)[None], groups=2),
        ['orders', '[1, 6]'],
    ),
    'rows of a group': (
        lambda: losses.whitened_contrastive(
            jnp.ones((3, 6)), jnp.ones((3, 6)), orders=jnp.zeros((2, 6), int), groups=2, eps=0.0
        ),
        ['3 rows', '3 columns', '[3, 6]'],
    ),
    'centroids': (
        lambda: losses.cluster_negatives(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((5, 2))),
        ['centroids', '[5, 2]', '[4, 3]'],
    ),
    'ball': (lambda: losses.spectral_contrastive(jnp.ones((4, 3)), jnp.ones((4, 3)), ball=0.0), ['ball', '0.0']),
    'scores of pairs': (lambda: losses.mi_smile(jnp.ones((4, 3))), ['scores', '[batch, batch]', '[4, 3]']),
    'one score': (lambda: losses.mi_dv(jnp.ones((1, 1))), ['scores', '2 row']),
    'clip': (lambda: losses.mi_smile(jnp.ones((4, 4)), clip=0.0), ['clip', '0.0']),
    'third view': (
        lambda: losses.mmcr(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((4, 2))),
        ['z1', 'z3', '[4, 3]', '[4, 2]'],
    ),
    'block': (lambda: losses.w_mse(jnp.ones((12, 3)), jnp.ones((12, 3)), block=5), ['block=5', '[12, 3]']),
    'small block': (lambda: losses.w_mse(jnp.ones((4, 4)), jnp.ones((4, 4))), ['4 rows', '4 dims', '[4, 4]']),
    'order': (
        lambda: losses.w_mse(jnp.ones((4, 3)), jnp.ones((4, 3)), order=jnp.arange(4)),
        ['order', '[4, 3]', '[4]'],
    ),
    'covariance': (
        lambda: losses.tico(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.eye(2)),
        ['covariance', '[3, 3]', '[2, 2]'],
    ),
    'directions': (lambda: losses.sigreg(jnp.ones((4, 3)), jnp.ones((5, 2))), ['directions', '[5, 2]', '[4, 3]']),
    'axis': (lambda: losses.intl(jnp.ones((4, 3)), jnp.ones((4, 3)), axis=2), ['axis', '2']),
    'one dimension': (lambda: losses.intl(jnp.ones((4, 1)), jnp.ones((4, 1))), ['two columns', '[4, 1]']),
    'spectrum of one row': (
        lambda: losses.spectral_transform(jnp.ones((1, 4)), losses.power_scale(), axis=1),
        ['two rows', '[1, 4]'],
    ),
    'neighbours of the dimension': (
        lambda: losses.ldreg(jnp.ones((8, 3)), neighbours=8),
        ['neighbours=8', '9 rows', 'z', '[8, 3]'],
    ),
    'reference': (
        lambda: losses.ldreg(jnp.ones((8, 3)), jnp.ones((5, 3)), neighbours=6),
        ['neighbours=6', '6 rows', 'reference', '[5, 3]'],
    ),
    'one neighbour': (lambda: losses.ldreg(jnp.ones((8, 3)), neighbours=1), ['neighbours', '1']),
    'estimator': (lambda: losses.ldreg(jnp.ones((8, 3)), neighbours=4, estimator='mle'), ['estimator', 'mle']),
    'form': (lambda: losses.ldreg(jnp.ones((8, 3)), neighbours=4, form='l3'), ['form', 'l3']),
    'squash': (lambda: losses.e2mc(jnp.ones((8, 3)), squash='tanh'), ['squash', 'tanh']),
    'entropy of one row': (lambda: losses.e2mc(jnp.ones((1, 3))), ['z', '2 row', '[1, 3]']),
    'slices': (
        lambda: losses.centre_scale_shape(jnp.ones((4, 3)), jnp.ones((5, 2))),
        ['directions', '[5, 2]', '[4, 3]'],
    ),
    'chunk': (lambda: losses.care(jnp.ones((6, 3)), jnp.ones((6, 3)), chunk=4), ['chunk=4', '6 rows', 'z1']),
    'prediction': (
        lambda: losses.sie_terms(jnp.ones((4, 3)), jnp.ones((4, 3)), jnp.ones((2, 5))),
        ['predictions', '[2, 5]', '[4, 3]'],
    ),
    'prototypes': (
        lambda: losses.swav(jnp.ones((4, 3)), jnp.ones((4, 3)), prototypes=jnp.ones((5, 2))),
        ['prototypes', '[5, 2]', '[4, 3]'],
    ),
    'queue of codes': (
        lambda: losses.swav(jnp.ones((4, 3)), jnp.ones((4, 3)), prototypes=jnp.ones((5, 3)), queue=jnp.ones((2, 8, 2))),
        ['queue', '[2, 8, 2]', '[4, 3]'],
    ),
    'epsilon': (lambda: losses.sinkhorn(jnp.ones((4, 3)), epsilon=0.0), ['epsilon', '0.0']),
    'crops': (lambda: losses.dino([jnp.ones((4, 3))], [jnp.ones((4, 3))], jnp.zeros(3)), ['2 student', '1 and 1']),
    'scores': (
        lambda: losses.dino([jnp.ones((4, 3)), jnp.ones((4, 2))], [jnp.ones((4, 3))], jnp.zeros(3)),
        ['student[1]', '[4, 3]', '[4, 2]'],
    ),
    'centre': (lambda: losses.dino([jnp.ones((4, 3))] * 2, [jnp.ones((4, 3))], jnp.zeros(2)), ['centre', '[3]', '[2]']),
    'clusters': (
        lambda: losses.deepcluster(
            jnp.ones((4, 3)), prototypes=jnp.ones((2, 5, 3)), assignments=jnp.zeros((5, 2), int)
        ),
        ['assignments', '[4, 3]', '[2, 5, 3]', '[5, 2]'],
    ),
    'maps': (
        lambda: losses.vicregl_local(
            jnp.ones((4, 9, 3)), jnp.ones((4, 9, 2)), jnp.ones((4, 9, 2)), jnp.ones((4, 9, 2))
        ),
        ['maps1', 'maps2', '[4, 9, 3]', '[4, 9, 2]'],
    ),
    'positions': (
        lambda: losses.vicregl_local(
            jnp.ones((4, 9, 3)), jnp.ones((4, 9, 3)), jnp.ones((4, 8, 2)), jnp.ones((4, 9, 2))
        ),
        ['positions1', '[4, 9, 3]', '[4, 8, 2]'],
    ),
}


@pytest.mark.parametrize('call, words', BAD.values(), ids=BAD.keys())
def test_bad_input_is_named(call, words, own_checks):
    with pytest.raises((ValueError, TypeError)) as error:
        call()
    for word in words:
        assert word in str(error.value)

"""`selfsup.embed` and `selfsup.evaluate --only` on images of one's own: sizes, few files, names, broken ones, parts."""

import json

import numpy as np
import pytest
import small
from PIL import Image
from selfsup import embed, evaluate
from selfsup.engine import encoder, evaluations
from selfsup.errors import UserError


class Plain:
    """In the place of an encoder, without a compiler: two statistics of each image of 8 x 8 or 12 x 12 pixels."""

    step = 3
    method = None

    def __init__(self, *overrides):
        self.config = small.digits_config('vicreg', 'evaluate.batch_size=5', 'data.pad=0', *overrides)

    def __call__(self, images):
        if images.shape[1:3] not in ((8, 8), (12, 12)):
            raise UserError(f'images of {images.shape[1]} do not fit')
        flat = images.reshape(len(images), -1).astype(np.float32) / 255
        return np.stack([flat.mean(1), flat.std(1)], axis=1)


@pytest.fixture
def trained(monkeypatch):
    made = Plain()
    monkeypatch.setattr(encoder, 'load', lambda workdir, step=None: made)
    return made


def save(folder, values, *, size=(8, 8), channels=()):
    folder.mkdir(parents=True, exist_ok=True)
    for i, value in enumerate(values):
        Image.fromarray(np.full((*size, *channels), value, np.uint8)).save(folder / f'{i:02d}.png')
    return folder


def embedded(tmp_path, *options):
    out = tmp_path / 'o.npz'
    assert embed.main(['--workdir=r', f'--out={out}', *options]) == 0
    with np.load(out, allow_pickle=False) as arrays:
        return dict(arrays)


def test_a_flat_folder_is_one_part_with_the_name_of_every_file(trained, tmp_path):
    folder = save(tmp_path / 'd', [10, 200, 60])
    found = embedded(tmp_path, f'--data=folder:{folder}')
    assert set(found) == {'features', 'labels', 'index', 'files', 'class_names', 'origin'}
    assert [str(file).rsplit('/', 1)[-1] for file in found['files']] == ['00.png', '01.png', '02.png']
    np.testing.assert_allclose(found['features'][:, 0], np.array([10, 200, 60]) / 255, atol=1e-6)
    assert found['index'].tolist() == [0, 1, 2] and found['labels'].tolist() == [-1] * 3


def test_numbers_that_need_images_refuse_vectors(trained, tmp_path):
    for name in evaluations.OF_IMAGES:
        with pytest.raises(
            UserError, match=f'--only={name} learns from crops of images, and vectors:iris.* vectors .4.'
        ):
            evaluate.main(['--workdir=r', f'--only=knn,{name}', '--data=vectors:iris', f'--out={tmp_path}/n.json'])


def test_one_image_is_enough_and_so_is_one_of_each_class(trained, tmp_path):
    one, two = save(tmp_path / 'one', [10]), tmp_path / 'two'
    for name in ('cat', 'dog'):
        save(two / name, [200])
    (tmp_path / 'list.txt').write_text('one/00.png\n')
    np.savez(tmp_path / 'a.npz', images=np.zeros((2, 8, 8), np.uint8), labels=[0, 1])
    specs = {f'folder:{one}': 1, f'folder:{two}': 2, f'list:{tmp_path}/list.txt': 1, f'npz:{tmp_path}/a.npz': 2}
    for spec, count in specs.items():
        found = embedded(tmp_path, f'--data={spec}')
        assert len(found['features']) == len(found['labels']) == count and 'test_features' not in found


def test_class_folders_without_a_test_set_are_one_part(trained, tmp_path):
    for name, value in (('cat', 10), ('dog', 200)):
        save(tmp_path / 'd' / name, [value] * 4)
    found = embedded(tmp_path, f'--data=folder:{tmp_path / "d"}')
    assert found['labels'].tolist() == [0] * 4 + [1] * 4 and found['class_names'].tolist() == ['cat', 'dog']
    assert all(name in file for name, file in zip(['cat'] * 4 + ['dog'] * 4, found['files'], strict=True))


def test_a_source_with_a_test_set_keeps_its_parts(trained, tmp_path):
    images = np.arange(9, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    np.savez(tmp_path / 'a.npz', train_images=images[:6], train_labels=np.arange(6) % 2, test_images=images[6:])
    found = embedded(tmp_path, f'--data=npz:{tmp_path / "a.npz"}')
    names = {f'{part}_{name}' for part in ('train', 'test') for name in ('features', 'labels', 'index')}
    assert set(found) == names | {'class_names', 'origin'} and found['test_features'].shape == (3, 2)
    assert found['class_names'].tolist() == ['0', '1']  # of the part that has labels


def test_own_data_keep_the_parts_that_the_run_made(trained, tmp_path):
    found = embedded(tmp_path)
    assert found['train_features'].shape == (1438, 2) and found['test_features'].shape == (359, 2)


@pytest.mark.parametrize(
    'options, message',
    [
        ([], 'images of 40 do not fit|mixes image shapes'),
        (['--image-size=zero'], '--image-size must be a whole number from 1 to 8192'),
        (['--image-size=0'], '--image-size must be a whole number from 1 to 8192'),
        (['--image-size=9999'], '--image-size must be a whole number from 1 to 8192'),
        (['--image-size=12', '--channels=2'], '--channels must be 1 or 3'),
    ],
)
def test_sizes_that_do_not_fit_are_named(trained, tmp_path, options, message):
    folder = save(tmp_path / 'd', range(4), size=(40, 50), channels=(3,))
    with pytest.raises(UserError, match=message):
        embedded(tmp_path, f'--data=folder:{folder}', *options)


@pytest.mark.parametrize('channels', [1, 3])
def test_photographs_of_any_size_are_brought_to_the_size_given(trained, tmp_path, channels):
    for i in range(3):
        save(tmp_path / 'd', [50 * i] * (i + 1), size=(40 + i, 50), channels=(3,))
    found = embedded(tmp_path, f'--data=folder:{tmp_path / "d"}', '--image-size=12', f'--channels={channels}')
    assert found['features'].shape == (3, 2)


def test_broken_images_have_no_row(trained, tmp_path, capsys):
    folder = save(tmp_path / 'd', range(0, 120, 10))
    for name in ('00.png', '07.png'):
        (folder / name).write_bytes(b'broken')
    with pytest.raises(UserError, match='00.png'):
        embedded(tmp_path, f'--data=folder:{folder}')
    trained.config.data.on_corrupt = 'skip'
    found = embedded(tmp_path, f'--data=folder:{folder}')
    kept = [1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert found['index'].tolist() == kept and len(set(found['features'][:, 0].tolist())) == 10
    np.testing.assert_allclose(found['features'][:, 0], np.array(kept) * 10 / 255, atol=1e-6)
    assert [str(file)[-6:-4] for file in found['files']] == [f'{n:02d}' for n in kept]
    assert '2 of 12 images cannot be decoded and have no row' in capsys.readouterr().out
    for name in folder.iterdir():
        name.write_bytes(b'broken')
    with pytest.raises(UserError, match='none of the 12 images of .* can be decoded'):
        embedded(tmp_path, f'--data=folder:{folder}')


def test_per_class_of_the_run_does_not_cut_other_data(trained, tmp_path):
    trained.config.data.per_class = 2
    folder = save(tmp_path / 'd', range(6))
    assert len(embedded(tmp_path, f'--data=folder:{folder}')['features']) == 6


def test_evaluate_takes_sizes_and_leaves_unlabelled_images_out(trained, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(24) % 2
    images = np.clip(rng.integers(0, 60, (24, 20, 20, 3)) + 150 * labels[:, None, None, None], 0, 255).astype(np.uint8)
    hidden = np.where(np.arange(24) % 6 == 5, -1, labels)
    np.savez(
        tmp_path / 'a.npz', train_images=images, train_labels=hidden, test_images=images[::-1], test_labels=labels[::-1]
    )
    out = tmp_path / 's.json'
    options = ['--workdir=r', '--only=knn,retrieval', f'--data=npz:{tmp_path / "a.npz"}', f'--out={out}']
    with pytest.raises(UserError, match='images of 20 do not fit'):
        evaluate.main(options)
    with pytest.raises(UserError, match='give --only with --image-size'):
        evaluate.main(['--workdir=r', '--image-size=8'])
    monkeyed = [option.replace('retrieval', 'clustering') for option in options]
    assert evaluate.main([*monkeyed, '--image-size=8']) == 0
    scores = json.loads(out.read_text())
    assert scores['knn'] == 1.0 and scores['cluster_accuracy'] == 1.0

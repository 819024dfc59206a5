"""Inputs that few have: links to themselves, odd separators, strips, names with marks of other programs."""

import os

import numpy as np
import pytest
from PIL import Image
from selfsup import evaluate
from selfsup.data import sources
from selfsup.data.readers import Fitted, _resize_and_crop
from selfsup.engine import workdir
from selfsup.errors import UserError
from selfsup.runs import comparison, listing, tables


def images(folder, count=6):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new('L', (8, 8), number).save(folder / f'{number}.png')


def test_a_link_to_itself_is_a_broken_link(tmp_path):
    for name in 'ab':
        images(tmp_path / name)
    for name in ('a/round.png', 'round', 'b/round'):
        os.symlink(os.path.basename(name), tmp_path / name)
    train, test = sources.open_source(f'folder:{tmp_path}')
    assert len(train) + len(test) == 12 and '3 broken link' in train.notes[0]
    (tmp_path / 'a' / 'config.json').write_text('{}')
    assert list(listing.find(tmp_path)) == [tmp_path / 'a']


@pytest.mark.parametrize('separator', [';', '\t', '|'])
def test_another_separator_is_said(separator, tmp_path):
    images(tmp_path, 1)
    (tmp_path / 'list.csv').write_text(f'0.png{separator}cat\n')
    with pytest.raises(UserError, match='list.csv, line 1: there is no file .*; a .csv is cut at commas'):
        sources.open_source(f'list:{tmp_path}/list.csv')


@pytest.mark.parametrize(
    'line, said', [('image_path,class', "'image_path'; a first line of names is path"), ('a' * 5000, 'aa...')]
)
def test_a_line_that_names_no_file_is_shown_as_far_as_it_helps(line, said, tmp_path):
    (tmp_path / 'list.csv').write_text(f'{line}\n')
    with pytest.raises(UserError, match=said) as refused:
        sources.open_source(f'list:{tmp_path}/list.csv')
    assert len(str(refused.value)) < 500


def test_an_array_that_is_no_plain_one_is_named(tmp_path):
    np.savez(tmp_path / 'a.npz', images=np.zeros((4, 8, 8), np.uint8), names=np.array([None], object))
    with pytest.raises(UserError, match="a.npz is no readable npz file .* its array 'names': Object arrays"):
        sources.open_source(f'npz:{tmp_path}/a.npz')


def test_a_strip_is_resized_around_its_middle(monkeypatch):
    rng = np.random.default_rng(0)
    strip = rng.integers(0, 256, (4, 3000, 3), np.uint8)
    strips = (strip, strip.transpose(1, 0, 2))
    whole = [_resize_and_crop(image, 8) for image in strips]
    monkeypatch.setattr('selfsup.data.readers.MOST_RESIZED', 1000)
    for image, expected in zip(strips, whole, strict=True):
        np.testing.assert_array_equal(_resize_and_crop(image, 8), expected)


def test_a_strip_of_one_pixel_takes_little_memory():
    class Strip:
        def array(self, index):
            return np.zeros((1, 65_000, 3), np.uint8)  # whole, at 224 pixels, it would be 10 GB

    assert Fitted(Strip(), 224, 3, 0).array(0).shape == (224, 224, 3)


@pytest.mark.parametrize('place', ['', 'a', 'train', 'train/a', 'link'])
def test_a_workdir_among_the_images_is_refused(place, tmp_path):
    for name in ('a', 'train/a', 'train/b'):
        images(tmp_path / name, 1)
    (tmp_path / 'link').symlink_to('a')
    with pytest.raises(UserError, match='--workdir=.* holds images of data.source=folder:'):
        workdir.check_apart(tmp_path / place, f'folder:{tmp_path}')
    for good in ('runs', 'train/run'):  # a folder of its own, which is left out of the images
        workdir.check_apart(tmp_path / good, f'folder:{tmp_path}')
    workdir.check_apart(tmp_path / place, f'folder:{tmp_path}/elsewhere')
    (tmp_path / place / 'config.json').write_text('{}')
    workdir.check_apart(tmp_path / place, f'folder:{tmp_path}')


def test_a_comma_in_the_name_of_features(tmp_path):
    arrays = {f'{part}_features': np.eye(6, 3) for part in ('train', 'test')}
    arrays |= {f'{part}_labels': np.arange(6) % 2 for part in ('train', 'test')}
    np.savez(tmp_path / 'a,b.npz', **arrays)
    assert evaluate.main([f'--features={tmp_path}/a,b.npz', '--only=ranks']) == 0


def test_names_are_no_formulas_and_break_no_line(tmp_path, capsys):
    lines = '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'
    names = ('$a_$', '_hidden', 'two\nlines')
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / 'metrics.jsonl').write_text(lines)
    rows = [{'folder': str(tmp_path / name)} for name in names]
    comparison.plot([[row] for row in rows], list(names), tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 0
    tables.table(['', *names], [['x', '1', '2', '3']])
    assert len(capsys.readouterr().out.splitlines()) == 3

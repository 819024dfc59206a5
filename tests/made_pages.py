"""Pages, data and an encoder that the tests of `report.html` share."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import small
from PIL import Image
from selfsup.data.sources import from_arrays
from selfsup.engine import drawn, page, report
from selfsup.engine.page import html
from selfsup.methods import Method

NASTY = '<u>&"\''


class Parsed(HTMLParser):
    """A page read back: its tags must be balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], set(), [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, name, attributes):
        self.tags.add(name)
        self.attributes += [(name, key, value) for key, value in attributes]
        if name not in html.VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open and self.open[-1] == name, (name, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] not in ('script', 'style'):
            self.text.append(data)

    def values(self, key):
        return [value for _, found, value in self.attributes if found == key]

    @property
    def shown(self):
        return ' '.join(' '.join(self.text).split())


class Plain:
    """In the place of an encoder: statistics of each row, whatever its shape."""

    step = 7
    method = Method(None, None, None, None)

    def __init__(self, config):
        self.config = config

    def outputs(self, batch):
        flat = batch.reshape(len(batch), -1).astype(np.float32) / 255
        z = np.stack([flat.mean(1), flat.std(1), flat[:, 0], flat[:, -1], flat.max(1)], axis=1)
        return {'features': z, 'embeddings': 2 * z}

    def __call__(self, batch):
        return self.outputs(batch)['features']


def grey(count, classes, side=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % max(classes, 1) if classes else np.full(count, -1)
    pixels = (
        rng.integers(0, 60, (count, side, side, 1))
        + (190 * np.maximum(labels, 0) // max(classes, 1))[:, None, None, None]
    )
    found = from_arrays('made', np.clip(pixels, 0, 255).astype(np.uint8), labels.astype(np.int32))
    return found.replace(class_names=[f'{c}{NASTY}' for c in range(classes)])


def config_of(*overrides):
    config = small.digits_config('vicreg', 'evaluate.batch_size=16', 'evaluate.label_counts=()', *overrides)
    with config.unlocked():
        config.data.source = f'folder:{NASTY}'
    return config


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(',')[2])))


def facts_of(data, encoder, encoded=None, *, table=None, workdir=Path('/nowhere'), lines=()):
    names, headings = report.REPRESENTATIONS, {'linear': 'linear, all labels'}
    shown = drawn.Drawn(data, encoder, encoded, list(lines))
    return page.Facts(workdir, shown, table or {}, names, headings, {}, '', '', '', [])

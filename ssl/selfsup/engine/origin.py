"""Where the rows of a features file come from: the images that an encoder saw, opened again in the rows' order."""

import json
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

from ..data.sources import Source
from ..errors import UserError
from ..files import expanded, mapped_arrays
from . import build, images

FIELD = 'origin'  # the array of a features file that says where its images lie


def described(config: ConfigDict, spec: str | None) -> str:
    """What :func:`of_rows` needs to find the images again, as JSON.

    Args:
      config: of the encoder, whose `data` says how images are read.
      spec: the source; None for the run's own data, of which `labelled` and `test` were encoded.
    """
    return json.dumps({'source': spec, 'data': dict(config.data)})


def of_rows(config: ConfigDict, given: str = '') -> Source | None:
    """The images behind the test rows of a run on a features file, one a row and in their order.

    Args:
      config: of the run.
      given: another source whose test images they are; by default what the file says.

    Returns:
      None for a run on other data, and for a file without a test part or that does not say where its images lie.

    Raises:
      UserError: where the images cannot be opened, are no images, or are fewer than the file has numbers of.
    """
    kind, _, place = config.data.source.partition(':')
    if kind != 'features':
        return None
    arrays = mapped_arrays(expanded(place), f'data.source={config.data.source}')
    if 'test_index' not in arrays or not (given or FIELD in arrays):
        return None
    index = numbers(arrays, 'test_index', place)
    test = images.open_train_and_test(config, given)['test'] if given else _opened(str(arrays[FIELD]), place)
    if len(index) and index.max() >= len(test):
        raise UserError(
            f'{place} has rows of {int(index.max()) + 1} test images, and {test.name} holds {len(test)}; name the '
            f'source that selfsup embed read by --images'
        )
    if not test.spec.is_image:
        raise UserError(f'{test.name} holds {test.spec.unit} {list(test.spec.shape)}, which cannot be shown')
    return test.select(index, 'of the rows')


def _opened(text: str, place: str) -> Source:
    """The test images that a description names."""
    spec, config = read(text, place, 'name the images by --images')
    try:
        return build.open_data(config).test if spec is None else images.open_parts(config, spec)['test']
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _odd(place, 'name the images by --images') from error


def read(text: str, place: str, instead: str) -> tuple[str | None, ConfigDict]:
    """What :func:`described` wrote: the source, None for the run's own data, and a config with the run's `data`.

    Raises:
      UserError: another text, naming the file `place` and what to do instead.
    """
    try:
        found = json.loads(text)
        return found['source'], ConfigDict({'data': found['data']})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _odd(place, instead) from error


def _odd(place: str, instead: str) -> UserError:
    return UserError(f'{place}: {FIELD} is not as selfsup embed writes it; {instead}')


def numbers(arrays: Mapping[str, np.ndarray], name: str, place: str) -> np.ndarray:
    """The numbers of images in an array of a features file.

    Raises:
      UserError: an array of anything else.
    """
    index = arrays[name]
    if not np.issubdtype(index.dtype, np.integer) or index.ndim != 1 or (len(index) and index.min() < 0):
        raise UserError(f'{place}: {name} must hold numbers of images, not {index.dtype} {list(index.shape)}')
    return index

"""Where metrics go besides `metrics.jsonl`: a row of :data:`LOGGERS` for each name in `config.log.to`.

A logger is a function of :class:`About` that gives `(log, close)`. One that fails while a run goes on is named once and
left out from then on; the files of the run hold everything.
"""

import importlib
import importlib.util
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ..config.fields import flatten
from ..errors import UserError
from ..files import placed, read_json

IDENTITIES = 'loggers.json'  # of the run in each service, so that the next session goes on with the same one
PARAMETERS = 100  # that MLflow takes at once


class About(NamedTuple):
    """What a logger is told of a run.

    Attributes:
      workdir: folder of the run.
      project, name: under which a service lists it.
      identity: of the run in the service; None in its first session, and the logger says what it is then.
      fields: the config, `{'train.epochs': 100, …}`.
      keep: to be called with the identity of a new run.
    """

    workdir: Path
    project: str
    name: str
    identity: str | None
    fields: dict[str, Any]
    keep: Callable[[str], None]


Log = Callable[[int, dict[str, float]], None]  # (step, name -> value)
Logger = tuple[Log, Callable[[], None]]


def tensorboard(about: About) -> Logger:
    """Event files in `tensorboard/` of the workdir."""
    # Protocol-buffer classes come into being at import, where a type checker cannot see them.
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    event, summary = event_pb2.Event, summary_pb2.Summary  # type: ignore[missing-attribute]
    folder, opened = _named(about.workdir / 'tensorboard')
    events = EventFileWriter(folder)

    def close() -> None:
        events.close()
        if opened is not None:
            os.close(opened)

    def log(step: int, values: dict[str, float]) -> None:
        entries = [summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        events.add_event(event(wall_time=time.time(), step=step, summary=summary(value=entries)))

    return log, close


def _named(folder: Path) -> tuple[str, int | None]:
    """A name of a folder that is text, for code that knows no other, and the descriptor that keeps it, to be closed."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:  # bytes of a name that are no UTF-8
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY)
        return f'/proc/self/fd/{opened}', opened
    return str(folder), None


def wandb(about: About) -> Logger:
    """A run of Weights & Biases; `WANDB_MODE=offline` keeps it in the workdir."""
    module = importlib.import_module('wandb')
    identity = about.identity or secrets.token_hex(8)
    run = module.init(
        project=about.project, name=about.name, id=identity, resume='allow', dir=str(about.workdir), config=about.fields
    )  # fmt: skip
    about.keep(identity)
    return lambda step, values: run.log(values, step=step), run.finish


def mlflow(about: About) -> Logger:
    """A run of MLflow, in the experiment `project`; `MLFLOW_TRACKING_URI` says where."""
    client = importlib.import_module('mlflow').MlflowClient()
    identity = about.identity
    if identity is None:
        found = client.get_experiment_by_name(about.project)
        experiment = found.experiment_id if found else client.create_experiment(about.project)
        identity = client.create_run(experiment, run_name=about.name).info.run_id
        about.keep(identity)
        entities = importlib.import_module('mlflow.entities')
        params = [entities.Param(name, str(value)[:500]) for name, value in about.fields.items()]
        for start in range(0, len(params), PARAMETERS):
            client.log_batch(identity, params=params[start : start + PARAMETERS])

    def log(step: int, values: dict[str, float]) -> None:
        now, entities = int(1000 * time.time()), importlib.import_module('mlflow.entities')
        client.log_batch(identity, metrics=[entities.Metric(name, v, now, step) for name, v in values.items()])

    return log, lambda: client.set_terminated(identity)


def trackio(about: About) -> Logger:
    """A run of trackio, in the project's local database."""
    module = importlib.import_module('trackio')
    name = about.identity or f'{about.name}-{secrets.token_hex(2)}'
    run = module.init(project=about.project, name=name, resume='allow', config=about.fields)
    about.keep(name)
    return lambda step, values: run.log(values, step=step), run.finish


LOGGERS: dict[str, Callable[[About], Logger]] = {
    'tensorboard': tensorboard,
    'wandb': wandb,
    'mlflow': mlflow,
    'trackio': trackio,
}


def check_installed(names: tuple[str, ...]) -> None:
    """Refuses a logger whose package is not there.

    Raises:
      UserError: naming it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"log.to: the package {name} is not installed; pip install 'selfsup[loggers]'")


class Loggers:
    """Those of `config.log.to`, opened.

    Raises:
      UserError: naming one that cannot be opened.
    """

    def __init__(self, workdir: Path, config: ConfigDict):
        names, project, name = config.log.to, config.log.project, config.log.name
        file = workdir / IDENTITIES
        identities = read_json(file) if file.exists() else {}
        self._open: dict[str, Logger] = {}
        for logger in names:

            def keep(identity: str, logger: str = logger) -> None:
                identities[logger] = identity
                with placed(file) as temporary:
                    temporary.write_text(json.dumps(identities, indent=2) + '\n')

            about = About(workdir, project, name or workdir.name, identities.get(logger), _plain(config), keep)
            try:
                self._open[logger] = LOGGERS[logger](about)
            except Exception as error:
                raise UserError(f'log.to: {logger} cannot be opened: {_said(error)}') from error

    def log(self, step: int, values: dict[str, float]) -> None:
        self._each(lambda logger: logger[0](step, values))

    def close(self) -> None:
        self._each(lambda logger: logger[1]())

    def _each(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self._open.items()):
            try:
                call(logger)
            except Exception as error:
                del self._open[name]
                print(f'log.to: {name} fails and is left out from here on: {_said(error)}', flush=True)


def _said(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0]


def _plain(config: ConfigDict) -> dict[str, Any]:
    """Fields whose values services take: words and numbers, tuples as words."""
    return {
        name: value if isinstance(value, bool | int | float | str) else str(value)
        for name, value in flatten(config).items()
    }

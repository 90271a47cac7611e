"""TensorBoard: event files in the run folder, read by `tensorboard --logdir outputs`."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text import metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from vaelab import trackers
from vaelab.keys import flatten
from vaelab.trackers import Subject

FOLDER = "tensorboard"


class TensorBoard:
    """Event files, written without torch or TensorFlow."""

    def __init__(self, subject: Subject) -> None:
        self.id = subject.id or FOLDER
        self._writer = EventFileWriter(str(subject.folder / FOLDER))
        if subject.id is not None:
            return
        text = f"```\n{json.dumps(subject.config, indent=2, ensure_ascii=False)}\n```"
        value = Summary.Value(
            tag="config",
            metadata=metadata.create_summary_metadata("config", ""),
            tensor=make_tensor_proto([text.encode()]),
        )
        self._write(Summary(value=[value]), 0)
        settings = {key: value for key, value in flatten(subject.config).items() if value is not None}
        scalars = {k: v if isinstance(v, int | float | str) else str(v) for k, v in settings.items()}
        self._write(hparams_pb(scalars), 0)

    def log(self, row: Mapping[str, Any]) -> None:
        """A scalar for each number."""
        self._scalars(trackers.numbers(row), row["step"])

    def flush(self) -> None:
        """The file has all of it then."""
        self._writer.flush()

    def finish(self, metrics: Mapping[str, float], figures: Mapping[str, Path], step: int) -> None:
        """Scalars, and images as they are encoded."""
        self._scalars({f"test/{name}": value for name, value in metrics.items()}, step)
        for name, path in figures.items():
            with Image.open(path) as image:
                width, height = image.size
            shown = Summary.Image(height=height, width=width, encoded_image_string=path.read_bytes())
            self._write(Summary(value=[Summary.Value(tag=name, image=shown)]), step)

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write(Summary(value=found), step)

    def _write(self, summary: Summary, step: int) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

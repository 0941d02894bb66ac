"""A model on disk: a folder with config.json, model.safetensors, metrics.jsonl and state/.

config.json says everything that sampling needs beside the weights, so a model works on a machine
without the training data; state/ is what continuing a training needs. Every file is replaced whole,
so that whoever kills a training at any moment finds the last complete one. Nothing is a pickle.
"""

import json
import math
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from hitools.core.errors import InputError
from hitools.core.features import EVENT_COLUMNS, PARTICLE_COLUMNS
from hitools.core.files import filling, replacing, write_text
from hitools.core.format import provenance
from hitools.core.format.meta import EventMeta, Selection

if TYPE_CHECKING:
    from torch import Tensor

    from hitools.core.model.first_velocity import FirstVelocity
    from hitools.core.nets.networks import Network, NetworkConfig
    from hitools.core.scaling import Representation

FORMAT: Final = "hitools-model"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True)
class ModelConfig:
    """What config.json holds.

    Attributes:
        network: sizes of both branches.
        representation: between physical events and model space.
        meta: system, energy, selection and provenance of the training events.
        training: all options of the training, as plain values.
        data: number and fingerprint of the training and validation events.
        sampling: solver and steps that hi-sample uses by default.
        first_velocity: of the particles, where it is known without the network (calibration.py).
    """

    network: "NetworkConfig"
    representation: "Representation"
    meta: EventMeta
    training: dict[str, Any]
    data: dict[str, Any]
    sampling: dict[str, Any]
    first_velocity: "FirstVelocity | None" = None


class ModelFolder:
    """Paths and contents of one model."""

    def __init__(self, path: str | Path) -> None:
        """Nothing is read or made yet."""
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.weights_path = self.path / "model.safetensors"
        self.metrics_path = self.path / "metrics.jsonl"
        self.state_folder = self.path / "state"
        self.state_path = self.state_folder / "state.safetensors"

    def begun(self) -> bool:
        """Whether a training began here."""
        return self.config_path.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder and keep every other training out of it.

        The lock is the kernel's and ends with the process, so one that was killed leaves none.

        Raises InputError where another process trains in this folder, or it cannot be made.
        """
        import fcntl

        if self.path.exists() and not self._may_be_written():
            raise InputError(f"{self.path}: exists and is no model folder")
        lock = self.state_folder / "lock"
        with filling(self.state_folder), self._opened(lock) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.path}: another hi-train is writing this model") from None
            except OSError:
                # A file system without locks: nothing better can be done than to go on.
                pass
            self._remove_leftovers()
            try:
                yield
            finally:
                if not self.begun():
                    lock.unlink(missing_ok=True)

    def _opened(self, lock: Path) -> TextIO:
        try:
            return lock.open("a")
        except OSError as error:
            raise InputError(f"{self.path}: cannot write: {error.strerror}") from None

    def _may_be_written(self) -> bool:
        """A folder that is empty, holds a model, or where a training was killed at once."""
        if not self.path.is_dir():
            return False
        expected = {self.state_folder, *self._leftovers()}
        return self.begun() or expected.issuperset(self.path.iterdir())

    def _leftovers(self) -> list[Path]:
        """Temporary files of a run that was killed while it wrote, and the events of its nodes."""
        half_written = [
            leftover
            for path in (self.config_path, self.weights_path, self.metrics_path, self.state_path)
            for leftover in path.parent.glob(f".{path.stem}.*{path.suffix}")
        ]
        return half_written + list(self.state_folder.glob("data-*"))

    def _remove_leftovers(self) -> None:
        for leftover in self._leftovers():
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)

    @property
    def node_data(self) -> Path:
        """Folder for the events of a training on this node, while it runs."""
        return self.state_folder / f"data-{socket.gethostname()}"

    # Configuration ---------------------------------------------------------------------------

    def write_config(self, config: ModelConfig) -> None:
        """Replace config.json."""
        import accelerate
        import numpy as np
        import torch

        from hitools import __version__
        from hitools.core.nets.networks import config_to_dict

        meta = config.meta
        energy = None if math.isnan(meta.sqrt_s_nn_gev) else meta.sqrt_s_nn_gev
        values = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "system": meta.system,
            "sqrt_s_nn_gev": energy,
            "selection": None if meta.selection is None else asdict(meta.selection),
            "event_columns": list(EVENT_COLUMNS),
            "particle_columns": list(PARTICLE_COLUMNS),
            "objective": {
                "target": "velocity",
                "schedule": "cosine, log-SNR within +-20",
                "psi_weight": config.training.get("psi_weight", 0.0),
            },
            "network": config_to_dict(config.network),
            "representation": config.representation.to_dict(),
            "sampling": config.sampling,
            "first_velocity": config.first_velocity and config.first_velocity.to_dict(),
            "training": config.training,
            "data": config.data,
            "versions": {
                "hitools": __version__,
                "torch": torch.__version__,
                "accelerate": accelerate.__version__,
                "numpy": np.__version__,
            },
            "provenance": json.loads(provenance.to_json(meta.provenance)),
        }
        write_text(self.config_path, json.dumps(values, indent=1, allow_nan=False) + "\n")

    def read_values(self) -> dict[str, Any]:
        """What config.json holds, as plain values; its format and columns are checked.

        Raises InputError for a folder without a model, or a file that is not one.
        """
        where = str(self.config_path)
        try:
            values = json.loads(self.config_path.read_text())
        except FileNotFoundError:
            raise InputError(f"{self.path}: no model here: config.json is missing") from None
        except (ValueError, OSError, RecursionError) as error:
            raise InputError(f"{where}: not readable: {error}") from None
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise InputError(f"{where}: expected format {FORMAT!r}")
        with self.as_written():
            if values.get("format_version", 0) > FORMAT_VERSION:
                raise InputError(
                    f"{where}: format_version is {values['format_version']}; "
                    f"this hitools reads up to {FORMAT_VERSION}"
                )
            for name, expected in (
                ("event_columns", EVENT_COLUMNS),
                ("particle_columns", PARTICLE_COLUMNS),
            ):
                if tuple(values.get(name, ())) != expected:
                    raise InputError(f"{where}: {name} are not the ones of this hitools")
            _check_sections(values)
        return values

    def meta_of(self, values: dict[str, Any]) -> EventMeta:
        """Of the training events, out of read_values(). Raises InputError where it is damaged."""
        with self.as_written():
            energy, selection = values["sqrt_s_nn_gev"], values["selection"]
            return EventMeta(
                system=_text_or_none(values["system"]),
                sqrt_s_nn_gev=math.nan if energy is None else float(energy),
                selection=None if selection is None else Selection.from_dict(selection),
                provenance=provenance.from_json(
                    json.dumps(values["provenance"]), str(self.config_path)
                ),
            )

    def read_config(self) -> ModelConfig:
        """Raises InputError for a folder without a model, or a file that is not one."""
        from hitools.core.model.first_velocity import FirstVelocity
        from hitools.core.model.sampling import Sampling
        from hitools.core.nets.networks import config_from_dict
        from hitools.core.representation.by_name import representation_from_dict

        values = self.read_values()
        with self.as_written():
            Sampling(seed=0, **values["sampling"])  # refuses what hi-sample could not use
            representation = representation_from_dict(values["representation"])
            first = None
            if values.get("first_velocity") is not None:
                first = FirstVelocity.from_dict(values["first_velocity"])
                n_events, n_coarse = (
                    representation.n_event_features,
                    representation.n_coarse_features,
                )
                first.check(
                    n_events,
                    n_events + n_coarse,
                    representation.n_hard_sums,
                    representation.n_particle_features,
                )
            return ModelConfig(
                network=config_from_dict(values["network"]),
                representation=representation,
                meta=self.meta_of(values),
                training=values["training"],
                data=values["data"],
                sampling=values["sampling"],
                first_velocity=first,
            )

    @contextmanager
    def as_written(self) -> Iterator[None]:
        """Values that are missing or of another kind become an InputError that names the file."""
        try:
            yield
        except InputError as error:
            if str(error).startswith(str(self.config_path)):
                raise
            raise InputError(f"{self.config_path}: {error}") from None
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(
                f"{self.config_path}: not as hi-train writes it (damaged, or of another version): "
                f"{error!r}"
            ) from None

    # Weights ---------------------------------------------------------------------------------

    def write_weights(self, tensors: Mapping[str, "Tensor"]) -> None:
        """Replace model.safetensors."""
        _write_tensors(self.weights_path, tensors, {})

    def read_weights(self) -> dict[str, "Tensor"]:
        """Raises InputError where there are none yet, or the file is damaged."""
        if not self.weights_path.exists():
            raise InputError(
                f"{self.path}: no weights yet: model.safetensors appears after the first epoch"
            )
        return _read_tensors(self.weights_path)[0]

    def read_model(self) -> tuple["Network", ModelConfig]:
        """The network with its weights, and its configuration."""
        from hitools.core.nets.networks import build

        config = self.read_config()
        model = build(config.network, config.representation)
        self.load_into(model)
        return model, config

    def load_into(self, model: "Network") -> None:
        """Put the stored weights into a network. Raises InputError where they do not fit."""
        try:
            model.load_state_dict(self.read_weights())
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise InputError(f"{self.weights_path}: does not fit the network: {first}") from None

    # Metrics and state -------------------------------------------------------------------------

    def write_metrics(self, epochs: list[dict[str, Any]]) -> None:
        """Replace metrics.jsonl: a line per epoch."""
        write_text(self.metrics_path, "".join(json.dumps(epoch) + "\n" for epoch in epochs))

    def read_metrics(self) -> list[dict[str, Any]]:
        """A dictionary per epoch; none where there is no such file."""
        try:
            lines = self.metrics_path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise InputError(f"{self.metrics_path}: damaged: {error}") from None
        return [self._epoch(line, number) for number, line in enumerate(lines, start=1)]

    def _epoch(self, line: str, number: int) -> dict[str, Any]:
        try:
            epoch: dict[str, Any] = json.loads(line)
            float(epoch["validation"]["total"])
            _ = epoch["training"]["total"], epoch["step"], epoch["best"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise InputError(
                f"{self.metrics_path}: line {number} is {line[:40]!r}, expected an epoch as "
                "hi-train writes it"
            ) from None
        return epoch

    def write_state(self, tensors: Mapping[str, "Tensor"], progress: dict[str, Any]) -> None:
        """Replace everything that continuing needs, in one file: it is of one moment."""
        _write_tensors(self.state_path, tensors, {"progress": json.dumps(progress)})

    def read_state(self) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
        """What write_state wrote; None where nothing was."""
        if not self.state_path.exists():
            return None
        tensors, labels = _read_tensors(self.state_path)
        try:
            return tensors, json.loads(labels["progress"])
        except (KeyError, ValueError, RecursionError):
            raise InputError(f"{self.state_path}: damaged: no progress in it") from None


def _check_sections(values: Mapping[str, Any]) -> None:
    """Raise TypeError, ValueError or KeyError where what all readers use is of another kind."""
    for name in ("training", "data", "sampling"):
        if not isinstance(values[name], dict):
            raise TypeError(f"{name} is {values[name]!r}, expected an object")
    for name in ("n_train", "n_validation", "n_particles"):
        count = values["data"].get(name, 0)
        if type(count) is not int or count < 0:
            raise ValueError(f"data: {name} is {count!r}, expected a whole number")


def _text_or_none(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"system is {value!r}, expected text")


def _write_tensors(path: Path, tensors: Mapping[str, "Tensor"], labels: dict[str, str]) -> None:
    from safetensors.torch import save_file

    with replacing(path) as part:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            part,
            labels,
        )
        # The rename must not reach the disk before the bytes do.
        with part.open("rb") as written, suppress(OSError):
            os.fsync(written.fileno())


def _read_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged: {error}") from None

"""The errors and warnings of the framework; each text is one line and says how to correct the mistake."""

from asd_registry.errors import AsdError, PluginError
from asd_registry.renamed import RenamedWarning

__all__ = [
    "AsdError",
    "AudioError",
    "CacheError",
    "CalibrationError",
    "ConfigError",
    "DataError",
    "EngineError",
    "ModelFileError",
    "MonitorError",
    "PluginError",
    "RemoteError",
    "RenamedWarning",
    "ServerError",
    "SinkError",
    "SourceError",
    "WeightError",
    "WorkerLost",
]


class AudioError(AsdError):
    """A recording that cannot be used."""


class CacheError(AsdError):
    """A cache of embeddings that cannot be read or changed."""


class DataError(AsdError):
    """Files, folders or manifests that do not give the recordings that are needed."""


class ConfigError(AsdError):
    """An unknown or unfitting option, parameter or combination of components."""


class CalibrationError(AsdError):
    """A decision that the calibration clips cannot support."""


class EngineError(AsdError):
    """An engine for work in other processes that cannot be reached, or that breaks off."""


class WorkerLost(EngineError):  # noqa: N818  # what happened to the worker, not to whoever asked for the work
    """A piece of work whose process died before it was done."""


class ModelFileError(AsdError):
    """A model file that cannot be written or read."""


class MonitorError(AsdError):
    """A monitor's state that cannot be kept or read, or a clip that it cannot take."""


class SourceError(AsdError):
    """Sound that cannot be reached while it comes, or that breaks off.

    Parameters
    ----------
    text : str
        What was tried, and how to correct it.
    permanent : bool
        Whether it can never be reached, by the settings and this computer alone: a listener that meets it at its start
        ends, in place of trying again. What depends on another side, or may yet be plugged in, is not. Default: no.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class ServerError(AsdError):
    """A server that cannot be reached, or that does not do what it is asked.

    Parameters
    ----------
    text : str
        Which server, and what came instead.
    status : int, optional
        Code of its answer, as 404; None: there was none.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class RemoteError(AsdError, OSError):
    """A file elsewhere that cannot be reached, read or written.

    Its `strerror` says why, without the address; the text has both, and no password.
    """

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


class SinkError(AsdError):
    """An event that could not be delivered.

    Parameters
    ----------
    text : str
        Where it was to go, and what came instead.
    permanent : bool
        Whether the other side refuses this very event, so that trying again cannot help: it is given up. Default: no.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class WeightError(AsdError):
    """A file of pretrained weights that cannot be had, kept or trusted."""

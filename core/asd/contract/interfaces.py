"""The interfaces that plugins implement.

A constructor stores its keyword parameters, checks them, and does nothing else. Weights load at first use. A complete
detector::

    class Distance(Detector):
        def __init__(self, *, power: float = 2.0) -> None:
            self.power = power

        def fit(self, features):
            self.centre_ = features.mean(axis=0)
            return self

        def score(self, features):
            return (abs(features - self.centre_) ** self.power).sum(axis=1)

Attributes that end in an underscore are what was learned: the model file keeps those that are arrays or numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from asd.contract.parameters import parameters_of
from asd.errors import ModelFileError
from asd.records import (
    Audio,
    Block,
    Channel,
    Event,
    FeatureInfo,
    Float32,
    Float64,
    Recording,
    RemoteFile,
    Representation,
    Rows,
    Windows,
)
from asd_registry import Engine

State = dict[str, npt.NDArray[Any]]

Reason = tuple[str, float]
"""Why a row is unusual: a short text for people, and what it contributes to the row's score."""


@dataclass(frozen=True)
class Runtime:
    """How to compute, as opposed to what.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : {"auto", "fp32", "bf16"}
        ``"auto"`` takes bfloat16 only where the hardware computes in it.
    batch_size : int or None
        Windows at a time; None lets the component choose.
    engine : {"auto", "onnx", "torch"}
        What runs the extractor's network: ONNX Runtime or PyTorch, where the extractor leaves the choice
        (`asd_registry.ComponentSpec.engines`).
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    batch_size: int | None = None
    engine: Literal["auto"] | Engine = "auto"


class Component:
    """What all kinds of components have in common."""

    runtime: Runtime = Runtime()
    """Set by the pipeline before first use; components that compute nothing heavy ignore it."""

    origin: str = ""
    """Kind, name, distribution and version, for messages; set where a component is created by its name."""

    isolation: Literal["process"] | None = None
    """``"process"``: the pipeline runs an extractor or front end in a worker process, because what it imports clashes
    with other libraries. Only `Extractor.embed` and `Frontend.__call__` run there: nothing else may import it. Of
    detectors and data sets it has no effect."""

    renamed: ClassVar[Mapping[str, str]] = {}
    """Present name of each parameter that had another one: the former names keep working, with a warning."""

    def get_params(self) -> dict[str, Any]:
        """Return the constructor's parameters as they were given or defaulted."""
        return {name: getattr(self, name) for name in parameters_of(type(self))}

    def computes_with(self) -> Runtime:
        """Return the runtime with what this component takes for ``auto`` on this machine. Default: as it is.

        The model file keeps it, so that scores on another machine are computed in the same precision.
        """
        return self.runtime

    def close(self) -> None:
        """Release what the component holds, such as a worker process; the next use takes it again. Default: nothing."""

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return parameters for a quick trial by `asd.testing`: small, without the network.

        Parameters
        ----------
        folder : Path
            An empty folder for files that the parameters name, such as a tiny network or a tiny data set.
        """
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"


class Frontend(Component, ABC):
    """Turns sound into windows of a representation.

    The core passes it one channel at `sample_rate`, at least `window_length` samples long. Window i must depend on
    the samples ``[i * window_hop, i * window_hop + window_length)`` alone, so that a long recording can be cut into
    blocks without a seam. What belongs to the recording's ends is the core's work: `pad_start` and `pad_end`, and,
    where the windows end before the recording does, one more window that ends with its last sample
    (`asd.Config.tail`). A front end that needs the whole recording at once says ``window_length = None``; it is not
    padded.

    Several threads call one front end at the same time (``--workers``): `__call__` keeps nothing on `self` between or
    during calls, except behind a lock.
    """

    sample_rate: int
    """Rate in Hz that the front end needs."""

    pad_start: int = 0
    """Samples of silence that the core puts before a recording; the first window starts that much before it."""

    pad_end: bool = False
    """Whether the core fills the last window up with silence, instead of moving it back to the recording's end."""

    @property
    @abstractmethod
    def produces(self) -> Representation:
        """What one window holds."""

    @property
    @abstractmethod
    def window_length(self) -> int | None:
        """Samples that one window covers, or None if it covers the whole recording."""

    @property
    @abstractmethod
    def window_hop(self) -> int:
        """Samples from the start of one window to the start of the next."""

    @abstractmethod
    def __call__(self, audio: Audio) -> Windows:
        """Cut `audio` (one channel at `sample_rate`) into windows."""


class Extractor(Component, ABC):
    """Turns windows into embeddings."""

    @property
    @abstractmethod
    def consumes(self) -> Representation:
        """What it takes; kind ``"any"`` takes everything."""

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """Length of an embedding; None if it follows the input."""

    @abstractmethod
    def embed(self, values: Any) -> Float32:
        """Return the embeddings, float32[n_windows, dimension], of n_windows windows."""

    def features(self) -> Sequence[FeatureInfo]:
        """Return what each value of an embedding measures, for `Detector.explain`. Default: nothing is known of them.

        Extractors whose values mean nothing to people (a network's) leave it empty.
        """
        return ()

    def choose_engine(self, clips: int) -> Runtime:
        """Return the runtime with the engine, and its precision, that ``auto`` stands for here. Default: as it is.

        The pipeline asks before first use, and only an extractor whose spec names several `engines`; it then sets what
        it got as `runtime`. Nothing heavy may be imported for it: all embeddings may be in the cache.

        Parameters
        ----------
        clips : int
            How many clips are to be embedded; 0: unknown, maybe one.

        Raises
        ------
        AsdError
            If no engine can compute what the runtime asks for.
        """
        return self.runtime

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each weight file in use, by file name; the model file pins them."""
        return {}


class Detector(Component, ABC):
    """Learns normal features and scores others: higher is always more anomalous.

    A detector that wants to know which clip, and which group of clips, a training row comes from says so::

        class Banks(Detector):
            takes_rows = True

            def fit(self, features, rows=None):
                ...
    """

    takes_rows: ClassVar[bool] = False
    """Whether `fit` takes a second argument, ``rows``, an `asd.plugin.Rows` or None; `fit_rows` passes it on."""

    half_precision: ClassVar[tuple[str, ...]] = ()
    """Arrays of its state that may be rounded to half precision (float16) after the fit, so that model files are small:
    references, say, but no matrix that is solved for. They come back in the precision that they had."""

    takes_units: ClassVar[bool] = False
    """Whether it needs the features in their own units, such as dB: no standardisation and no PCA come before it."""

    @abstractmethod
    def fit(self, features: Float32) -> Self:
        """Learn from float32[n, d] features of normal windows."""

    @abstractmethod
    def score(self, features: Float32) -> Float64:
        """Return one anomaly score per row of `features`, float64[n]; higher is more anomalous."""

    def explain(self, features: Float32, infos: Sequence[FeatureInfo] = ()) -> list[list[Reason]]:
        """Return why each row is unusual; an optional capability. Default: no reason for any row.

        Parameters
        ----------
        features : float32 array of shape (n, d)
            Features as `score` takes them. A clip as a whole is explained by the mean of its rows.
        infos : sequence of FeatureInfo
            What each of the d values measures (`Extractor.features`); empty: not known.

        Returns
        -------
        list of list of (str, float)
            For each row its reasons, the largest contribution first: a text such as ``"14 dB louder at
            2.1–2.6 kHz"``, and what it contributes in the score's unit. A row that is as usual has none.
        """
        return [[] for _ in features]

    def check_saveable(self) -> None:
        """Find out whether what it will learn can be kept in a model file; called before any recording is read.

        Raises
        ------
        ConfigError
            If it cannot. The default raises nothing: arrays always can.
        """

    def get_state(self) -> State:
        """Return what was learned as arrays: every attribute whose name ends in one underscore."""
        return {
            name: np.asarray(value)
            for name, value in vars(self).items()
            if name.endswith("_") and not name.startswith("_")
        }

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        ModelFileError
            If an array has a name that `get_state` gives to none: a model file must not replace a method.
        """
        for name, value in state.items():
            if name.startswith("_") or not name.endswith("_"):
                raise ModelFileError(f"{type(self).__name__}: the model has an array {name!r}, which no fit leaves")
            setattr(self, name, value)


def fit_rows(detector: Detector, features: Float32, rows: Rows | None) -> Detector:
    """Return the detector, fitted to features and, if it takes them, to `rows`."""
    fit: Any = detector.fit
    fitted: Detector = fit(features, rows) if detector.takes_rows else fit(features)
    return fitted


class Dataset(Component, ABC):
    """Knows the layout of a published collection: which file is which machine, split, label and domain."""

    channel: Channel = "mix"
    """The channel of its recordings that an experiment uses, as `asd.Config.channel` names it."""

    def downloads(self) -> Sequence[RemoteFile]:
        """Return the files to fetch for what the parameters choose; none: there is nothing to fetch."""
        return ()

    @abstractmethod
    def recordings(self, folder: Path) -> Sequence[Recording]:
        """Return the recordings below `folder`, ordered by path, from names and label files alone.

        Raises
        ------
        DataError
            If the folder does not hold this dataset (what was found, what was expected), or is incomplete.
        """


class Source(Component, ABC):
    """Delivers the sound of a machine while it comes: a microphone, a stream, a folder that is being filled."""

    paced: bool = True
    """Whether sound comes at its own pace, so that a listener which cannot keep up must say so; a property may tell."""
    patience: float | None = None
    """Seconds without sound after which a listener tells that something is wrong; None: ten seconds for a source
    that is paced, never for another; a property may tell."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Connect, and yield the sound in the order of time, in blocks of at most a second; the end is the source's.

        The listener calls it in a thread of its own, and again after an error, with growing pauses. It may yield an
        empty block where nothing came for a second, so that the listener can stop it. It releases what it holds when
        the iterator is closed.

        Raises
        ------
        SourceError
            If the sound cannot be reached, or breaks off; the text says what was tried and how to correct it, and
            `permanent` whether trying again can never help.
        """


class Sink(Component, ABC):
    """Tells somebody of events: a file, a web address, a broker, a mailbox."""

    @abstractmethod
    def send(self, event: Event) -> None:
        """Deliver an event; the return means that it has arrived and need never be sent again.

        The listener calls it in a thread of its own, in the order of the events, with a time limit; what fails stays in
        the queue and is tried again, with growing pauses.

        Raises
        ------
        SinkError
            If it could not be delivered; the text says where it was to go, and what came instead.
        """


class WorkEngine(Component, ABC):
    """Runs pieces of work in other processes, on this computer or on others.

    Constructor parameters are the component's own; one of them is ``scheduler``, a text or None: what the user gives
    as ``--scheduler``, such as ``tcp://host:8786`` or ``local:4``. A piece is a function of an importable module with
    its arguments; these and what it returns can be pickled. The core counts the pieces, keeps few of them waiting and
    repeats those whose worker died (`asd.experiment.over_clips`, `asd.experiment.each`): an engine need not.

    All methods are called by one thread at a time.
    """

    @abstractmethod
    def start(self) -> None:
        """Connect to the workers, or start them; of an engine that has started already, nothing.

        Raises
        ------
        EngineError
            If that is not possible; the text says the address, what was expected, and how to correct it.
        """

    @property
    @abstractmethod
    def slots(self) -> int:
        """Pieces that run at once; it may change while workers come and go, and is 1 or more."""

    @abstractmethod
    def scatter(self, value: Any) -> Any:
        """Send read-only `value` to the workers, once each, and return a handle that stands for it in `submit`.

        Workers that come later, or take the place of one that died, get it, too.
        """

    @abstractmethod
    def submit(self, function: Callable[..., Any], /, *args: Any, needs: Mapping[str, float] | None = None) -> Any:
        """Have a worker call ``function(*args)``, in which handles stand for what was scattered; return the task.

        Parameters
        ----------
        function : callable
            Of an importable module.
        *args : Any
            Its arguments.
        needs : mapping of str to float, optional
            What the piece takes of a worker's declared resources: ``{"GPU": 1}``. An engine whose workers declare none
            ignores it.
        """

    @abstractmethod
    def wait(self, tasks: Collection[Any]) -> None:
        """Return when at least one of the tasks is done, whether it succeeded, failed or lost its worker.

        Raises
        ------
        EngineError
            If none ever will be: the engine is gone.
        """

    @abstractmethod
    def done(self, task: Any) -> bool:
        """Return whether `result` would answer at once."""

    @abstractmethod
    def result(self, task: Any) -> Any:
        """Return what the function returned, or raise what it raised.

        Raises
        ------
        WorkerLost
            If the process that ran it died. Only this very piece is lost: others go on elsewhere.
        EngineError
            If the engine is gone.
        """

    @abstractmethod
    def cancel(self, tasks: Collection[Any]) -> None:
        """Give up tasks, so that they begin no more; nobody will ask for their results. It does not wait."""

    @abstractmethod
    def everywhere(self, function: Callable[..., Any], /, *args: Any) -> dict[str, Any]:
        """Call ``function(*args)`` once on each worker there is, and return what it returned, by the worker's address.

        Raises
        ------
        EngineError
            If there is no worker, or one does not answer. What the function raises is raised.
        """

    @classmethod
    def adopt(cls, thing: object) -> Self | None:
        """Return an engine that runs its pieces by `thing`, an object of another library, such as a client of its.

        `close` of such an engine leaves `thing` open. None: it is nothing that this engine knows; nothing heavy may be
        imported to find that out. Default: None.
        """
        return None

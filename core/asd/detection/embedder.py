"""A front end and an extractor: from a clip's samples to windows, from windows to embeddings.

What is in the embedding cache is taken from there. Its key covers all that decides the values: the content of the clip,
front end and extractor with every parameter, the files that these name, the weights' hashes, the versions and editable
sources of all libraries involved, the device, the precision, the batch size and the machine.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from asd.contract.create import adopted, create, load_class
from asd.contract.installed import registry
from asd.contract.interfaces import Component, Extractor, Frontend, Runtime
from asd.contract.own import OwnSpec, obstacle
from asd.contract.parameters import parameters_of, present_names
from asd.detection.config import Choice, ResolvedConfig
from asd.detection.embeddings import EmbeddingCache, to_json
from asd.detection.engine import with_engine
from asd.detection.features import PADDED, ClipFeatures, Cost
from asd.detection.identity import content_of, features_identity, is_pinned, stamp_of
from asd.detection.results import clip_errors, component_call, embeddings_of, windows_of
from asd.errors import AudioError, ConfigError, DataError
from asd.records import Audio, Clip, Float32, Float64, Windows
from asd.sound.reading import ClipReader
from asd_registry import Kind

_BLOCK_SECONDS = 30.0
"""Sound that is turned into windows at once: bounds memory, whatever the length of a recording."""

_FACTS = ("seconds", "file_rate", "channels", "level", "silent", "notes", "device", "precision", "engine")
"""What the cache keeps of a clip besides its embeddings."""

_LONGEST_WINDOW = 3600.0
"""Seconds; the core pads shorter recordings to a window, which must fit into memory."""

_HIGHEST_RATE = 10_000_000
"""Hz; ultrasound included."""

_loading = threading.RLock()


@dataclass(frozen=True)
class Found:
    """What the cache holds of a clip.

    Parameters
    ----------
    features : ClipFeatures or None
        None: they must be computed.
    key : str or None
        Under which they are to be kept; None: they are not.
    stamp : tuple
        Tells whether the file has changed since the key was made.
    """

    features: ClipFeatures | None = None
    key: str | None = None
    stamp: tuple[Any, ...] = ()


class Facts(Protocol):
    """What is known of a clip that was read: attributes as of `asd.sound.reading.ClipReader`."""

    clip: Clip
    seconds: float
    file_rate: int
    channels: int
    level: float
    silent: bool
    notes: list[str]


class Embedder:
    """A front end and an extractor that fit, of a pipeline's branch.

    Parameters
    ----------
    config : ResolvedConfig
        A pipeline of one branch.
    runtime : Runtime
        How to compute.
    clips : int
        How many are to be embedded, as the best engine may depend on it; 0: unknown.
    cache : EmbeddingCache, optional
        Where embeddings are kept. If it knows this pair, the components and the libraries that they need are loaded
        when a clip has to be computed, otherwise at once.

    Attributes
    ----------
    is_network : bool
        Whether the extractor runs a network, by an engine: several windows at a time may then cost less each.
    busy : Lock
        Held while the extractor computes, where several threads may want it to.

    Raises
    ------
    PluginError, ConfigError
        If a component cannot be created, or the extractor does not take what the front end gives.
    """

    def __init__(self, config: ResolvedConfig, runtime: Runtime, clips: int, cache: EmbeddingCache | None) -> None:
        self.config = config
        self.runtime = with_engine(config.extractor.name, runtime, clips, self._new_extractor)
        self._components: tuple[Frontend, Extractor] | None = None
        self._width: int | None = None
        self._obstacle: str | None = None
        self._is_own = _is_own("frontend", config.frontend) or _is_own("extractor", config.extractor)
        self.is_network = bool(registry().find("extractor", config.extractor.name).spec.engines)
        self.busy = threading.Lock()
        self._request = self._asked() if cache else None
        self._description = cache.recall(self._request) if cache and self._request else None
        if self._description is None:
            self._load()

    def compute_as(self, asked: Runtime, used: Runtime | None) -> None:
        """Compute as another process decided, before the first use.

        Parameters
        ----------
        asked : Runtime
            Its `runtime`.
        used : Runtime or None
            What that meant there, where ``auto`` might mean something else here; None: it is explicit.
        """
        self._become(asked)
        if used is not None:
            with component_call(self.extractor):
                if self.extractor.computes_with() != used:
                    self._become(used)

    def _become(self, runtime: Runtime) -> None:
        if runtime != self.runtime:
            self.runtime = runtime
            self._components = self._description = self._request = None

    @property
    def frontend(self) -> Frontend:
        """The front end."""
        return self._load()[0]

    @property
    def extractor(self) -> Extractor:
        """The extractor."""
        return self._load()[1]

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that the front end needs."""
        return int(self.description["sample_rate"]) if self._components is None else self.frontend.sample_rate

    def parameters(self, kind: Literal["frontend", "extractor"]) -> dict[str, Any]:
        """Return every parameter of the front end or the extractor."""
        if self._components is None:
            return dict(self.description[kind]["parameters"])
        component: Component = getattr(self, kind)
        return component.get_params()

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each weight file of the extractor, by file name."""
        if self._components is None:
            return dict(self.description["weights"])
        with component_call(self.extractor):
            return self.extractor.weight_hashes()

    @property
    def description(self) -> dict[str, Any]:
        """All that decides the embeddings of a clip, save the clip: what the cache goes by."""
        if self._description is None:
            frontend, extractor = self._load()
            identity = features_identity(self.config, self.runtime, frontend.get_params(), extractor.get_params())
            facts = {"sample_rate": frontend.sample_rate, "weights": extractor.weight_hashes()}
            self._description = {**identity, **facts}
        return self._description

    def _asked(self) -> str | None:
        """Return what decides the embeddings as far as it is known without the components; None: unknown."""
        if self._is_own:
            return None
        with suppress(TypeError, ValueError):
            given = self.config.frontend.parameters, self.config.extractor.parameters
            return to_json({**features_identity(self.config, self.runtime, *given), "seed": self.config.seed})
        return None

    def _load(self) -> tuple[Frontend, Extractor]:
        with _loading:  # threads that decode need the front end while this one needs the extractor
            if self._components is None:
                self._components = self._created()
            return self._components

    def _created(self) -> tuple[Frontend, Extractor]:
        frontend_choice, extractor_choice = self.config.frontend, self.config.extractor
        frontend = _made("frontend", frontend_choice, self.config.seed)
        extractor = self._new_extractor()
        with component_call(frontend):
            _check_frontend(frontend, frontend_choice.name)
        with component_call(extractor):
            if not extractor.consumes.accepts(frontend.produces):
                raise ConfigError(_misfit(frontend, extractor, frontend_choice.name, extractor_choice.name))
        self._obstacle = _obstacle("frontend", frontend_choice, frontend) or _obstacle(
            "extractor", extractor_choice, extractor
        )
        if frontend.isolation or extractor.isolation:
            from asd.contract.isolation import isolated

            frontend = isolated(frontend, frontend_choice.name)
            extractor = isolated(extractor, extractor_choice.name)
        frontend.runtime = extractor.runtime = self.runtime
        return frontend, extractor

    def _new_extractor(self) -> Extractor:
        extractor: Extractor = _made("extractor", self.config.extractor, self.config.seed)
        return extractor

    @property
    def obstacle(self) -> str | None:
        """Why a model file cannot keep the front end or the extractor; None: it can, or both are of plugins."""
        if self._is_own:
            self._load()
        return self._obstacle

    def share(self, known: dict[str, Any]) -> None:
        """Use front end and extractor of `known` that compute the same; those that it has not are added to it."""
        if self._is_own:
            return
        frontend, extractor = self._load()
        how = asdict(self.runtime)
        first = to_json(["frontend", self.config.frontend.name, frontend.get_params(), how])
        weights = extractor.weight_hashes()
        second = to_json(["extractor", self.config.extractor.name, extractor.get_params(), how, weights])
        extractor, self.busy = known.setdefault(second, (extractor, self.busy))
        self._components = known.setdefault(first, frontend), extractor

    def forget_clips(self) -> None:
        """Forget how many values the embeddings of former clips have."""
        self._width = None

    def close(self) -> None:
        """End the worker processes of the components; the next use starts them again."""
        for part in self._components or ():
            part.close()

    def windows(self, reader: ClipReader) -> Iterator[Windows]:
        """Yield the windows of a clip block by block, their starts counted from the beginning of the clip.

        Raises
        ------
        AudioError
            If the clip cannot be read, or is shorter than a window and the configuration refuses that.
        """
        frontend, rate = self.frontend, self.frontend.sample_rate
        length, hop = frontend.window_length, frontend.window_hop

        def cut(samples: Float32, offset: int) -> Windows:
            with clip_errors(reader.clip):
                windows = windows_of(frontend, Audio(samples[np.newaxis], rate, str(reader.clip)))
            return Windows(windows.values, windows.start + offset / rate, windows.duration)

        for offset, samples in self._blocks(reader):
            windows = cut(samples, offset)
            # Only the last block can hold more samples than its windows look at.
            if length is not None and (len(samples) - length) % hop and self.config.tail == "move":
                last = cut(samples[-length:], offset + len(samples) - length)
                if not windows.values.flags.c_contiguous:  # a copy would be larger, or of a slower order
                    yield windows
                    windows = last
                else:
                    values = np.concatenate([windows.values, last.values])
                    windows = Windows(values, np.concatenate([windows.start, last.start]), windows.duration)
            yield windows

    def _blocks(self, reader: ClipReader) -> Iterator[tuple[int, Float32]]:
        """Yield (offset in samples, samples) so that the blocks' windows are those of the whole recording."""
        length, hop = self.frontend.window_length, self.frontend.window_hop
        if length is None:
            yield 0, np.concatenate(list(reader))
            return
        advance = max(1, int(_BLOCK_SECONDS * self.frontend.sample_rate) // hop) * hop
        needed = advance - hop + length
        pad_start = self.frontend.pad_start
        pending = [np.zeros(pad_start, np.float32)]
        size, offset = pad_start, -pad_start
        for samples in reader:
            pending.append(samples)
            size += len(samples)
            while size >= needed + hop:  # one window more is to come: the last block is never empty
                joined = np.concatenate(pending)
                yield offset, joined[:needed]
                pending, size, offset = [joined[advance:]], size - advance, offset + advance
        joined = np.concatenate(pending)
        before = max(0, -offset)  # what was put before the recording does not make it long enough
        own = joined[before:]
        padded = self._padded(own, length, reader)
        last = joined if padded is own else np.concatenate([joined[:before], padded])  # a copy takes longest of all
        missing = (length - len(last)) % hop if self.frontend.pad_end else 0
        yield offset, np.pad(last, (0, missing)) if missing else last

    def _padded(self, samples: Float32, length: int, reader: ClipReader) -> Float32:
        if len(samples) >= length:
            return samples
        rate = self.frontend.sample_rate
        reason = f"{len(samples) / rate:.3g} s is shorter than a window of {length / rate:.3g} s"
        if self.config.short == "refuse":
            raise AudioError(f"{reader.clip}: {reason}; record longer clips or use --short pad")
        reader.notes.append(f"{reason}: {PADDED}")
        return np.resize(samples, length)

    def collect(self, reader: Facts, blocks: list[tuple[Float32, Float64]]) -> ClipFeatures:
        """Return what the embeddings and starts of a clip's blocks, and the reader that read it, say of the clip."""
        values, starts = zip(*blocks, strict=True)
        with component_call(self.extractor):
            used = self.extractor.computes_with()
        return ClipFeatures(
            clip=reader.clip,
            values=np.concatenate(values),
            start=np.concatenate(starts),
            seconds=reader.seconds,
            file_rate=reader.file_rate,
            channels=reader.channels,
            level=reader.level,
            silent=reader.silent,
            notes=reader.notes,
            device=used.device,
            precision=used.precision,
            engine=used.engine,
        )

    def embed(self, clip: Clip, windows: Windows) -> tuple[Float32, Float64]:
        """Return the embeddings of windows of a clip, and their starts.

        Raises
        ------
        AudioError
            If the extractor cannot embed them, or gives another dimension than for the clips before.
        """
        extractor = self.extractor
        with clip_errors(clip), self.busy:
            values = embeddings_of(extractor, windows.values)
            self._check_width(values.shape[1])
        return values, windows.start

    def kept_as(self, cache: EmbeddingCache) -> str | None:
        """Return the description as text; None if a parameter cannot be written down, or a class is no plugin's.

        The code of such a class may change under its name, as a notebook's does at every run.
        """
        if self._is_own:
            return None
        if self._components is None and self._asked() != self._request:
            self._load()
            self._description = None  # a file that a parameter names has changed since
        with suppress(TypeError, ValueError):
            new = self._description is None
            described = to_json(self.description)
            if new and self._request and is_pinned(self.config, self.description):
                cache.remember(self._request, described)
            return described
        return None

    def find(self, clip: Clip, cache: EmbeddingCache, identity: str) -> Found:
        """Return what the cache holds of a clip; `identity` is the digest of what `kept_as` returns."""
        try:
            stamp = stamp_of(clip.path)
            content = content_of(clip.path, stamp)
        except OSError:  # reading it says what is wrong
            return Found()
        key = _key(clip, content, identity)
        features = self._loaded(clip, key, cache)
        return Found(None, key, stamp) if features is None else Found(features)

    def recall(self, clip: Clip, content: str, cache: EmbeddingCache, identity: str) -> ClipFeatures | None:
        """Return what the cache holds of a clip whose recording, of this SHA-256, need not be there any more."""
        return self._loaded(clip, _key(clip, content, identity), cache)

    @staticmethod
    def _loaded(clip: Clip, key: str, cache: EmbeddingCache) -> ClipFeatures | None:
        entry = cache.load(key)
        if entry is None:
            return None
        values, start, facts = entry
        cost = Cost(**facts.pop("cost"))
        return ClipFeatures(clip=clip, values=values, start=start, cost=cost, **facts)

    def keep(self, features: ClipFeatures, found: Found, cache: EmbeddingCache | None, described: str | None) -> None:
        """Keep embeddings in the cache, if there is one and the clip's file is still what was read."""
        if not (cache and described and found.key):
            return
        with suppress(OSError):
            if stamp_of(features.clip.path) == found.stamp:  # else the key may be that of another content
                facts = {name: getattr(features, name) for name in _FACTS}
                facts["cost"] = asdict(features.cost)
                cache.store(found.key, described, features.values, features.start, facts)

    def _check_width(self, width: int) -> None:
        if self._width is None:
            self._width = width
        if width != self._width:
            raise DataError(
                f"its embeddings have {width} values, those of the clips before it {self._width}; choose a front end "
                "with windows of one size"
            )


def _key(clip: Clip, content: str, identity: str) -> str:
    """Return the name of a clip's embeddings in the cache."""
    decisive = to_json([identity, content, clip.start, clip.duration])  # its name and its folder are not
    return hashlib.sha256(decisive.encode()).hexdigest()


def _check_frontend(frontend: Frontend, name: str) -> None:
    """Refuse lengths that cannot be cut; a model file may hold any."""
    rate, length, hop = frontend.sample_rate, frontend.window_length, frontend.window_hop
    numbers = (rate, frontend.pad_start, *(() if length is None else (length, hop)))
    if not all(isinstance(number, int | np.integer) for number in numbers):
        raise ConfigError(f"front end {name!r}: rate, window and hop must be whole numbers of samples, got {numbers}")
    if not 1 <= rate <= _HIGHEST_RATE:
        raise ConfigError(f"front end {name!r}: computes at {rate} Hz; expected 1 to {_HIGHEST_RATE}")
    if length is not None and (not 1 <= length <= _LONGEST_WINDOW * rate or hop < 1):
        raise ConfigError(
            f"front end {name!r}: has windows of {length / rate:.6g} s every {hop / rate:.6g} s; expected windows "
            f"of up to {_LONGEST_WINDOW:.0f} s and a step above 0"
        )
    if not 0 <= frontend.pad_start <= _LONGEST_WINDOW * rate:
        raise ConfigError(
            f"front end {name!r}: puts {frontend.pad_start} samples before a recording; expected 0 or more"
        )


def _misfit(frontend: Frontend, extractor: Extractor, frontend_name: str, extractor_name: str) -> str:
    """Return why the two do not fit and, if only the rate is wrong, what to add."""
    takes, gives = extractor.consumes, frontend.produces
    if not takes.accepts(replace(gives, sample_rate=None)):
        return f"{extractor_name} takes {takes}; {frontend_name} gives {gives}"
    settable = "sample_rate" in parameters_of(type(frontend))
    mend = f"add --frontend.sample_rate {takes.sample_rate}" if settable else "choose another front end"
    return (
        f"{extractor_name} takes {takes.kind} at {takes.sample_rate} Hz; "
        f"{frontend_name} gives it at {gives.sample_rate} Hz: {mend}"
    )


def _is_own(kind: Kind, choice: Choice) -> bool:
    """Return whether a component is not of a plugin's making: it is of another class, or an object with a state."""
    return choice.instance is not None or isinstance(registry().find(kind, choice.name).spec, OwnSpec)


def _made(kind: Literal["frontend", "extractor"], choice: Choice, seed: int) -> Any:
    """Return the component that was given as an object, or a new one."""
    if choice.instance is not None:
        return adopted(choice.instance, registry().find(kind, choice.name))
    return create(kind, choice.name, seeded(kind, choice, seed))


def _obstacle(kind: Literal["frontend", "extractor"], choice: Choice, component: Component) -> str | None:
    """Return why a model file cannot keep a component that is not of a plugin's making; it was not used yet."""
    return obstacle(kind, choice.name, component) if _is_own(kind, choice) else None


def seeded(kind: Kind, choice: Choice, seed: int) -> dict[str, Any]:
    """Return the parameters of a chosen component; a ``seed`` that the user did not set is the pipeline's."""
    cls = load_class(registry().find(kind, choice.name))
    given = present_names(cls, f"{kind} {choice.name!r}", choice.parameters)
    return {"seed": seed, **given} if "seed" in parameters_of(cls) else given

"""Get a model's files from a folder on this machine, or from the Hugging Face hub and its cache."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asd.errors import ConfigError, WeightError
from asd.plugin import is_offline
from asd_transformers.switches import follow_offline

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


class Folder:
    """A model's folder on this machine.

    Parameters
    ----------
    path : Path
        The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def find(self, file: str) -> Path | None:
        """Return the path of a file of the model, None if the model has no such file."""
        path = self.path / file
        return path if path.is_file() else None

    def code(self) -> list[Path]:
        """Return the Python files that come with the model."""
        return sorted(self.path.rglob("*.py"))


class Repository:
    """A model of the hub; each file is downloaded to huggingface_hub's cache when it is needed.

    Parameters
    ----------
    name : str
        ``owner/name``.
    revision : str or None
        Branch, tag or commit; None: ``main``.
    """

    def __init__(self, name: str, revision: str | None) -> None:
        self.name = name
        self.revision = revision
        self.path: Path | None = None

    def find(self, file: str) -> Path | None:
        """Return the path of a file of the model, None if the model has no such file.

        Raises
        ------
        WeightError
            If the hub cannot be reached, or has no such model or revision for this user.
        """
        follow_offline()
        from huggingface_hub import try_to_load_from_cache

        if self.path is not None:
            kept = try_to_load_from_cache(self.name, file, revision=self.path.name)
            if kept is not None or is_offline():
                return Path(kept) if isinstance(kept, str) else None  # the cache also knows what does not exist
        path = self._fetch(file)
        if path is not None:
            self.path = path.parent
        return path

    def _fetch(self, file: str) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            with _quiet():
                return Path(hf_hub_download(self.name, file, revision=self._commit(), local_files_only=is_offline()))
        except LocalEntryNotFoundError as error:
            raise WeightError(self._unreachable()) from error
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:  # the hub's own errors, and those of the transfer
            raise WeightError(self._refused(error)) from error

    def code(self) -> list[Path]:
        """Fetch the Python files that come with the model and return their paths."""
        follow_offline()
        from huggingface_hub import snapshot_download

        try:
            folder = snapshot_download(
                self.name, revision=self._commit(), allow_patterns=["*.py"], local_files_only=is_offline()
            )
        except (OSError, ValueError) as error:
            raise WeightError(self._refused(error)) from error
        return sorted(Path(folder).rglob("*.py"))

    def _commit(self) -> str | None:
        # All files must come from one commit, even if the branch changes meanwhile.
        return self.revision if self.path is None else self.path.name

    def _unreachable(self) -> str:
        from huggingface_hub import is_offline_mode
        from huggingface_hub.constants import HF_HUB_CACHE

        if is_offline():
            reason = "the network is forbidden (ASD_OFFLINE or --offline)"
        elif is_offline_mode():
            reason = "the network is forbidden (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)"
        else:
            reason = "the hub cannot be reached"
        return (
            f"{self.name} is no folder here and not in the cache {HF_HUB_CACHE}, and {reason}: fetch it where there is "
            f"a network ('hf download {self.name} --local-dir FOLDER'), copy FOLDER here and give its path"
        )

    def _refused(self, error: Exception) -> str:
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

        if isinstance(error, GatedRepoError):
            return f"{self.name}: its owner asks for consent to terms first: give it on its page, then 'hf auth login'"
        if isinstance(error, RepositoryNotFoundError):
            return (
                f"{self.name} is no folder here, and the hub has no such model (or it is private: 'hf auth login'); "
                "check the spelling, it is owner/name"
            )
        if isinstance(error, RevisionNotFoundError):
            return f"{self.name} has no revision {self.revision!r} on the hub; give a branch, a tag or a commit of it"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return f"{self.name}: the hub did not deliver it ({reason}); try again later, or copy its folder here"


Source = Folder | Repository


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence huggingface_hub's warnings about failed attempts: the last one becomes an error."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    level = get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        set_verbosity(level)


def open_source(model: str, revision: str | None) -> Source:
    """Return where the files of `model` come from: a folder if there is one of this name, otherwise the hub.

    Raises
    ------
    ConfigError
        If it is neither a folder nor a name that the hub could have, or a folder is given with a revision.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ConfigError(f"{model} is a folder, which has no revisions: leave out --extractor.revision")
        return Folder(path)
    if path.is_file():
        raise ConfigError(f"{model} is a file; give the folder that holds config.json and model.safetensors")
    if not _HUB_NAME.fullmatch(model):
        raise ConfigError(
            f"{model}: no such folder; give the folder of a model (with config.json, preprocessor_config.json and "
            "model.safetensors) or its name on the hub (owner/name)"
        )
    return Repository(model, revision)

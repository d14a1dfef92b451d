"""The Hugging Face hub as a file system: each file is asked for alone, and as it is now."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.hf_file_system import HfFileSystemResolvedRepositoryPath


class Hub(HfFileSystem):
    """The hub, without what makes huggingface_hub list a file's whole folder, and believe that list for ever."""

    def now(self, place: str) -> Hub:
        """Return the same for one step: it has listed nothing yet, and takes no repository for missing."""
        fresh: Hub = object.__new__(type(self))
        fresh.__dict__.update(self.__dict__)
        fresh.dircache = {}
        fresh.invalidate_cache(place)
        return fresh

    def info(self, path: str, refresh: bool = False, revision: str | None = None, **options: Any) -> dict[str, Any]:
        """Return what the hub says of a file; with its last commit, it is asked for the file alone."""
        return super().info(path, refresh, revision, **{"expand_info": True, **options})

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """Return a file's content; a whole one by one request."""
        whole = {"block_size": 0} if start is None and end is None else {}
        content: bytes = super().cat_file(path, start, end, **whole, **options)
        return content

    def check_writable(self, place: str) -> None:
        """Ask whether the repository of a place may be written to: a trial would be a commit, which stays."""
        repository = self.resolve_path(place)
        if isinstance(repository, HfFileSystemResolvedRepositoryPath):
            api = HfApi(endpoint=self.endpoint, token=self.token)
            with suppress(TypeError):  # an older library cannot ask
                api.auth_check(repository.repo_id, repo_type=repository.repo_type, write=True)

"""fsspec's file systems for addresses, imported when the first address is named, and what their errors mean."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asd.errors import RemoteError
from asd.files.address import ARCHIVES, Address, is_url, mask_in, masked
from asd.files.fetch import is_offline

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "adl": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "webdav": "webdav4[fsspec]",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "smb": "smbprotocol",
    "gdrive": "gdrivefs",
    "dropbox": "dropboxdrivefs",
    "oss": "ossfs",
    "libarchive": "libarchive-c",
}
"""What pip must install for a scheme, besides fsspec."""
_REMOTE = "pip install 'asd-framework[remote]'"
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials; of a public bucket FSSPEC_S3_ANON=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or 'gcloud auth application-default login'; of a public bucket "
    "FSSPEC_GS_TOKEN=anon",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "hf": "'hf auth login', or HF_TOKEN",
    "http": "user and password; a signed address ends after some time",
    "webdav": """FSSPEC_WEBDAV_AUTH='["user", "password"]'""",
}
_LACKING = {
    "az": "name the account by AZURE_STORAGE_CONNECTION_STRING, or by AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY",
    "webdav": "name the server by FSSPEC_WEBDAV_BASE_URL=https://host/folder, user and password, if it asks for them, "
    """by FSSPEC_WEBDAV_AUTH='["user", "password"]'""",
}
"""What to set, by the scheme, where a file system cannot be made."""
_ALIKE = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "https": "http"}
_SETTINGS = ("AWS_", "FSSPEC_", "GOOGLE_", "STORAGE_EMULATOR_", "GCSFS_", "AZURE_", "HF_", "HTTP", "http")
"""What the names of variables begin with that libraries take credentials and addresses from."""
_TALKATIVE = {"gs": ("gcsfs", "google.auth"), "az": ("adlfs", "azure")}
"""Loggers, by the scheme, that tell on their own what the error says; who sets logging up still gets it."""
_GRPC = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"
"""The variable of gcsfs that says whether it asks, by another protocol, what kind each bucket is."""
_CONNECT_SECONDS, _READ_SECONDS = 15.0, 60.0
_OPEN_ARCHIVES = 4
_SHOWN = 160

_lock = threading.Lock()


def filesystem_of(address: Address) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and what the address is called there.

    Raises
    ------
    RemoteError
        If its scheme is unknown or not installed, or the network is forbidden; if the archive cannot be read.
    """
    url = str(address)
    if address.needs_network and is_offline():
        raise failure(url, "the network is forbidden (ASD_OFFLINE or --offline); name files of this computer")
    if address.scheme in ARCHIVES:
        return _archive(address), address.path
    fsspec = _fsspec(address)
    try:
        if address.before:
            fs, place = fsspec.core.url_to_fs(url)
            return fs, place
        cls = fsspec.get_filesystem_class(address.scheme)
        given = cls._get_kwargs_from_urls(url)
        fs = _created(os.getpid(), _settings(), address.scheme, tuple(sorted(given.items())))
        place = cls._strip_protocol(url)
        return (fs.now(place) if address.scheme == "hf" else fs), place
    except Exception as error:
        raise explained(error, address) from error


def _fsspec(address: Address) -> Any:
    try:
        import fsspec.core
    except ImportError:
        raise failure(str(address), f"reading addresses needs fsspec: {_REMOTE}") from None
    return fsspec


@functools.lru_cache(maxsize=32)
def _created(_: int, __: int, scheme: str, given: tuple[tuple[str, Any], ...]) -> Any:
    """Return a file system that remembers no listing.

    There is one for each process, as its threads do not survive a fork, and for each state of what sets credentials.
    """
    from fsspec.config import conf

    create = _class_of(scheme)
    for name in _TALKATIVE.get(_ALIKE.get(scheme, scheme), ()):
        logging.getLogger(name).addHandler(logging.NullHandler())
    own: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in ("s3", "s3a"):
        own["config_kwargs"] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"max_attempts": 2},
        }
    elif scheme in ("http", "https"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        own["client_kwargs"] = {"timeout": timeout}
    chosen: Mapping[str, Any] = conf.get(scheme, {})
    wanted = {name: value for name, value in own.items() if name not in chosen} | dict(given)
    given_auth = chosen.get("auth")
    auth = {"auth": tuple(given_auth)} if isinstance(given_auth, list) else {}  # JSON has no pairs
    try:
        fs = create(**wanted, **auth)
        if hasattr(fs, "service_client"):
            _check_server(fs.service_client.url)
        return fs
    except TypeError:  # one that knows no listings to be remembered
        pass
    try:
        return create(skip_instance_cache=True, **dict(given), **auth)
    except TypeError as error:  # whose text may have the password in it
        raise failure(f"{scheme}://", _LACKING.get(scheme, f"check what FSSPEC_{scheme.upper()}_… sets")) from error


def _check_server(url: str) -> None:
    """Raise an OSError if nobody answers there: for a misspelt account, Azure's library takes a minute and a half."""
    from urllib.request import getproxies

    server = urlsplit(url)
    if not getproxies():
        port = server.port or (443 if server.scheme == "https" else 80)
        socket.create_connection((server.hostname, port), _CONNECT_SECONDS).close()


def _class_of(scheme: str) -> Any:
    """Return the class of a scheme's file systems.

    That of gcsfs asks before each step, by gRPC and with Google's default credentials alone, whether the bucket is of a
    kind that has to be read by gRPC. It is only taken if the user asks for it.
    """
    import fsspec

    cls = fsspec.get_filesystem_class(scheme)
    if cls.__module__ == "gcsfs.extended_gcsfs" and _GRPC not in os.environ:
        from gcsfs.core import GCSFileSystem

        return GCSFileSystem
    if scheme == "hf":
        from asd.files.hub import Hub

        return Hub
    return cls


def _settings() -> int:
    """Return what changes when a variable does that libraries take credentials and addresses from."""
    return hash(tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SETTINGS))))


def _archive(address: Address) -> Any:
    """Return the file system in an archive, as it is now."""
    from asd.files.remote import RemotePath, as_path

    archive = as_path(address.archive)
    fsspec = _fsspec(address)
    try:
        status = archive.stat()
        version = archive.facts().version if isinstance(archive, RemotePath) else str(status.st_ctime_ns)
        key = (os.getpid(), address.scheme, str(archive.absolute()), status.st_size, status.st_mtime_ns, version)
        with _lock:
            kept = _archives.pop(key, None) or _unpacked(fsspec, address.scheme, archive)
            _archives[key] = kept
            while len(_archives) > _OPEN_ARCHIVES:
                del _archives[next(iter(_archives))]
        return kept
    except Exception as error:
        raise explained(error, Address.of(address.archive) if is_url(address.archive) else address) from error


def _unpacked(fsspec: Any, scheme: str, archive: Path) -> Any:
    file = archive.open("rb")
    try:
        return fsspec.filesystem(scheme, fo=file)
    except BaseException:
        file.close()
        raise


_archives: dict[tuple[Any, ...], Any] = {}


def failure(url: str | Path, reason: str) -> RemoteError:
    """Return the error for an address, which is masked."""
    return RemoteError(errno.EIO, reason, masked(url) if isinstance(url, str) else str(url))


@contextlib.contextmanager
def explaining(address: Address, but: type[Exception] = RemoteError) -> Iterator[None]:
    """Turn whatever a file system raises inside the block into an OSError whose `strerror` says what is wrong.

    Parameters
    ----------
    address : Address
        Where it was asked for something.
    but : type
        What passes as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    RemoteError
        If it cannot be had for another reason.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise explained(error, address) from error


def explained(error: BaseException, address: Address) -> OSError:
    """Return the error to raise in place of what a file system raised."""
    url = str(address)
    if isinstance(error, RemoteError) or (isinstance(error, FileNotFoundError) and error.errno == errno.ENOENT):
        return error
    chain = list(_chain(error))
    answers = [*chain, *(getattr(each, "response", None) for each in chain)]
    codes = [getattr(each, name, None) for each in answers for name in ("status", "status_code")]
    codes += [getattr(each, "code", None) for each in chain if type(each).__module__.startswith("gcsfs.")]
    status = next((code for code in codes if isinstance(code, int)), None)
    names = {cls.__name__ for each in chain for cls in type(each).__mro__}
    text = " ".join(str(error).split())
    if text.startswith("Forbidden: "):  # all that gcsfs says of a status
        status = 403
    if "RepositoryNotFoundError" in names:
        return failure(url, f"no such repository, or a private one; check {_CREDENTIALS['hf']}")
    if status is not None and status >= 400 and status not in (404, 410):
        return failure(url, _status_reason(status, address))
    if isinstance(error, ImportError):
        return failure(url, _missing_package(address))
    if isinstance(error, ValueError) and "Protocol not known" in text:
        return failure(url, f"no scheme is called {address.scheme}://; expected s3, gs, az, hf, https, webdav or zip")
    for known, reason in _REASONS:
        if names & known:
            return failure(url, reason)
    if text.startswith("unable to connect to account"):  # adlfs: nothing, or nothing usable, names one
        return failure(url, _LACKING["az"])
    if names & {
        "PermissionError",
        "NoCredentialsError",
        "NoAuthHandlerFound",
        "ClientAuthenticationError",
        "RefreshError",
    }:
        return failure(url, _refused(address))
    if any("bucket does not exist" in str(each) for each in chain):
        return failure(url, f"no such bucket ({address.path.partition('/')[0]}); is it written correctly?")
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(errno.ENOENT, "no such object", masked(url))
    return failure(url, f"{type(error).__name__}: {mask_in(text.replace(url, masked(url)))[:_SHOWN]}")


_REASONS = (
    ({"OfflineModeIsEnabled"}, "the network is forbidden (HF_HUB_OFFLINE)"),
    ({"FileExpired"}, "it changed while it was read; read it again when it is written to its end"),
    (
        {"ClientPayloadError", "IncompleteReadError", "ContentLengthError", "IncompleteRead", "ResponseStreamingError"},
        "the transfer broke off before its end; try again",
    ),
    (
        {"NonHttpUrlRedirectClientError", "InvalidUrlRedirectClientError", "TooManyRedirects", "RedirectClientError"},
        "the server sends on to an address that is not followed; name the file's own address",
    ),
    ({"InvalidURL", "InvalidUrlClientError"}, "the address is not well formed; escape letters such as / and @ in it"),
    (
        {
            "TimeoutError",
            "TimeoutException",
            "FSTimeoutError",
            "ReadTimeoutError",
            "ConnectTimeoutError",
            "ServerTimeoutError",
        },
        "no answer in time; is the address right, and the network up?",
    ),
    (
        {
            "EndpointConnectionError",
            "ClientConnectorError",
            "ConnectionError",
            "gaierror",
            "ClientConnectionError",
            "TransportError",
        },
        "cannot be reached; is the address right, and the network up?",
    ),
    ({"BadZipFile", "ReadError", "LargeZipFile"}, "not an archive of that kind, or cut off; copy it again"),
)
"""Names of errors, wherever they are defined, and what they mean; the first that fits."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status_reason(status: int, address: Address) -> str:
    if status in (401, 403, 407):
        return f"HTTP {status}: {_refused(address)}"
    if status >= 500:
        return f"HTTP {status}: the server failed; try again later"
    return f"HTTP {status}: the server refuses it"


def _refused(address: Address) -> str:
    scheme = _ALIKE.get(address.scheme, address.scheme)
    return f"access is refused; check {_CREDENTIALS.get(scheme, 'the credentials, as fsspec documents them')}"


def _missing_package(address: Address) -> str:
    scheme = address.scheme
    package = _PACKAGES.get(scheme, f"the fsspec package of {scheme}")
    how = _REMOTE if package in ("s3fs", "aiohttp") else f"pip install '{package}'" if "[" in package else ""
    return f"{scheme}:// needs {package.partition('[')[0]}: {how or f'pip install {package}'}"

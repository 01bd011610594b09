"""Files at URLs such as ``s3://bucket/scan.nii.gz``, through fsspec.

Files are downloaded before they are read and uploaded after they are complete. Object stores make
an upload visible at its end and never in part; in other stores, a file is uploaded under a
temporary name and renamed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ct_vae.errors import ConfigError, CtVaeError, InputError, NoInputError, OutputError

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
# Stores in which an object appears when its upload is complete.
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
_EXTRA = "install it; s3:// needs pip install 'ct_vae[remote]'"
_ACCESS = "check the credentials, such as AWS_ACCESS_KEY_ID or AWS_PROFILE, and the permissions"
_NETWORK = "check the network and the endpoint, such as AWS_ENDPOINT_URL"


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL.

    Attributes:
        url: Its URL.
        size: Its size in bytes; ``None`` if unknown.
        version: Text that differs between versions of the file, such as its ETag; may be empty.
        companions: URLs of files that belong to it, such as the record of a latent.
    """

    url: str
    size: int | None = None
    version: str = ""
    companions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Last part of the URL, without the query of HTTP."""
        return without_query(self.url).rsplit("/", 1)[-1]

    def download(self, folder: Path) -> Path:
        """Download the file and its companions, and return its path.

        Raises:
            NoInputError: If the file or its bucket does not exist.
            InputError: If the download fails or the file changes meanwhile.
        """
        for url in (self.url, *self.companions):
            download(url, folder / RemoteFile(url).name)
        path = folder / self.name
        if self.size not in (None, path.stat().st_size):
            raise InputError(
                f"{self.url}: {path.stat().st_size} bytes were read instead of {self.size}",
                "run the command again when nothing writes to the file",
            )
        return path


def is_url(text: object) -> bool:
    """Return True if an input or output is a URL instead of a local path."""
    return _URL.match(str(text)) is not None


def without_query(url: str) -> str:
    """Return an HTTP URL without its query, which may hold a signature; other URLs as they are.

    In object stores a question mark is part of the name.
    """
    return url.partition("?")[0] if url.startswith(("http://", "https://")) else url


def canonical_url(url: str) -> str:
    """Return a URL in the form in which files are listed, without a slash at its end.

    Raises:
        ConfigError: If the protocol is unknown, its package is missing, or nothing follows it.
    """
    with _readable_errors(url, "resolved", NoInputError, InputError):
        system, path = _open_store(url)
        found = str(system.unstrip_protocol(path)).rstrip("/")
    if not is_url(found):
        raise ConfigError(f"{url} is not a complete URL", "give one such as s3://bucket/folder")
    return found


def list_files(url: str) -> list[RemoteFile]:
    """Return the files that a URL refers to, ordered by URL.

    Args:
        url: URL of a file, of a folder, or with wildcards (``*``, ``?``, ``[...]``, ``**``), which
            apply if no file or folder has that name.

    Returns:
        The file, all files below the folder, or all matches; may be empty.

    Raises:
        NoInputError: If there is no such file, folder or bucket.
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    with _readable_errors(url, "listed", NoInputError, InputError):
        system, path = _open_store(url)
        # As for local paths, a pattern applies if no file or folder has that name.
        if any(sign in path for sign in "*?[") and not system.exists(path):
            found = system.glob(path, detail=True)
        elif not url.endswith("/") and system.isfile(path):
            found = {path: system.info(path)}
        else:
            # Raises an error for a bucket that does not exist, which `find` does not.
            system.ls(path)
            found = system.find(path, detail=True)
        files = [_remote_file(system, info) for info in found.values() if info["type"] == "file"]
    return sorted(files, key=lambda file: file.url)


def look_up(url: str) -> RemoteFile:
    """Return the size and version of the file at a URL.

    Raises:
        NoInputError: If there is no such file or bucket.
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    with _readable_errors(url, "looked up", NoInputError, InputError):
        system, path = _open_store(url)
        return _remote_file(system, system.info(path))


def exists(url: str) -> bool:
    """Return True if there is a file at a URL.

    Raises:
        InputError: If the store cannot be reached or denies access.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    with _readable_errors(url, "looked up", NoInputError, InputError):
        system, path = _open_store(url)
        return bool(system.isfile(path))


def download(url: str, path: Path) -> None:
    """Copy the file at a URL to a new local file.

    Raises:
        NoInputError: If there is no such file or bucket.
        InputError: If the download fails.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    with _readable_errors(url, "downloaded", NoInputError, InputError):
        system, place = _open_store(url)
        system.get_file(place, str(path))


def upload(path: Path, url: str) -> None:
    """Copy a local file to a URL, replacing a file there; readers never see a part of it.

    Raises:
        OutputError: If the upload fails; a file that was there before is unchanged.
        ConfigError: If the protocol is unknown or its package is missing.
    """
    with _readable_errors(url, "uploaded", OutputError, OutputError):
        system, place = _open_store(url)
        protocols = {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}
        if protocols & _OBJECT_STORES:
            system.put_file(str(path), place)
            return
        folder, _, name = place.rpartition("/")
        # Several processes may upload the same result at once.
        hidden = f"{folder}/.{name}.{uuid4().hex[:8]}.uploading"
        system.makedirs(folder, exist_ok=True)
        try:
            system.put_file(str(path), hidden)
            system.mv(hidden, place)
        except BaseException:
            with suppress(Exception):
                system.rm_file(hidden)
            raise


def remove(url: str) -> None:
    """Remove the file at a URL, if another process has not removed it.

    Raises:
        OutputError: If it cannot be removed.
    """
    with _readable_errors(url, "removed", OutputError, OutputError):
        system, path = _open_store(url)
        with suppress(FileNotFoundError):
            system.rm_file(path)


def _open_store(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, without cached listings, and the path in it."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    system.invalidate_cache()
    return system, path


def _remote_file(system: Any, info: dict[str, Any]) -> RemoteFile:
    """Return the file that an entry of a listing describes."""
    changed = ("ETag", "etag", "md5", "mtime", "LastModified", "last_modified", "created")
    version = next((str(info[name]) for name in changed if info.get(name)), "")
    size = None if info.get("size") is None else int(info["size"])
    return RemoteFile(str(system.unstrip_protocol(info["name"])), size, version)


@contextmanager
def _readable_errors(
    url: str,
    done: str,
    absent: Callable[[str, str], CtVaeError],
    failed: Callable[[str, str], CtVaeError],
) -> Iterator[None]:
    """Turn the errors of a store into errors of this package, each of one line.

    Args:
        url: URL to name in the message.
        done: Attempted action, such as ``downloaded``.
        absent: Error if the file or bucket does not exist.
        failed: Error for all other reasons.
    """
    try:
        yield
    except CtVaeError:
        raise
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{url}: a package is missing ({reason})", _EXTRA) from error
    except FileNotFoundError as error:
        raise absent(f"{url}: there is no such file, folder or bucket", "check the URL") from error
    except PermissionError as error:
        raise failed(f"{url} cannot be {done}: access is denied", _ACCESS) from error
    except Exception as error:
        # Stores raise errors of their own libraries, such as botocore and aiohttp.
        if isinstance(error, ValueError) and "protocol" in str(error).lower():
            raise ConfigError(f"{url}: the protocol is not known", "use s3://, for example") from (
                error
            )
        reason = " ".join(str(error).split()) or type(error).__name__
        hint = _ACCESS if "credentials" in reason.lower() else _NETWORK
        raise failed(f"{url} cannot be {done}: {reason}", hint) from error

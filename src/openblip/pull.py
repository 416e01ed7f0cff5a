"""A name of the hub -> its checkpoint in the cache of huggingface_hub, fetched, resumed and checked.

huggingface_hub itself starts an interrupted file anew in the next process and compares sizes only. So the bytes of each
file are fetched here, into a part that outlives the process, and held against the hash that the hub calls the file's
ETag: SHA-256 for what lies in LFS, git's SHA-1 for the rest. Addresses, tokens, proxies, offline mode and the layout of
the cache are huggingface_hub's. Does not know what the files mean, but for the model_type in config.json.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from openblip.config import SETS
from openblip.errors import ModelError, ModelNotFound
from openblip.hub import BUNDLED, VOCABULARIES, WEIGHTS, HubName, cache_of, cached_folder, find_model, size_on_disk
from openblip.weights import digest

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes that are here, bytes in all)."""

_OPTIONAL = ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
_FRUITLESS = 3  # attempts in a row that brought no byte, before an error
_PAUSE_S = 1.0
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A checkpoint that is here now. fetched: bytes that came over the network; size: of all its files.

    unchecked: files that the server gave no hash of.
    """

    name: str
    folder: Path
    fetched: int
    size: int
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A file as the hub describes it."""

    name: str
    url: str
    etag: str
    size: int | None
    commit: str


def pull(name: str, progress: Progress) -> Iterator[Pulled]:
    """Fetch a checkpoint of the hub ("owner/name", "owner/name@revision") or those of a set, one after the other.

    What is here already is checked, not fetched again. Raises ModelNotFound or ModelError.
    """
    if name in BUNDLED:
        folder = find_model(name).path
        yield Pulled(name, folder, 0, size_on_disk(folder))
        return
    parsed = HubName.parse(name)
    if name not in SETS and parsed is None:
        raise ModelNotFound(
            f"'{name}' is no name of the hub: give {', '.join(SETS)}, or owner/name as in Salesforce/blip-vqa-base"
        )
    for hub_name in [parsed] if parsed else [HubName(member) for member in dict.fromkeys(SETS[name].values())]:
        with _clear_errors(hub_name):
            yield _pull_checkpoint(hub_name, progress)


def _pull_checkpoint(name: HubName, progress: Progress) -> Pulled:
    from huggingface_hub import constants, hf_hub_download

    if constants.HF_HUB_OFFLINE and (folder := cached_folder(name)):
        return Pulled(str(name), folder, 0, size_on_disk(folder))
    config, *others = _look_up(name)
    repository = cache_of(name.repository)
    blobs = repository / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    fetched = _fetch(config, blobs, progress)
    _check_kind(blobs / config.etag, name)
    fetched += sum(_fetch(file, blobs, progress) for file in others)
    for file in (config, *others):  # each is here: the library only links it into the snapshot
        hf_hub_download(name.repository, file.name, revision=config.commit)
    reference = repository / "refs" / name.revision
    if name.revision != config.commit:
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(config.commit, encoding="utf-8")
    folder = repository / "snapshots" / config.commit
    unchecked = tuple(file.name for file in (config, *others) if not _expected(file))
    return Pulled(str(name), folder, fetched, size_on_disk(folder), unchecked)


def _look_up(name: HubName) -> list[_File]:
    """The files that are needed, config.json first, all of one commit."""
    config = _describe(name, "config.json", name.revision)
    if config is None:
        raise ModelNotFound(f"'{name}' has no config.json: it is no checkpoint that openblip can load")
    files = [config]
    for choices in (*((file,) for file in _OPTIONAL), VOCABULARIES, WEIGHTS):
        found = (_describe(name, file, config.commit) for file in choices)
        file = next((file for file in found if file is not None), None)
        if file is not None:
            files.append(file)
        elif choices[1:]:
            raise ModelNotFound(f"'{name}' has neither {' nor '.join(choices)}: it is no checkpoint of BLIP")
    return files


def _describe(name: HubName, file: str, revision: str) -> _File | None:
    """What the hub says about a file; None where there is no such file."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    try:
        metadata = get_hf_file_metadata(hf_hub_url(name.repository, file, revision=revision))
    except EntryNotFoundError:
        return None
    commit, etag = metadata.commit_hash or "", metadata.etag or ""
    if not _GIT_SHA1.fullmatch(commit) or not re.fullmatch(r"[\w-]+", etag):  # they become names of files
        raise ModelError(f"{_endpoint()} does not answer as a model hub does: check HF_ENDPOINT and the proxy")
    return _File(file, hf_hub_url(name.repository, file, revision=commit), etag, metadata.size, commit)


def _check_kind(config: Path, name: HubName) -> None:
    """Before the weights are fetched: whether they are any use."""
    try:
        kind = json.loads(config.read_text(encoding="utf-8"))["model_type"]
    except (ValueError, KeyError, TypeError):
        kind = None
    if kind not in ("blip", "openblip"):
        raise ModelError(f"'{name}' is no checkpoint of BLIP: the model_type in its config.json is {kind!r}")


# ------------------------------------------------------------------------------------------------------------- one file


def _fetch(file: _File, blobs: Path, progress: Progress) -> int:
    """Put the file into blobs/ under its ETag, and return how many bytes were fetched."""
    blob, part = blobs / file.etag, blobs / f"{file.etag}.openblip.incomplete"
    if blob.is_file():
        if _is_whole(blob, file):
            return 0
        blob.unlink()
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(f"another openblip is fetching {file.name} ({part}): wait for it") from error
        fetched = _download(file, part, progress)
        if not _is_whole(part, file):
            part.unlink()
            raise ModelError(
                f"{file.name} did not arrive as the hub has it (its hash is not {file.etag}) and was removed: run the "
                "command again"
            )
        part.replace(blob)
    return fetched


def _download(file: _File, part: Path, progress: Progress) -> int:
    """Fetch what is missing of a part, again where the connection breaks; returns how many bytes came."""
    fetched = fruitless = 0
    while True:
        here = part.stat().st_size
        if file.size is not None and here > file.size:
            here = 0
            part.write_bytes(b"")
        if here == file.size:
            return fetched
        _check_space(part, (file.size or 0) - here)
        broken: Exception | None = None
        try:
            _stream(file, part, here, progress)
        except _transport_errors() as error:
            if _is_answer(error):
                raise
            broken = error
        came = max(0, part.stat().st_size - here)
        fetched, fruitless = fetched + came, 0 if came else fruitless + 1
        if broken is None and file.size is None:
            return fetched
        if fruitless == _FRUITLESS:
            raise broken or ModelError(f"the hub sends nothing more of {file.name}: run the command again later")
        if broken is not None:
            time.sleep(_PAUSE_S)


def _stream(file: _File, part: Path, here: int, progress: Progress) -> None:
    """One request for all that stands behind the first `here` bytes."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="openblip") | {"Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    # The session leaves the token behind where the hub sends it on to another host.
    with get_session().stream("GET", file.url, headers=headers, timeout=timeout) as response:
        hf_raise_for_status(response)
        resumed = response.status_code == 206
        done = here if resumed else 0
        with part.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_bytes():
                stream.write(chunk)
                done += len(chunk)
                progress(file.name, done, file.size or 0)


def _is_whole(path: Path, file: _File) -> bool:
    """Whether these bytes are the hub's, as far as it says."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return False
    expected = _expected(file)
    if expected == "sha256":
        return digest(path) == file.etag
    if expected == "git":
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % size + content, usedforsecurity=False).hexdigest() == file.etag
    return True


def _expected(file: _File) -> str | None:
    """Which hash the ETag is."""
    return "sha256" if _SHA256.fullmatch(file.etag) else "git" if _GIT_SHA1.fullmatch(file.etag) else None


def _check_space(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < wanted:
        raise ModelError(
            f"the disk is full: {wanted / 1e6:,.0f} MB are to come and {free / 1e6:,.0f} MB are free in {part.parent}; "
            "make room or set HF_HOME to a folder on another disk"
        )


# --------------------------------------------------------------------------------------------------------------- errors


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _transport_errors() -> tuple[type[Exception], ...]:
    """The base of all errors of the HTTP library, which is another one in other versions of huggingface_hub."""
    from huggingface_hub.errors import HfHubHTTPError

    return tuple(
        base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError" and issubclass(base, Exception)
    )


def _is_answer(error: Exception) -> bool:
    """Whether a server answered, as against a connection that broke."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, HfHubHTTPError)


@contextmanager
def _clear_errors(name: HubName) -> Iterator[None]:
    """What goes wrong between here and the hub as one line of ours."""
    from huggingface_hub import errors

    hub = _endpoint()
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelNotFound(
            f"'{name}' is gated: ask for access at {hub}/{name.repository}, then set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"{hub} has no model '{name.repository}' that you may see: check the name; for a private one, set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFound(f"'{name.repository}' has no revision '{name.revision}': check the name") from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelNotFound(
            f"'{name}' is not in the cache, and HF_HUB_OFFLINE is set: unset it, or copy the cache from elsewhere"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(f"{hub} answered {status} about '{name}': try again later") from error
    except _transport_errors() as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{hub} cannot be reached ({reason}): check the network and HF_ENDPOINT; what has arrived is kept"
        ) from error
    except errors.LocalEntryNotFoundError as error:  # an OSError too; the library asks once more before it links
        raise ModelError(
            f"{hub} cannot be reached: check the network and HF_ENDPOINT; what has arrived is kept"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise ModelError(
            f"cannot write {error.filename or cache_of(name.repository)}: {reason}; make room or set HF_HOME elsewhere"
        ) from error

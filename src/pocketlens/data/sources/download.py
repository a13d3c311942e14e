"""Downloads files that are not there yet: several sources, a known hash, and no file under its name before it is right.

pooch and requests do the transfer: temporary file, redirects, timeouts, hash and move. A hook on every response adds
what neither offers: a redirect from https to http is refused, a server that drips is given up after seconds instead of
hours, and a body that never ends is cut off.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from pocketlens.errors import PocketlensError
from pocketlens.files import replace_file, sync_folder
from pocketlens.text import printable

_SECONDS = 15.0  # within which a server must answer, and within which at least _LEAST bytes must arrive
_LEAST = 1 << 14
_N_REDIRECTS = 5
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "pocketlens"}


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded."""

    name: str
    hash: str  # such as md5:eb90...
    addresses: tuple[str, ...]  # tried in this order
    max_bytes: int = 4 * 2**30


def download(remote: Remote, folder: Path, *, seconds: float = _SECONDS, n_rounds: int = 2) -> Path:
    """Puts a file into `folder`, from the first source that delivers the right bytes; every source is tried twice.

    Raises:
        PocketlensError: no source did; the message gives the last reason for each, and nothing is left behind.
    """
    target = folder / remote.name
    if target.exists():
        return target
    part = folder / f".{remote.name}.{os.getpid()}.part"
    reasons: dict[str, str] = {}
    try:
        part.mkdir(parents=True, exist_ok=True)
        for address in remote.addresses * n_rounds:
            if reasons.get(address) == "no connection":
                continue
            reason = _attempt(address, remote, part, seconds)
            if reason is None:
                _publish(part / remote.name, target)
                return target
            reasons[address] = reason
    except OSError as error:
        raise PocketlensError(f"{folder} must be writable for downloads: {error.strerror}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    raise PocketlensError("; ".join(f"{urlsplit(address).netloc}: {reason}" for address, reason in reasons.items()))


def _attempt(address: str, remote: Remote, part: Path, seconds: float) -> str | None:
    """One download; None where it succeeded, otherwise the reason why it did not."""
    import pooch
    import requests
    import urllib3

    hooks = {"response": _guard(seconds, remote.max_bytes)}
    downloader = pooch.HTTPDownloader(timeout=seconds, headers=_HEADERS, hooks=hooks)
    try:
        pooch.retrieve(address, remote.hash, remote.name, part, downloader=downloader)
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
        return f"no answer within {seconds:.0f} seconds"
    except urllib3.exceptions.HTTPError:
        return "the transfer was interrupted"
    except requests.ConnectionError:
        return "no connection"
    except requests.RequestException as error:
        return printable(" ".join(str(error).split()))[:120]
    except PocketlensError as error:
        return str(error)
    except ValueError:  # how pooch reports a wrong hash
        return "the downloaded file has the wrong hash"
    return None


def _publish(path: Path, target: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    replace_file(path, target)
    sync_folder(target.parent)


def _guard(seconds: float, max_bytes: int) -> Callable[..., None]:
    """A response hook for requests, which calls it before it follows a redirect and before it reads a body."""
    n_redirects = 0

    def guard(response: Any, **_: Any) -> None:
        nonlocal n_redirects
        if response.ok and not response.is_redirect:
            response.iter_content = lambda **_: _paced(response, seconds, max_bytes)
            return
        response.close()  # the body of a redirect or an error is not needed, and it could be endless too
        if response.is_redirect:
            next_address(response.url, response.headers["Location"])
            n_redirects += 1
        if n_redirects > _N_REDIRECTS:
            raise PocketlensError(f"more than {_N_REDIRECTS} redirects")

    return guard


def next_address(address: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        PocketlensError: it leads from https to anything else, or out of the web.
    """
    target = urljoin(address, location)
    allowed = ("https",) if urlsplit(address).scheme == "https" else ("https", "http")
    if urlsplit(target).scheme not in allowed:
        raise PocketlensError(f"a redirect to {urlsplit(target).scheme or 'nothing'}:// was refused")
    return target


def _paced(response: Any, seconds: float, max_bytes: int) -> Iterator[bytes]:
    """The blocks of a body as they arrive.

    requests would wait until a block is full, and its timeout starts again at every byte: a drip would keep it for
    hours.
    """
    n_bytes, n_since, since = 0, 0, time.monotonic()
    with response:
        while block := response.raw.read1(1 << 18):
            yield block
            n_bytes += len(block)
            n_since += len(block)
            if n_bytes > max_bytes:
                raise PocketlensError(f"more than {max_bytes} bytes arrived")
            elapsed = time.monotonic() - since
            if elapsed > seconds:
                if n_since < _LEAST:
                    raise PocketlensError(f"only {n_since} bytes arrived in {elapsed:.0f} seconds, so it was given up")
                n_since, since = 0, time.monotonic()

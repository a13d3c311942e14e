"""Downloads what is absent: several sources, a known hash, and no file under its name before the hash is right.

pooch keeps the books (temporary file, hash, move). The transfer itself is ours, because three promises need it: a
redirect from https to http is refused, a server that drips is given up, and a file that grows without end is stopped.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from pocketlens.errors import PocketlensError
from pocketlens.files import replace_file, sync_folder
from pocketlens.text import printable

_SECONDS = 15.0  # in which at least _LEAST bytes must arrive; also the limit of one silence
_LEAST = 1 << 14
_N_REDIRECTS = 5


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded."""

    name: str
    hash: str  # such as md5:eb90...
    addresses: tuple[str, ...]  # tried in this order
    max_bytes: int = 4 * 2**30


def download(remote: Remote, folder: Path, *, seconds: float = _SECONDS, n_rounds: int = 2) -> Path:
    """Puts a file into `folder`, from the first source that gives the right bytes; every source is tried twice.

    Raises:
        PocketlensError: no source did; the message holds the reason of the last try of each, and nothing is left.
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
                replace_file(part / remote.name, target)
                sync_folder(folder)
                return target
            reasons[address] = reason
    except OSError as error:
        raise PocketlensError(f"{folder} must be writable for downloads: {error.strerror}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    raise PocketlensError("; ".join(f"{urlsplit(address).netloc}: {reason}" for address, reason in reasons.items()))


def _attempt(address: str, remote: Remote, part: Path, seconds: float) -> str | None:
    """One download; None where it went well, else why it did not."""
    import pooch
    import requests
    import urllib3

    def transfer(url: str, output: Any, _: Any) -> None:
        _transfer(url, Path(output), seconds, remote.max_bytes)

    try:
        pooch.retrieve(address, remote.hash, remote.name, part, downloader=transfer)
    except (requests.Timeout, urllib3.exceptions.ReadTimeoutError):
        return f"no answer within {seconds:.0f} seconds"
    except urllib3.exceptions.HTTPError:
        return "the transfer broke off"
    except requests.ConnectionError:
        return "no connection"
    except requests.RequestException as error:
        return printable(" ".join(str(error).split()))[:120]
    except PocketlensError as error:
        return str(error)
    except ValueError:  # how pooch reports a wrong hash
        return "what came is not the file (wrong hash)"
    return None


def _transfer(address: str, output: Path, seconds: float, max_bytes: int) -> None:
    import requests

    with requests.Session() as session:
        for _ in range(_N_REDIRECTS):
            response = session.get(
                address,
                stream=True,
                allow_redirects=False,
                timeout=seconds,
                headers={"Accept-Encoding": "identity", "User-Agent": "pocketlens"},
            )
            with response:
                if not response.is_redirect:
                    response.raise_for_status()
                    _save(response, output, seconds, max_bytes)
                    return
                address = next_address(address, response.headers["Location"])
    raise PocketlensError(f"more than {_N_REDIRECTS} redirects")


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


def _save(response: Any, output: Path, seconds: float, max_bytes: int) -> None:
    expected = response.headers.get("Content-Length")
    n_bytes, since, n_since = 0, time.monotonic(), 0
    with open(output, "wb") as file:
        while block := response.raw.read1(1 << 18):
            file.write(block)
            n_bytes += len(block)
            n_since += len(block)
            if n_bytes > max_bytes:
                raise PocketlensError(f"more than {max_bytes} bytes came")
            elapsed = time.monotonic() - since
            if elapsed > seconds:
                if n_since < _LEAST:
                    raise PocketlensError(f"it gave {n_since} bytes in {elapsed:.0f} seconds and was given up")
                since, n_since = time.monotonic(), 0
        file.flush()
        os.fsync(file.fileno())
    if expected is not None and expected.isdigit() and n_bytes < int(expected):
        raise PocketlensError(f"the transfer broke off after {n_bytes} of {expected} bytes")

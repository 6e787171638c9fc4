"""The official archives of known data sets: where they are, their checksums, and the one reader of pickles.

No byte of an archive is interpreted before its md5 matched.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from itertools import product
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

from labelnoise.errors import InputError

URLS = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/",
    "cifar100": "https://www.cs.toronto.edu/~kriz/",
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
"""Where the official files of each data set are fetched from."""

MD5 = {
    "cifar10": {
        "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    "cifar100": {
        "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    "mnist": {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}
"""md5 of the official files of each data set; those without a folder are what can be fetched."""

CHUNK = 1 << 18
"""Bytes between two reports of a download."""
PATIENCE = 30
"""Seconds without an answer after which a download is given up."""

Fetched = Callable[[int, int], object]
"""Progress of a download: called with the bytes of this file that are there, and with all (0 where unknown)."""


class Missing(InputError):
    """Official files that are not at hand."""


def downloads(name: str) -> list[str]:
    """Return the names of the files that `fetch` brings."""
    return [file for file in MD5[name] if "/" not in file]


def locate(name: str, places: Sequence[Path], forms: Sequence[Sequence[str]]) -> tuple[Path, Sequence[str]]:
    """Return the first of `places` that holds all files of one of `forms`, and that form.

    Raises:
        Missing: there is none; the message names the files and where to put them.
    """
    begun = []
    for place, form in product(places, forms):
        missing = [file for file in form if not (place / file).is_file()]
        if not missing:
            return place, form
        if len(missing) < len(form):
            begun.append((missing, place))
    missing, place = min(begun, key=lambda pair: len(pair[0]), default=(downloads(name), places[0]))
    raise Missing(
        f"data set {name!r} is not at hand; put {', '.join(missing)} in {place}, or fetch it with --download "
        "(in Python download=True)"
    )


def read_verified(name: str, place: Path, file: str) -> bytes:
    """Read an official file whose md5 is right.

    Raises:
        InputError: the file cannot be read, is damaged, or belongs to another data set.
    """
    path = place / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}); check its permissions") from None
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if digest == MD5[name][file]:
        return data
    for other, files in MD5.items():
        if files.get(file) == digest:
            raise InputError(f"{path} is the file of {other!r}, not of {name!r}; put it in a folder named {other}")
    raise InputError(
        f"{path} is not the official file of {name!r}, or is damaged (md5 {digest}, expected {MD5[name][file]}); "
        "delete it and fetch it again, for example with --download"
    )


def read_pickles(name: str, place: Path, files: Sequence[str]) -> dict[str, Any]:
    """Read the dictionaries of a CIFAR archive by file name, from its folder or out of its .tar.gz."""
    if not files[0].endswith(".tar.gz"):
        return {Path(file).name: unpickle(read_verified(name, place, file), place / file) for file in files}
    parts = {}
    with tarfile.open(fileobj=io.BytesIO(read_verified(name, place, files[0]))) as tar:
        for member in tar:
            if member.name in MD5[name] and (content := tar.extractfile(member)):
                parts[Path(member.name).name] = unpickle(content.read(), place / files[0] / member.name)
    return parts


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # the function that a pickle of an array names, wherever NumPy keeps it

ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}
"""All that a pickle may name: what an array of numbers is made of."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def unpickle(data: bytes, path: Path) -> Any:
    """Read a Python 2 pickle of numbers, strings (as bytes), lists, dictionaries and NumPy arrays.

    Args:
        data: the pickle, its md5 checked.
        path: where it comes from, for the message.

    Raises:
        InputError: the pickle is damaged or names anything else; nothing that it names was called.
    """
    try:
        return _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path} is refused: it is no pickle of arrays alone ({error}); delete it") from None


def fetch(name: str, folder: Path, progress: Fetched | None = None) -> None:
    """Download the official files of a data set that `folder` does not hold yet, and check their md5.

    A download that broke off leaves a .part file, and the next call goes on from there.

    Args:
        name: a key of `URLS`.
        folder: made where it is missing.
        progress: called as progress(done, total) in bytes, for one file after the other.

    Raises:
        InputError: no network, a wrong checksum (the .part file is deleted), or a folder that cannot be written.
    """
    for file in downloads(name):
        if (folder / file).is_file():
            read_verified(name, folder, file)
        else:
            _download(URLS[name] + file, folder / file, MD5[name][file], progress)


def _download(url: str, path: Path, md5: str, progress: Fetched | None) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "ab") as file:
            _receive(url, file, progress)
            file.flush()
            os.fsync(file.fileno())
        with open(part, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if digest != md5:
            part.unlink()
            raise InputError(
                f"{url} did not bring the official file (md5 {digest}, expected {md5}), so it was deleted; try again, "
                f"or put {path.name} in {path.parent} from elsewhere"
            )
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"{part} could not be written ({error.strerror}); make room or choose another folder, then give the same "
            "command again: it goes on from there"
        ) from None


def _receive(url: str, file: IO[bytes], progress: Fetched | None) -> None:
    """Append what the file still lacks."""
    done = file.tell()
    try:
        response = urlopen(Request(url, headers={"Range": f"bytes={done}-"} if done else {}), timeout=PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == 416 and done:  # no bytes beyond these: the download was whole
            return
        raise _unreachable(url, f"{error.code} {error.reason}", file) from None
    except (OSError, HTTPException) as error:
        raise _unreachable(url, str(getattr(error, "reason", error)), file) from None
    with response:
        if done and response.status != 206:  # the server ignored the range and sends everything
            file.truncate(done := 0)
        length = int(response.headers.get("Content-Length") or 0)
        total = done + length if length else 0
        for chunk in _chunks(url, response, file):
            file.write(chunk)
            done += len(chunk)
            if progress:
                progress(done, total)
    if done < total:
        raise _unreachable(url, f"it broke off at {done} of {total} bytes", file)


def _chunks(url: str, response: HTTPResponse, file: IO[bytes]) -> Iterator[bytes]:
    """Blocks of the answer; its errors are told from those of the disk."""
    try:
        while chunk := response.read(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _unreachable(url, f"it broke off: {error}", file) from None


def _unreachable(url: str, why: str, file: IO[bytes]) -> InputError:
    path = Path(file.name)
    return InputError(
        f"{url} could not be fetched ({why}); give the same command again and it goes on from there, or put "
        f"{path.stem} in {path.parent} by hand"
    )

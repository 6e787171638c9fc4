"""Official archives: checksums before anything else, downloads that break off, and pickles that must not run."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from helpers import assert_close
from labelnoise.errors import InputError
from labelnoise.images import archives
from labelnoise.images.archives import Missing, fetch, locate, read_pickles, read_verified, unpickle

CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8))


def md5(content):
    return hashlib.md5(content).hexdigest()


def python2_pickle(value):
    """The protocol 2 pickle that Python 2 writes of bytes, integers, lists, dictionaries and arrays of bytes."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value):
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()) + b"u"
    assert value.dtype == np.uint8
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(map(_opcodes, value.shape)) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _opcodes(value.tobytes()) + b"tb"


def pack(members):
    """A .tar.gz of files given by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; `server.cut` bytes a request at most, and ranges only if `server.ranges`."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append((self.path[1:], asked))
        content = self.server.files.get(self.path[1:])
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if content is None or start and start >= len(content):
            self.send_error(404 if content is None else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A local server of the data set `mnist`, which is two small files here."""
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {"a.gz": CONTENT, "b.gz": CONTENT[::-1]}
        server.asked, server.cut, server.ranges = [], None, True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setitem(archives.URLS, "mnist", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setitem(archives.MD5, "mnist", {name: md5(content) for name, content in server.files.items()})
        monkeypatch.setattr(archives, "CHUNK", 300)
        yield server
        server.shutdown()
        thread.join()


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_fetch_brings_every_file_and_tells_how_far_it_is(server, tmp_path):
    told = []
    fetch("mnist", tmp_path / "new" / "mnist", lambda done, total: told.append((done, total)))
    assert (tmp_path / "new/mnist/a.gz").read_bytes() == CONTENT
    assert (tmp_path / "new/mnist/b.gz").read_bytes() == CONTENT[::-1]
    assert files_in(tmp_path / "new/mnist") == ["a.gz", "b.gz"]
    assert told == [(done, 1000) for done in (300, 600, 900, 1000)] * 2
    assert server.asked == [("a.gz", None), ("b.gz", None)]


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "b.gz").write_bytes(CONTENT[::-1])
    fetch("mnist", tmp_path)
    assert server.asked == [("a.gz", None)]
    (tmp_path / "b.gz").write_bytes(b"mine")
    with pytest.raises(InputError, match="b.gz is not the official file of 'mnist'"):
        fetch("mnist", tmp_path)
    assert (tmp_path / "b.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_is_resumed(server, tmp_path, ranges):
    server.ranges, server.cut = ranges, 450
    with pytest.raises(InputError, match="it broke off at 450 of 1000 bytes.*goes on from there, or put a.gz in"):
        fetch("mnist", tmp_path)
    assert (tmp_path / "a.gz.part").read_bytes() == CONTENT[:450]
    server.cut, told = None, []
    fetch("mnist", tmp_path, lambda done, total: told.append((done, total)))
    assert server.asked[1] == ("a.gz", "bytes=450-")
    assert told[:2] == ([(750, 1000), (1000, 1000)] if ranges else [(300, 1000), (600, 1000)])
    assert (tmp_path / "a.gz").read_bytes() == CONTENT
    assert files_in(tmp_path) == ["a.gz", "b.gz"]


def test_a_download_that_was_whole_only_gets_its_name(server, tmp_path):
    (tmp_path / "a.gz.part").write_bytes(CONTENT)
    fetch("mnist", tmp_path)
    assert server.asked[0] == ("a.gz", "bytes=1000-")
    assert (tmp_path / "a.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"", b"\0" * 450, b"\0" * 1200])
def test_a_wrong_checksum_deletes_what_was_fetched(server, tmp_path, part):
    (tmp_path / "a.gz.part").write_bytes(part)
    if not part:
        server.files["a.gz"] = CONTENT[:-1] + b"!"
    with pytest.raises(InputError, match=r"did not bring the official file \(md5 .* so it was deleted; try again"):
        fetch("mnist", tmp_path)
    assert files_in(tmp_path) == []


def test_no_network_and_no_such_file(server, tmp_path, monkeypatch):
    del server.files["a.gz"]
    with pytest.raises(InputError, match=r"a.gz could not be fetched \(404 Not Found\)"):
        fetch("mnist", tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    monkeypatch.setitem(archives.URLS, "mnist", f"http://127.0.0.1:{port}/")
    with pytest.raises(InputError, match=r"could not be fetched \(.*refused\); .* put a.gz in") as refusal:
        fetch("mnist", tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is a matter of Linux")
def test_a_full_disk(server, tmp_path):
    (tmp_path / "a.gz.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"a.gz.part could not be written \(No space left on device\); make room"):
        fetch("mnist", tmp_path)


def test_a_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"):
        fetch("mnist", tmp_path / "file")
    assert server.asked == []


def test_locate_takes_the_first_place_and_form_that_are_whole(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    forms = (["x/1", "x/2"], ["x.tar.gz"])
    for path in (first / "x", second / "x"):
        path.mkdir(parents=True)
        (path / "1").write_text("")
    (second / "x.tar.gz").write_text("")
    assert locate("cifar10", [first, second], forms) == (second, ["x.tar.gz"])
    (second / "x/2").write_text("")
    assert locate("cifar10", [first, second], forms) == (second, ["x/1", "x/2"])
    (first / "x.tar.gz").write_text("")
    assert locate("cifar10", [first, second], forms) == (first, ["x.tar.gz"])


def test_what_is_missing_is_said(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    forms = (["x/1", "x/2", "x/3"], ["x.tar.gz"])
    with pytest.raises(Missing, match=f"'cifar10' is not at hand; put cifar-10-python.tar.gz in {first}, or.*--downl"):
        locate("cifar10", [first, second], forms)
    (second / "x").mkdir(parents=True)
    (second / "x/2").write_text("")
    with pytest.raises(Missing, match=f"put x/1, x/3 in {second}, or"):
        locate("cifar10", [first, second], forms)


def test_a_tampered_file_and_one_of_another_data_set(tmp_path):
    name = "train-labels-idx1-ubyte.gz"
    (tmp_path / name).write_bytes(CONTENT)
    with pytest.raises(InputError, match="is not the official file of 'mnist', or is damaged .*; delete it and fetch"):
        read_verified("mnist", tmp_path, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(archives.MD5, "fashion-mnist", {name: md5(CONTENT)})
        assert read_verified("fashion-mnist", tmp_path, name) == CONTENT
        with pytest.raises(InputError, match="is the file of 'fashion-mnist', not of 'mnist'; put it in a folder"):
            read_verified("mnist", tmp_path, name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="could not be read"):
        read_verified("mnist", tmp_path, name)


def test_a_pickle_of_python_2_is_read():
    array = np.arange(15, dtype=np.uint8).reshape(5, 3)
    value = {b"data": array, b"labels": [3, 70000, -1], b"name": b"\xe9t\xe9"}
    found = unpickle(python2_pickle(value), Path("x"))
    assert_close(found.pop(b"data"), array)
    assert found == {b"labels": [3, 70000, -1], b"name": b"\xe9t\xe9"}
    assert_close(unpickle(pickle.dumps(array.T, protocol=3), Path("x")), array.T)  # today's name of `_reconstruct`


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *values):
        self.call = function, values

    def __reduce__(self):
        return self.call


def hostile(kind, marker):
    """Pickles that would leave a file `marker` if they were read carelessly."""
    text = str(marker).encode()
    touch = b"open(" + repr(str(marker)).encode() + b", 'w').close()"
    return {
        "os.system": pickle.dumps(Calls(os.system, f"touch {marker}"), protocol=2),
        "os.system by name on the stack": pickle.dumps(Calls(os.system, f"touch {marker}"), protocol=4),
        "builtins.eval": b"cbuiltins\neval\nU" + bytes([len(touch)]) + touch + b"\x85R.",
        "__builtin__.eval": b"\x80\x02c__builtin__\neval\nU" + bytes([len(touch)]) + touch + b"\x85R.",
        "by instance": b"(U" + bytes([len(touch)]) + touch + b"ibuiltins\neval\n.",
        "numpy.savetxt": b"cnumpy\nsavetxt\nU" + bytes([len(text)]) + text + b"K\x01\x85\x86R.",
        "a method of ndarray": b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        "numpy's scalar": b"cnumpy.core.multiarray\nscalar\n.",
        "a codec": b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x06\x00\x00\x00latin1\x86R.",
        "persistent": b"Pname\n.",
        "inside an array": python2_pickle({b"data": CONTENT}).replace(b"}(", b"}(cposix\nsystem\nK\x01"),
        "cut": python2_pickle({b"data": CONTENT})[:-300],
        "empty": b"",
    }[kind]


KINDS = (
    "os.system", "os.system by name on the stack", "builtins.eval", "__builtin__.eval", "by instance",
    "numpy.savetxt", "a method of ndarray", "numpy's scalar", "a codec", "persistent", "inside an array", "cut",
    "empty",
)  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_pickle_whose_checksum_is_right_runs_nothing(tmp_path, monkeypatch, kind, form):
    content = hostile(kind, tmp_path / "marker")
    packed = pack({"cifar-100-python/train": content})
    official = {"cifar-100-python.tar.gz": md5(packed), "cifar-100-python/train": md5(content)}
    monkeypatch.setitem(archives.MD5, "cifar100", official)
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python/train").write_bytes(content)
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(packed)
    archive, file = official
    with pytest.raises(InputError, match="train is refused: it is no pickle of arrays alone") as refusal:
        read_pickles("cifar100", tmp_path, [file if form == "folder" else archive])
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "marker").exists()


def test_the_hostile_pickles_are_hostile(tmp_path):
    for kind in KINDS[:5]:
        pickle.loads(hostile(kind, tmp_path / "marker"))
        (tmp_path / "marker").unlink()


def test_an_archive_is_read_as_a_folder_and_packed_without_a_trace(tmp_path, monkeypatch):
    members = {f"cifar-100-python/{name}": python2_pickle({b"name": name.encode()}) for name in ("train", "test")}
    packed = pack({**members, "cifar-100-python/other~": b"not looked at", "../train": b"nor this"})
    official = {"cifar-100-python.tar.gz": md5(packed), **{name: md5(member) for name, member in members.items()}}
    monkeypatch.setitem(archives.MD5, "cifar100", official)
    expected = {"train": {b"name": b"train"}, "test": {b"name": b"test"}}
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(packed)
    assert read_pickles("cifar100", tmp_path, ["cifar-100-python.tar.gz"]) == expected
    assert files_in(tmp_path) == ["cifar-100-python.tar.gz"]
    (tmp_path / "cifar-100-python").mkdir()
    for name, content in members.items():
        (tmp_path / name).write_bytes(content)
    assert read_pickles("cifar100", tmp_path, list(members)) == expected
    (tmp_path / "cifar-100-python/test").write_bytes(b"tampered")
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(packed[:-20])
    for files in (list(members), ["cifar-100-python.tar.gz"]):
        with pytest.raises(InputError, match="is not the official file of 'cifar100', or is damaged"):
            read_pickles("cifar100", tmp_path, files)


def test_the_table_of_checksums():
    assert list(archives.MD5) == list(archives.URLS)
    sums = [value for files in archives.MD5.values() for value in files.values()]
    assert len(set(sums)) == len(sums) == 20
    assert all(len(value) == 32 and int(value, 16) for value in sums)
    assert archives.downloads("cifar10") == ["cifar-10-python.tar.gz"]
    assert len(archives.downloads("fashion-mnist")) == 4

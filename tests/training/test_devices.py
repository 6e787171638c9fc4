"""Devices and precisions: what is refused, what the processor says, and switches of torch that are put back."""

import numpy as np
import pytest
import torch

from labelnoise import devices
from labelnoise.arrays import torch_stream
from labelnoise.devices import cpu_threads, find_device, find_precision, repeatable
from labelnoise.errors import InputError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("warp", r"got 'warp'; choose one of 'auto', 'cpu'"),
        ("cup", "got 'cup'; did you mean 'cpu'?"),
        ("CPU", "got 'CPU'; "),
        ("", "got ''; "),
        (None, "got None; "),
        (3, "got 3; "),
        (["cpu"], r"got \['cpu'\]; "),
        (np.zeros((2, 2)), r"got array\("),
    ],
)
def test_a_name_of_no_device_is_refused(name, message):
    with pytest.raises(InputError, match=f"`device` must be a torch device of this machine, {message}"):
        find_device(name)


@pytest.mark.parametrize(("gpus", "near"), [(True, "; did you mean 'cuda'?"), (False, "; choose one of 'auto', 'cpu'")])
def test_gpu_is_no_device_but_means_one(monkeypatch, gpus, near):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    with pytest.raises(InputError) as refused:
        find_device("gpu")
    assert str(refused.value).endswith(f"got 'gpu'{near}")


def test_threads_are_counted_again_afterwards_and_there_are_not_too_many():
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with (
        pytest.raises(InputError, match="`threads` must be at most 1024, got 1025; one a core is enough"),
        cpu_threads(1025),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float8", "got 'float8'; did you mean 'float32'?"),
        ("bf-16", "got 'bf-16'; did you mean 'bf16'?"),
        ("x", "got 'x'; choose one of 'float32', 'bf16', 'auto'"),
        (None, "got None; "),
        (["auto"], r"got \['auto'\]; "),
    ],
)
def test_a_name_of_no_precision_is_refused(name, message):
    with pytest.raises(InputError, match=f"`precision` must be one of float32, bf16, auto, {message}"):
        find_precision(name, "cpu")


def test_precision_on_a_device_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="`device` must be a torch device of this machine, got 'warp'"):
        find_precision("auto", "warp")


def test_the_processor_says_whether_it_computes_bfloat16(tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(devices, "CPU_INFO", info)
    assert find_precision("auto", "cpu") == "float32"  # where no file says so
    for flags, expected in (("avx512f avx512_bf16 amx", "bf16"), ("avx512f avx512_bf16x", "float32")):
        info.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
        assert find_precision("auto", "cpu") == expected
        assert [find_precision(name, "cpu") for name in ("float32", "bf16")] == ["float32", "bf16"]


def test_this_processor_is_read_as_torch_reads_it():
    if not hasattr(torch.cpu, "_is_avx512_bf16_supported"):
        pytest.skip("torch has no such name any more")
    assert (find_precision("auto", "cpu") == "bf16") == torch.cpu._is_avx512_bf16_supported()


def settings():
    """Every switch of torch that changes what float32 means, or whether the same call gives the same numbers."""
    backends = torch.backends
    parts = [backends.cuda.matmul, *(getattr(kind, name, None) for kind, name in OPERATIONS)]
    newer = [getattr(part, "fp32_precision", None) for part in parts]
    return [backends.cudnn.deterministic, backends.cudnn.benchmark, *newer, *map(readable, OLDER)]


OPERATIONS = [(kind, name) for kind in (torch.backends.cudnn, torch.backends.mkldnn) for name in ("conv", "rnn")]
OPERATIONS.append((torch.backends.mkldnn, "matmul"))
OLDER = (
    torch.get_float32_matmul_precision,
    lambda: torch.backends.cuda.matmul.allow_tf32,
    lambda: torch.backends.cudnn.allow_tf32,
)


def readable(read):
    """What an older switch says; torch refuses to read it where newer ones contradict it."""
    try:
        return read()
    except RuntimeError:
        return None


def allow_tf32():
    torch.backends.cuda.matmul.allow_tf32 = True


def allow_bf16():
    torch.set_float32_matmul_precision("medium")


def newer_matmul():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def newer_all():
    torch.backends.fp32_precision = "tf32"


def benchmark():
    torch.backends.cudnn.benchmark = True


@pytest.fixture
def fresh_switches():
    """Put torch's switches back to what a fresh process has."""
    yield
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    if hasattr(torch.backends, "fp32_precision"):
        torch.backends.fp32_precision = "none"
        for kind, name in OPERATIONS:
            getattr(kind, name).fp32_precision = "tf32" if kind is torch.backends.cudnn else "none"
        torch.backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("allow", [allow_tf32, allow_bf16, newer_matmul, newer_all, benchmark])
def test_float32_is_float32_inside_and_what_was_allowed_is_allowed_again(fresh_switches, allow, fails):
    if "newer" in allow.__name__ and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the older switches only")
    fresh = settings()
    allow()
    before, inside = settings(), None
    try:
        with repeatable():
            inside = settings()
            assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is False
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
            assert not {"tf32", "bf16"} & {value for value in inside if isinstance(value, str)}
            if fails:
                raise KeyError("the body's own")
    except KeyError:
        assert fails
    assert inside is not None and settings() == before != fresh


def test_the_switches_are_put_back_between_tests():
    """The test above would see nothing if one case left its switches to the next."""
    assert torch.get_float32_matmul_precision() == "highest" and torch.backends.cudnn.allow_tf32
    if hasattr(torch.backends, "fp32_precision"):
        assert torch.backends.cuda.matmul.fp32_precision == torch.backends.fp32_precision == "none"


def test_a_stream_starts_no_gpu_and_gives_its_seed_back(monkeypatch):
    """CUDA, once started, cannot be used in a forked process, and takes memory of a card that nobody asked for."""
    torch.manual_seed(11)
    later, expected = [], torch.rand(3)
    torch.manual_seed(11)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # to ask these for their state would start CUDA
    monkeypatch.setattr(torch.cuda, "manual_seed_all", later.append)
    with torch_stream(3, "init"):
        inside = torch.rand(3)
    assert later[-1] == 11 and torch.equal(torch.rand(3), expected) and not torch.equal(inside, expected)

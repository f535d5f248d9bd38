"""What the hardware decides, with the hardware's answers made up."""

import threading
from types import SimpleNamespace

import pytest
import torch

from sklearn_fewshot.nn import _hardware, kept_memory, resolve_device, resolve_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_cuda_where_there_is_one(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert resolve_device("auto") == torch.device(expected)
    assert resolve_device("cpu") == CPU
    assert resolve_device(torch.device("cuda:1")) == torch.device("cuda:1")


def fake_cpu(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_pictures_train_in_bfloat16_where_the_cpu_multiplies_it(monkeypatch, instructions):
    fake_cpu(monkeypatch, **{instructions: True})
    assert resolve_precision("auto", CPU, 3) == torch.bfloat16


def test_pictures_train_in_float32_on_other_cpus(monkeypatch):
    fake_cpu(monkeypatch, avx512_bf16=False, avx2=True)
    assert resolve_precision("auto", CPU, 3) is None


def test_a_torch_that_does_not_know_the_cpu_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", CPU, 3) is None


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), None), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_pictures_train_in_bfloat16_on_gpus_from_ampere_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", CUDA, 3) == expected


def test_other_devices_train_in_float32():
    assert resolve_precision("auto", torch.device("mps"), 3) is None


@pytest.mark.parametrize("input_ndim", [1, 2])
def test_vectors_and_series_train_in_float32(monkeypatch, input_ndim):
    fake_cpu(monkeypatch, avx512_bf16=True)
    assert resolve_precision("auto", CPU, input_ndim) is None


def test_what_is_asked_for_by_name_is_done(monkeypatch):
    fake_cpu(monkeypatch, avx512_bf16=True)
    assert resolve_precision("float32", CPU, 3) is None
    fake_cpu(monkeypatch, avx512_bf16=False)
    assert resolve_precision("bfloat16", CPU, 1) == torch.bfloat16


# ------------------------------------------------------------------ data on the device


@pytest.mark.parametrize(("n_bytes", "expected"), [(100, True), (500, True), (501, False)])
def test_data_may_take_half_of_a_gpus_free_memory(monkeypatch, n_bytes, expected):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert _hardware.fits(n_bytes, CUDA) == expected


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_elsewhere_data_always_move(device):
    assert _hardware.fits(10**15, torch.device(device))


def test_what_goes_to_a_gpu_is_pinned_and_nobody_waits_for_it():
    calls = []

    class Values:
        def pin_memory(self):
            calls.append("pinned")
            return self

        def to(self, device, **kwargs):
            calls.append((device, kwargs))

    _hardware.move(Values(), CUDA)
    assert calls == ["pinned", (CUDA, {"non_blocking": True})]
    calls.clear()
    _hardware.move(Values(), CPU)
    assert calls == [(CPU, {})]


# ------------------------------------------------------------------ the allocator


@pytest.fixture
def settings(monkeypatch):
    """What the allocator was told, in order, in a process whose host does not care."""
    for name in ("SKLEARN_FEWSHOT_MALLOC", "GLIBC_TUNABLES", *_hardware._SET_BY_HOST):
        monkeypatch.delenv(name, raising=False)
    told = []
    monkeypatch.setattr(_hardware, "_set_malloc", lambda **values: told.append(values["mmap_max"]))
    return told


def test_memory_is_kept_inside_the_block_and_restored_after_it(settings):
    with kept_memory():
        assert settings == [0]
    assert settings == [0, 65536]


@pytest.mark.parametrize(("hand_back", "n_trims"), [(True, 1), (False, 0)])
def test_unused_memory_is_handed_back_once_if_wanted(settings, monkeypatch, hand_back, n_trims):
    trims = []
    monkeypatch.setattr(_hardware, "_trim", lambda: trims.append(list(settings)))
    with kept_memory(hand_back=hand_back), kept_memory():
        pass
    assert trims == [[0, 65536]] * n_trims


def test_memory_is_restored_after_an_interrupt(settings):
    with pytest.raises(KeyboardInterrupt), kept_memory():
        raise KeyboardInterrupt
    assert settings == [0, 65536]


def test_nested_blocks_restore_once(settings):
    with kept_memory():
        with kept_memory():
            pass
        assert settings == [0]
    assert settings == [0, 65536]


def test_the_last_of_several_threads_restores(settings):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with kept_memory():
            inside.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=hold)
    with kept_memory():
        thread.start()
        assert inside.wait(timeout=60)
    assert settings == [0]
    leave.set()
    thread.join(timeout=60)
    assert settings == [0, 65536]


FORBID = {
    "switched off": ("SKLEARN_FEWSHOT_MALLOC", "0"),
    "set by the host": ("MALLOC_TRIM_THRESHOLD_", "1000000"),
    "tuned by the host": ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2:glibc.malloc.mmap_max=9"),
}


@pytest.mark.parametrize(("name", "value"), FORBID.values(), ids=FORBID)
def test_a_host_that_cares_about_its_allocator_is_left_alone(settings, monkeypatch, name, value):
    monkeypatch.setattr(_hardware, "_trim", lambda: settings.append("trimmed"))
    monkeypatch.setenv(name, value)
    with kept_memory():
        pass
    assert settings == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("SKLEARN_FEWSHOT_MALLOC", "1"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=2")],
)
def test_other_settings_of_the_host_do_not_matter(settings, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with kept_memory():
        assert settings == [0]


def test_what_was_set_is_restored_although_it_was_switched_off_meanwhile(settings, monkeypatch):
    with kept_memory():
        monkeypatch.setenv("SKLEARN_FEWSHOT_MALLOC", "0")
        with kept_memory():
            pass
        assert settings == [0]
    assert settings == [0, 65536]


@pytest.mark.parametrize("library", [OSError("no libc.so.6"), SimpleNamespace()])
def test_without_glibc_nothing_happens(monkeypatch, library):
    def load():
        if isinstance(library, Exception):
            raise library
        return library  # a C library without mallopt

    monkeypatch.setattr(_hardware, "_libc", load)
    with kept_memory():
        pass

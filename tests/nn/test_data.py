"""Arrays on the device: any dtype and layout in, network inputs out."""

import numpy as np
import pytest
import torch

from sklearn_fewshot.nn import DataTensor, _data

CPU = torch.device("cpu")
DTYPES = ["?", "u1", "i1", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f4", ">i2", "g"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_numeric_array_becomes_float32_input(dtype):
    values = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    data = DataTensor(values, CPU, scale=0.5)
    inputs = data.take(np.array([2, 0]))
    assert len(data) == 3
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs, [[0.5, 0.0], [0.0, 0.5]])


def test_eight_bit_pictures_stay_eight_bit_until_they_are_gathered():
    pictures = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    data = DataTensor(pictures, CPU, scale=1 / 255)
    assert data.data.dtype == torch.uint8
    inputs = data.take(np.array([1]))
    np.testing.assert_allclose(inputs, pictures[[1]] / 255, rtol=1e-6)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_pictures_are_gathered_with_their_channels_last_in_memory(n_channels):
    pictures = np.arange(5 * n_channels * 16).reshape(5, n_channels, 4, 4)
    for dtype in (np.uint8, np.float32):
        inputs = DataTensor(pictures.astype(dtype), CPU, scale=0.5).take(np.arange(5))
        np.testing.assert_array_equal(inputs, 0.5 * pictures)
        # What convolutions go by, also where one channel makes other strides equivalent.
        assert inputs.stride() == (16 * n_channels, 1, 4 * n_channels, n_channels)


def test_read_only_and_strided_arrays_are_taken():
    values = np.arange(12.0).reshape(3, 4)[:, ::-2]
    values.flags.writeable = False
    np.testing.assert_array_equal(DataTensor(values, CPU).take(np.arange(3)), values)


def test_what_the_device_has_no_room_for_stays_and_gives_the_same_rows(monkeypatch):
    pictures = np.arange(6 * 16, dtype=np.uint8).reshape(6, 1, 4, 4)
    rows = np.array([5, 0, 0, 3])
    expected = DataTensor(pictures, CPU, scale=0.5).take(rows)
    asked = []
    monkeypatch.setattr(_data, "fits", lambda n_bytes, device: asked.append(n_bytes))
    data = DataTensor(pictures, CPU, scale=0.5)
    assert isinstance(data.data, _data.HostRows)
    assert asked == [pictures.nbytes]
    torch.testing.assert_close(data.take(rows), expected, rtol=0, atol=0)
    assert data.take(rows).stride() == expected.stride()
    assert data.as_array() is pictures


def test_samples_come_back_from_the_device_as_an_array():
    values = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(DataTensor(values, CPU).as_array(), values)

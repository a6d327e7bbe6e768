"""What LCE's four operators compute, in NumPy: slow, and with one line for each rule.

Bits are words of 32: value i of a row at bit i, 0 for +1 and 1 for -1, the bits after the last value 0.
"""

import numpy as np

F32 = np.float32
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3


def pack(negative):
    """Words of a boolean array, along its last axis."""
    channels = negative.shape[-1]
    words = -(-channels // 32)
    padded = np.zeros((*negative.shape[:-1], words * 32), np.uint8)
    padded[..., :channels] = negative
    return np.packbits(padded, axis=-1, bitorder="little").view("<i4")


def unpack(words, channels):
    """The boolean array of words."""
    octets = np.ascontiguousarray(words, "<i4").view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels].astype(bool)


def quantize(x, zero_point=0):
    """LceQuantize: float32 is negative below 0, int8 below its zero point, bool where false."""
    if x.dtype == np.bool_:
        return pack(~x)
    return pack(x.astype(np.int64) < zero_point if x.dtype == np.int8 else x < 0)


def dequantize(words, channels, dtype, scale=1.0, zero_point=0):
    """LceDequantize: +1 and -1, on the scale of an int8 output; true is +1."""
    negative = unpack(words, channels)
    if dtype == np.bool_:
        return ~negative
    if dtype == np.int8:
        steps = round_away(1 / float(F32(scale)))
        return np.clip(zero_point + np.where(negative, -steps, steps), -128, 127).astype(np.int8)
    return np.where(negative, F32(-1), F32(1))


def round_away(x):
    """Round halves away from zero."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def axis(size, window, stride, dilation, same):
    """Positions (output, tap) that the taps of a window read; those outside lie below 0 or at `size` and above."""
    extent = (window - 1) * dilation + 1
    outputs = -(-size // stride) if same else (size - extent) // stride + 1
    before = max((outputs - 1) * stride + extent - size, 0) // 2 if same else 0
    return np.arange(outputs)[:, None] * stride - before + np.arange(window)[None] * dilation


def max_pool(words, window, strides, same):
    """LceBMaxPool2d: AND over the taps inside."""
    rows = axis(words.shape[1], window[0], strides[0], 1, same)
    columns = axis(words.shape[2], window[1], strides[1], 1, same)
    out = np.full((len(words), len(rows), len(columns), words.shape[3]), -1, np.int32)
    for (i, row), (j, column) in ((y, x) for y in enumerate(rows) for x in enumerate(columns)):
        for y in row[(row >= 0) & (row < words.shape[1])]:
            for x in column[(column >= 0) & (column < words.shape[2])]:
                out[:, i, j] &= words[:, y, x]
    return out


def counts(x, filters, strides, dilations, same):
    """2a for every output value, and S: what the taps outside the image sum to, counted as +1.

    Args:
        x: booleans (batch, height, width, channels), true for -1.
        filters: booleans (filters, height, width, channels of a group).
        strides, dilations: (height, width).
        same: SAME padding, or VALID.
    """
    outs, height, width, group_channels = filters.shape
    groups = x.shape[3] // group_channels
    rows = axis(x.shape[1], height, strides[0], dilations[0], same)
    columns = axis(x.shape[2], width, strides[1], dilations[1], same)
    two_a = np.zeros((len(x), len(rows), len(columns), outs), np.int64)
    outside = np.zeros((len(rows), len(columns), outs), np.int64)
    signs = np.where(filters, -1, 1)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            inside = ((row >= 0) & (row < x.shape[1]))[:, None] & ((column >= 0) & (column < x.shape[2]))[
                None
            ]
            window = np.zeros((len(x), height, width, x.shape[3]), bool)
            ky, kx = np.nonzero(inside)
            window[:, ky, kx] = x[:, row[ky], column[kx]]
            for o in range(outs):
                group = o // (outs // groups)
                part = window[..., group * group_channels : (group + 1) * group_channels]
                two_a[:, i, j, o] = 2 * np.sum(part != filters[o], axis=(1, 2, 3))
            outside[i, j] = signs[:, ~inside].sum(axis=(1, 2))
    return two_a, outside


def bconv2d(x, filters, attributes, *, multiplier=None, bias=None, thresholds=None, scale=None, zero_point=0):
    """LceBconv2d on booleans: float32, int8 where there is a scale, words where there are thresholds."""
    a = attributes
    same = a["padding"] == 0
    strides = a["stride_height"], a["stride_width"]
    dilations = a["dilation_height_factor"], a["dilation_width_factor"]
    v, outside = counts(x, filters, strides, dilations, same)
    k = int(np.prod(filters.shape[1:]))
    zero_padding = same and a["pad_values"] == 0
    activation = a["fused_activation_function"]
    # LCE's fast kernels take the padding away in float32; what they refuse is done in integers.
    in_float = zero_padding and thresholds is None and scale is None and activation == 0
    if zero_padding and not in_float:
        v = v + outside
    if thresholds is not None:
        return pack(v > 2 * thresholds.astype(np.int64))
    low = {RELU: 0, RELU_N1_TO_1: -1, RELU6: 0}.get(activation, -k)
    high = {RELU_N1_TO_1: 1, RELU6: 6}.get(activation, k)
    if activation:
        v = np.clip(v, k - min(high, k), k - max(low, -k))
    m, b = multiplier.astype(np.float64), bias.astype(np.float64)
    step = 1.0 if scale is None else float(F32(scale))
    y = v.astype(F32) * (-m / step).astype(F32) + ((b + k * m) / step + zero_point).astype(F32)
    if in_float:
        y = y + (-m).astype(F32) * outside.astype(F32)
    if scale is None:
        return y
    return np.clip(round_away(y), -128, 127).astype(np.int8)

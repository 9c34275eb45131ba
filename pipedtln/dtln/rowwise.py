"""Rounds a stage's weights to 8 bits with a scale for each row, where that costs nothing.

The published 8-bit files have one scale for a whole matrix, which costs more than all else that
they round. With a scale for each output LiteRT does the same work at the same speed and follows
the float network 6 dB closer. Most of what is then left comes from two products near the end of the
second stage: its mask, whose error nothing evens out, and the decoder, whose input is nearly empty
but for a few loud features. Those two are small and stay float: 9 to 11 dB more.
"""

from __future__ import annotations

import numpy as np

from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import Matrix, Rounded, StageWeights

FORMAT = 1
"""Changes with what is built of :func:`round_rows`, so that older files are made anew."""


def round_rows(weights: StageWeights[Tensor]) -> StageWeights[Matrix]:
    """Round the matrices of a float stage, but for a second stage's mask and decoder."""
    forward, bias = weights.forward[0], weights.bias[0]
    gain, shift = weights.norm_gain, weights.norm_bias
    if gain is not None and shift is not None:
        # What follows the norm is linear, so it takes the norm's own gain and bias in.
        bias = bias + forward @ shift
        forward = forward * gain
        gain, shift = np.ones_like(gain), np.zeros_like(shift)
    first, second = weights.recurrent
    return StageWeights(
        inputs=weights.inputs,
        units=weights.units,
        forward=(quantize(forward), quantize(weights.forward[1])),
        recurrent=(quantize(first), quantize(second)),
        bias=(bias, weights.bias[1]),
        mask=weights.mask if weights.decoder is not None else quantize(weights.mask),
        mask_bias=weights.mask_bias,
        norm_gain=gain,
        norm_bias=shift,
        norm_floor=weights.norm_floor,
        power_floor=weights.power_floor,
        encoder=None if weights.encoder is None else quantize(weights.encoder),
        decoder=weights.decoder,
    )


def quantize(matrix: Tensor) -> Rounded:
    """Round each row of a float matrix to 8 bits, symmetrically; a row of zeros has scale 1."""
    scales: Tensor = np.abs(matrix).max(axis=1) / np.float32(127)
    scales[scales == 0] = 1
    return Rounded(np.round(matrix / scales[:, None]).astype(np.int8), scales)

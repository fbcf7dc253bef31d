"""Convert HDR colours (PQ, HLG) to the SDR colours of the same scene, as formulas and as a lookup table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

_Array = npt.NDArray[np.float64]

_TRANSFERS = {16: "pq", 18: "hlg"}  # by the numbers of ITU-T H.273, which FFmpeg uses
_BT709, _BT2020, _P3 = 1, 9, 12
_CHROMATICITIES = {  # x and y of red, green and blue
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_REFERENCE_WHITE = 203.0  # cd/m2 of white paper, ITU-R BT.2408: SDR white
_PEAK = 1000.0  # cd/m2: the nominal display of HLG, and the usual one of PQ; brighter light is clipped to white
_GAMMA = 2.4  # of an SDR display, ITU-R BT.1886 with a black of 0
_LEVEL = 10  # of the Hald CLUT: each of its axes has _LEVEL**2 entries


@dataclass(frozen=True)
class Hdr:
    """The transfer curve and primary colours of an HDR video."""

    transfer: str  # "pq" (SMPTE ST 2084) or "hlg" (ARIB STD-B67), both in ITU-R BT.2100
    primaries: int  # by the numbers of ITU-T H.273

    @classmethod
    def of(cls, context: "VideoCodecContext") -> "Hdr | None":
        """Read curve and primaries from a decoder's context; return None for SDR video.

        Unspecified primaries are taken as BT.2020. SDR transfer curves are left to ffmpeg, which does not convert them,
        whatever the primaries: wide-gamut SDR is rare, and comes out only slightly pale.
        """
        transfer = _TRANSFERS.get(int(context.color_trc))
        if transfer is None:
            return None
        primaries = int(context.color_primaries)
        return cls(transfer, primaries if primaries in _CHROMATICITIES else _BT2020)

    def table(self) -> npt.NDArray[np.float32]:
        """Return `to_sdr` of evenly spaced colours as a Hald CLUT, (1000, 1000, 3) float32, red running fastest."""
        axis = np.linspace(0, 1, _LEVEL**2)
        blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
        colours = np.stack([red, green, blue], axis=-1)
        return self.to_sdr(colours).astype(np.float32).reshape(_LEVEL**3, _LEVEL**3, 3)

    def to_sdr(self, signal: _Array) -> _Array:
        """Convert R'G'B' of this video to R'G'B' of BT.709, (..., 3) from 0 to 1.

        The light of the reference display is converted to BT.709 primaries; colours outside of their gamut are clipped.
        Highlights are rolled off by one factor for all three colours, which preserves hue. The result is coded for a
        display of gamma 2.4 whose white is the reference white, as SDR video is. A grey card, 38 % of either signal,
        maps to 42 %, white paper to 90 %.
        """
        to_xyz = _to_xyz(self.primaries)
        light = _pq_light(signal) if self.transfer == "pq" else _hlg_light(signal, to_xyz[1])
        light = np.maximum(light @ (np.linalg.inv(_to_xyz(_BT709)) @ to_xyz).T, 0)
        brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
        rolled_off = light * (_roll_off(brightest) / brightest)
        return np.asarray((rolled_off / _REFERENCE_WHITE).clip(0, 1) ** (1 / _GAMMA), np.float64)


def _to_xyz(primaries: int) -> _Array:
    """Return the matrix from linear R, G, B to X, Y, Z; its middle row holds the luminance weights."""
    colours = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    white = np.array([x / y, 1, (1 - x - y) / y])
    return np.asarray(colours * np.linalg.solve(colours, white), np.float64)


_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_light(signal: _Array) -> _Array:
    """EOTF of PQ: signal from 0 to 1 -> cd/m2."""
    power = signal ** (1 / _M2)
    return np.asarray(10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1), np.float64)


def _pq_signal(light: _Array) -> _Array:
    """Inverse of `_pq_light`."""
    power = (light / 10000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float64)


def _hlg_light(signal: _Array, luminance: _Array) -> _Array:
    """EOTF of HLG on a display of 1000 cd/m2, system gamma 1.2: signal from 0 to 1 -> cd/m2."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(_PEAK * scene * np.maximum(scene @ luminance, 1e-9)[..., None] ** 0.2, np.float64)


def _roll_off(light: _Array) -> _Array:
    """EETF of ITU-R BT.2390: compress light of up to 1000 cd/m2 for a display whose peak is the reference white.

    Light below 92 cd/m2 is unchanged. Above, a Hermite spline over the PQ signal leads to white; its slope is
    continuous at its start and 0 at its end.
    """
    peak, white = _pq_signal(np.array(_PEAK)), _pq_signal(np.array(_REFERENCE_WHITE))
    signal = np.minimum(_pq_signal(light) / peak, 1)
    end = white / peak
    knee = 1.5 * end - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * end
    return _pq_light(np.where(signal < knee, signal, spline) * peak)

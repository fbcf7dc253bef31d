"""Video of high dynamic range, and the colours with which ordinary video shows the same scene."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

_Array = npt.NDArray[np.float64]

_TRANSFERS = {16: "pq", 18: "hlg"}  # by the numbers of ITU-T H.273, as FFmpeg counts
_BT709, _BT2020, _P3 = 1, 9, 12
_CHROMATICITIES = {  # x and y of red, green and blue
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_REFERENCE_WHITE = 203.0  # cd/m2 of white paper, ITU-R BT.2408: what ordinary video calls white
_PEAK = 1000.0  # cd/m2: HLG's nominal display, and the usual one for PQ; what is brighter is white
_GAMMA = 2.4  # of the display that ordinary video is made for, ITU-R BT.1886 with a black of 0
_LEVEL = 10  # of the table: its axes have the square of it as entries


@dataclass(frozen=True)
class Hdr:
    """How a video codes light: by which curve, in which primary colours."""

    transfer: str  # "pq" (SMPTE ST 2084) or "hlg" (ARIB STD-B67), both in ITU-R BT.2100
    primaries: int

    @classmethod
    def of(cls, context: "VideoCodecContext") -> "Hdr | None":
        """Reads what a decoder knows of its stream; None for ordinary video.

        Primaries that are not said are those of BT.2020. Ordinary transfer curves are left to ffmpeg, which shows them
        unconverted, whatever the primaries: wide-gamut SDR is rare, and only a little pale.
        """
        transfer = _TRANSFERS.get(int(context.color_trc))
        if transfer is None:
            return None
        primaries = int(context.color_primaries)
        return cls(transfer, primaries if primaries in _CHROMATICITIES else _BT2020)

    def table(self) -> npt.NDArray[np.float32]:
        """Lists what `to_sdr` gives for evenly spaced colours: a Hald CLUT, (1000, 1000, 3), red running fastest."""
        axis = np.linspace(0, 1, _LEVEL**2)
        blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
        colours = np.stack([red, green, blue], axis=-1)
        return self.to_sdr(colours).astype(np.float32).reshape(_LEVEL**3, _LEVEL**3, 3)

    def to_sdr(self, signal: _Array) -> _Array:
        """Converts R'G'B' of this video to R'G'B' of BT.709, (..., 3) from 0 to 1.

        The light of the reference display is brought to the primaries of BT.709, and what lies outside of these is cut
        off. Highlights are rolled off, all three colours by one factor so that hues stay; what results is coded for a
        display of gamma 2.4 whose white is the reference white, as ordinary video is. A grey card, 38 % of either
        signal, comes out at 42 %, white paper at 90 %.
        """
        to_xyz = _to_xyz(self.primaries)
        light = _pq_light(signal) if self.transfer == "pq" else _hlg_light(signal, to_xyz[1])
        light = np.maximum(light @ (np.linalg.inv(_to_xyz(_BT709)) @ to_xyz).T, 0)
        brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
        shown = light * (_rolled_off(brightest) / brightest)
        return np.asarray((shown / _REFERENCE_WHITE).clip(0, 1) ** (1 / _GAMMA), np.float64)


def _to_xyz(primaries: int) -> _Array:
    """The matrix from linear R, G, B to X, Y, Z; its middle row holds the shares of luminance."""
    colours = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    white = np.array([x / y, 1, (1 - x - y) / y])
    return np.asarray(colours * np.linalg.solve(colours, white), np.float64)


_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_light(signal: _Array) -> _Array:
    """The EOTF of PQ: cd/m2."""
    power = signal ** (1 / _M2)
    return np.asarray(10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1), np.float64)


def _pq_signal(light: _Array) -> _Array:
    """The inverse of `_pq_light`."""
    power = (light / 10000) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2, np.float64)


def _hlg_light(signal: _Array, luminance: _Array) -> _Array:
    """The EOTF of HLG on a display of 1000 cd/m2, whose system gamma is 1.2: cd/m2."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(_PEAK * scene * np.maximum(scene @ luminance, 1e-9)[..., None] ** 0.2, np.float64)


def _rolled_off(light: _Array) -> _Array:
    """The EETF of ITU-R BT.2390: cd/m2 of a scene of up to 1000 on a display that ends at the reference white.

    Light below 92 cd/m2 stays as it is; above, a Hermite spline over the PQ signal leads to white, with no step in
    slope at its begin and none left at its end.
    """
    peak, white = _pq_signal(np.array(_PEAK)), _pq_signal(np.array(_REFERENCE_WHITE))
    signal = np.minimum(_pq_signal(light) / peak, 1)
    end = white / peak
    knee = 1.5 * end - 0.5
    t = np.maximum(signal - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * end
    return _pq_light(np.where(signal < knee, signal, spline) * peak)

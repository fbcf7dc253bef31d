"""Triton kernels of the engine, imported only where they run: on CUDA, or in Triton's interpreter in tests."""

# Options of every launch: products and sums in one rounding. Triton warns of its default, which it will change.
FUSED = {"enable_fp_fusion": True}

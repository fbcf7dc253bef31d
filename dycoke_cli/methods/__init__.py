"""Compression methods: tensor operations on visual tokens, one file each, listed in `registry`."""

"""Compression methods: tensor arithmetic over visual tokens, one file each, listed in `registry`."""

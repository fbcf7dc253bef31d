"""Tokens in, steps out: the prefill and decode loop over the stock text model."""

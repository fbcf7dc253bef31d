"""Inference engine: the decoder and its operators, KV buffer, prefill, decode steps and sampling."""

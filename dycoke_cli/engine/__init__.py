"""Inference engine: KV buffer, prefill, decode steps and sampling around the stock text model of transformers."""

"""Render results for people (tables, panel, HTML report) and scripts (JSON, CSV), without importing torch."""

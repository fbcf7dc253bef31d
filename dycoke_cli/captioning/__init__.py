"""Captions for many videos: plan, decode, answer in batches, and append records that a later run resumes from."""

"""Decode video files and image folders into sampled RGB frames with exact timestamps."""

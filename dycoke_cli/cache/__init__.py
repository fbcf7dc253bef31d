"""Videos as the vision tower left them, kept on disk: the same look at the same video needs no decoder and no tower."""

"""The model hub: what is on this disk, and fetching what is not."""

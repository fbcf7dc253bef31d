"""Whether a run fits: the device's memory, and the model's context, by arithmetic before anything runs."""

"""Whether what `dycoke` needs works on this machine: one file a field, each check one finding."""

"""Check whether everything that `dycoke` needs works on this machine; each check returns one result."""

"""dycoke inside other programs, which are never its dependencies."""

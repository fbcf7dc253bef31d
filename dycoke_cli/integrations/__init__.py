"""Integrations of dycoke into other programs, none of which is a dependency."""

"""The `dycoke` command line: one module for each subcommand, and the code that they share."""

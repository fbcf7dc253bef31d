"""What the machine gives and takes: devices, memory, clocks, files, progress. Below everything else."""

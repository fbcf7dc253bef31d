"""Operating-system services: devices, memory, clocks, files, locks, progress callbacks. Imports no other package."""

"""Operating-system services: devices, memory, clocks, files, locks, progress callbacks. Imports only `errors`."""

"""Speed and memory on this machine: arms in turns, the machine's own limits beside them."""

"""Everything that is to be measured on a GPU, in one command: `python -m benchmarks.gpu`.

`parts` contains one file a part: `measure` does the work in a process of its own, `rows` returns what the table shows.
"""

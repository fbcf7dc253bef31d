"""The parts of a GPU day: `measure(job)` fills a record, `rows(record)` returns the figures that the table shows."""

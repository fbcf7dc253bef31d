"""Compare several methods on one question about one video: separate runs, in alternating order."""

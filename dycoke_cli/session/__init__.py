"""A video before a model: decoding, encoding, questions in, measured answers out."""

"""Methods whose embeddings move with a transformation in a known way."""

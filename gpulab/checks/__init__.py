"""Makes and proves: evidence in, verdict out."""

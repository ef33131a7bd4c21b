"""An exhaustive search of a small world around the real window functions."""

"""The functions on memory adapters, through their own entry points."""

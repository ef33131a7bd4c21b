"""The real handlers on memory adapters, in virtual time."""

"""All I/O: each module implements one port with one outside system, and decides nothing."""

"""What the functions share: taking slots, calling the upstream, recording and telling outcomes.

Knows the core and the ports, never an adapter.
"""

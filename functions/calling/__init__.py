"""What the functions share: taking slots, calling the upstream, recording outcomes, sending notifications.

These modules import the core and the ports, never an adapter.
"""

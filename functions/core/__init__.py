"""The rules of the service, as pure functions: values in, values out.

Nothing in here reads a clock, randomness, the environment, the network or AWS.
"""

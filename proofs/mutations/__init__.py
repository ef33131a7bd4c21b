"""Faults put into the code on purpose: a test that no fault can fail proves nothing."""

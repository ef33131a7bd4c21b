"""The rules of the service, as pure functions: values in, values out.

Nothing in here reads a clock, randomness, the environment, the network or AWS. The terms are those of
`docs/glossary.md`. Three drawings show the hard parts: one slot (`core/window.py`), one call's fence
(`core/job.py`), one delivery (`core/request.py`).
"""

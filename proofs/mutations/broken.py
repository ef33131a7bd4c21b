"""`python -m proofs.mutations.broken FAULT MODULE [argument …]` runs a module with one fault in the code."""

import runpy
import sys

from proofs.mutations import callers, jobs, wakeups, webhooks, window

LISTS = (window.FAULTS, jobs.FAULTS, webhooks.FAULTS, callers.FAULTS, wakeups.FAULTS)
FAULTS = {fault.name: fault for faults in LISTS for fault in faults}


def main() -> None:
    """Apply the fault, then run the module as its own `python -m` would."""
    _, name, module, *arguments = sys.argv
    FAULTS[name].apply()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""Applies a deployment's limits to the window, in one write."""

from calling.slots import Slots
from core import window as windows
from core.errors import Unavailable
from core.gate import Gate
from core.window import Change, Limits
from ports import Deployment, Telemetry


async def apply_deployed(slots: Slots, limits: Limits, deployment: Deployment, telemetry: Telemetry) -> None:
    """Apply the limits of these settings if the latest deployment has them and the window does not.

    Instances of an older deployment may still run. Without the check each would undo the other's change.
    """
    gate = slots.gate or await slots.refresh()
    if not windows.wants_deployed(gate.window, limits):
        return
    try:
        if await deployment.limits() != limits:
            return
    except Unavailable as error:
        telemetry.event("limits_not_applied", reason=str(error))
        return

    def decide(gate: Gate) -> Change | None:
        wanted = windows.wants_deployed(gate.window, limits)
        return (
            windows.change_limits(gate.window, limits.calls, limits.window_ms, deployed=True)
            if wanted
            else None
        )

    await slots.amend(decide)

"""How many jobs of each caller may wait."""

from dataclasses import replace

from core import admission
from core import window as windows
from core.admission import Full
from core.config import CallSettings, Reader
from core.gate import Gate

NOW_MS = 1_800_000_000_000
SETTINGS = CallSettings.read(Reader({"UPSTREAM_URL": "https://upstream.example"}))
GATE = Gate(windows.empty(SETTINGS.limits))
ROOM = 670
"""In three hours 1,785 calls fit, 447 of them before a job is late; half of the others are for late jobs."""


def flooded(gate: Gate, client: str, settings: CallSettings) -> tuple[Gate, Full]:
    """Let a caller send jobs until one is refused."""
    while not (full := admission.admits(gate, client, NOW_MS, settings)):
        waiting = {**gate.waiting, client: gate.waiting.get(client, 0) + 1}
        gate = replace(gate, waiting=waiting)
    return gate, full


def test_one_caller_alone_fills_its_share() -> None:
    """And no more; with all of the room as its share it fills the room."""
    gate, full = flooded(GATE, "trudy", SETTINGS)
    assert (gate.waiting, full) == ({"trudy": ROOM // 2}, Full.CLIENT_BACKLOG)
    gate, full = flooded(GATE, "trudy", replace(SETTINGS, client_backlog_share=1.0))
    assert (gate.waiting, full) == ({"trudy": ROOM}, Full.BACKLOG)


def test_a_further_caller_finds_room() -> None:
    """However many flood at once: each one's limit follows from what the others have left."""
    gate, clients = GATE, [f"trudy {number}" for number in range(50)]
    for _ in range(ROOM):
        for client in clients:
            if not admission.admits(gate, client, NOW_MS, SETTINGS):
                gate = replace(gate, waiting={**gate.waiting, client: gate.waiting.get(client, 0) + 1})
    assert max(gate.waiting.values()) <= ROOM // 51 + 1
    gate, _ = flooded(gate, "alice", SETTINGS)
    assert gate.waiting["alice"] >= 1

"""Breadth first through every state that can be reached, so that a counter-example is a shortest one."""

from collections import deque
from dataclasses import dataclass

from proofs.model.world import START, Guard, State, Step, steps, violated


@dataclass(frozen=True, slots=True)
class Found:
    """How many states there are, and the steps to the first one with a call too many (if any)."""

    states: int
    counter_example: list[str] | None


def search(without: Guard | None = None) -> Found:
    """Look at every state; stop at the first violation."""
    came_from: dict[State, tuple[State, str] | None] = {START: None}
    frontier = deque([START])
    while frontier:
        state = frontier.popleft()
        for step in steps(state, without):
            if step.state in came_from:
                continue
            came_from[step.state] = (state, step.what)
            if violated(step.state):
                return Found(len(came_from), _path(came_from, step))
            frontier.append(step.state)
    return Found(len(came_from), None)


def _path(came_from: dict[State, tuple[State, str] | None], last: Step) -> list[str]:
    path, state = list[str](), last.state
    while origin := came_from[state]:
        state, what = origin
        path.append(what)
    return path[::-1]

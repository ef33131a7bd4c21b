"""Faults in the window, its slots, the scheduling and the transport: each must make a fast test fail."""

from proofs.mutations.tool import Mutation

WINDOW = ("unit/test_window.py",)
SLOTS = ("unit/test_slots.py",)
SCHEDULING = ("unit/test_scheduling.py",)
SEND = ("unit/test_one_send.py",)

MUTATIONS = (
    Mutation(
        "settled at the time of sending",
        "calling/slots.py",
        "lease.wall_ms(answer.first_byte_mono_ms) +",
        "lease.permit.taken_at_ms +",
        SLOTS,
    ),
    Mutation(
        "an unknown outcome is settled",
        "calling/slots.py",
        "elif answer.meaning is Meaning.NEVER_SENT:",
        "elif answer.first_byte_mono_ms is None:",
        SLOTS,
    ),
    Mutation(
        "a lease without W",
        "core/window.py",
        "call_limit_ms + self.grace_ms + window_ms + self.margin_ms",
        "call_limit_ms + self.grace_ms + self.margin_ms",
        WINDOW,
    ),
    Mutation(
        "a lease without the time limit of the call",
        "core/window.py",
        "self.send_limit_ms + call_limit_ms + self.grace_ms",
        "self.send_limit_ms + self.grace_ms",
        WINDOW,
    ),
    Mutation(
        "the send deadline is dropped",
        "adapters/upstream.py",
        "if not self._may_send():",
        "if False:",
        SEND,
    ),
    Mutation(
        "the send deadline is judged by monotonic time alone",
        "calling/slots.py",
        "return self._clock.now_ms() <= send_by_ms and",
        "return",
        SLOTS,
    ),
    Mutation(
        "the send deadline is judged by wall time alone",
        "calling/slots.py",
        " and self._clock.monotonic_ms() <= send_by_mono_ms",
        "",
        SLOTS,
    ),
    Mutation(
        "sleep is not noticed",
        "calling/slots.py",
        "self._clock.now_ms() - lease.permit.taken_at_ms - awake_ms)",
        "0)",
        SLOTS,
    ),
    Mutation(
        "the holder is not checked", "core/window.py", "if slot.holder == permit.id:", "if True:", WINDOW
    ),
    Mutation(
        "a take that had landed is not recognised",
        "calling/slots.py",
        "return Written(gate) if gate and granted else result",
        "return result",
        SLOTS,
    ),
    Mutation(
        "a lost race is a grant",
        "calling/conditional.py",
        "        if isinstance(result, Written):\n            return result",
        "        if True:\n            return result",
        SLOTS,
    ),
    Mutation(
        "the version does not change with the limits",
        "core/window.py",
        "window.limits.version + 1",
        "window.limits.version",
        WINDOW,
    ),
    Mutation(
        "no margin for clocks",
        "core/window.py",
        "window.limits.window_ms + timing.margin_ms\n",
        "window.limits.window_ms\n",
        WINDOW,
    ),
    Mutation(
        "a slot is free a moment early",
        "core/window.py",
        "if needed.free_at_ms > now_ms:",
        "if needed.free_at_ms > now_ms + 1:",
        WINDOW,
    ),
    Mutation(
        "a lower limit drops the busiest slots",
        "core/window.py",
        "key=lambda slot: slot.free_at_ms, reverse=True)",
        "key=lambda slot: slot.free_at_ms)",
        WINDOW,
    ),
    Mutation(
        "a limit lowered and raised again forgets the calls between",
        "core/window.py",
        "added = [Slot(free_at_ms=tightened_until_ms) for",
        "added = [Slot() for",
        WINDOW,
    ),
    Mutation(
        "a kept slot does not wait for the calls of dropped ones",
        "core/window.py",
        "max(free_at_ms, window.tightened_until_ms)",
        "free_at_ms",
        WINDOW,
    ),
    Mutation(
        "a longer window waits for each slot's own call only",
        "core/window.py",
        "waited_for = slots if longer_ms else slots[calls:]",
        "waited_for = slots[calls:]",
        WINDOW,
    ),
    Mutation(
        "an unsent call restores a slot of other limits",
        "core/window.py",
        "if held is None or window.limits != permit.limits:",
        "if held is None:",
        WINDOW,
    ),
    Mutation(
        "a block is overlooked",
        "core/window.py",
        "if window.blocked_until_ms > now_ms:\n        return NotBefore",
        "if False:\n        return NotBefore",
        WINDOW,
    ),
    Mutation(
        "the reserve is ignored by the window",
        "core/window.py",
        "order[min(reserve, len(order) - 1)]",
        "order[0]",
        WINDOW,
    ),
    Mutation(
        "the reserve is ignored by retries",
        "core/scheduling.py",
        "Kind.RETRY, reserve(window, now_ms))",
        "Kind.RETRY, 0)",
        SCHEDULING,
    ),
    Mutation(
        "retry before fresh",
        "core/scheduling.py",
        "    if fresh:\n",
        "    if fresh and not retries:\n",
        SCHEDULING,
    ),
    Mutation(
        "an old retry takes every call",
        "core/scheduling.py",
        " and not old_retry_last",
        "",
        SCHEDULING,
    ),
    Mutation("jitter shortens", "core/scheduling.py", "(1 + JITTER_SHARE", "(1 - JITTER_SHARE", SCHEDULING),
    Mutation(
        "a newcomer overtakes those who wait",
        "core/scheduling.py",
        "if fresh_waits or gate.hints.fresh_queued_at_ms",
        "if gate.hints.fresh_queued_at_ms",
        SCHEDULING,
    ),
    Mutation(
        "every caller probes a slow upstream",
        "core/scheduling.py",
        "if gate.hints.slow_probe_at_ms <= now_ms - gate.window.limits.window_ms:",
        "if True:",
        SCHEDULING,
    ),
    Mutation(
        "redirects are followed",
        "adapters/upstream.py",
        "follow_redirects=False",
        "follow_redirects=True",
        SEND,
    ),
    Mutation(
        "a call that broke off is sent again",
        "adapters/upstream.py",
        "        response = await self._client.send(request, stream=True)\n",
        "        try:\n"
        "            response = await self._client.send(request, stream=True)\n"
        "        except httpx.HTTPError:\n"
        "            response = await self._client.send(request, stream=True)\n",
        SEND,
    ),
    Mutation(
        "a call that may have been counted is never sent",
        "adapters/upstream.py",
        "return exchange.answer(Meaning.UNANSWERED, reason=reason)",
        "return exchange.answer(Meaning.NEVER_SENT, reason=reason)",
        SEND,
    ),
    Mutation(
        "a call that was given up is not reset",
        "adapters/upstream.py",
        "[(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)]",
        "[]",
        SEND,
    ),
    Mutation(
        "the kernel keeps a call for longer than the grace",
        "adapters/upstream.py",
        "timeout_ms = max(USER_TIMEOUT_MIN_MS, grace_ms)",
        "timeout_ms = 120_000",
        SEND,
    ),
)

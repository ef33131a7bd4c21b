"""Faults in the order of the handlers' writes and in the transitions: each must make the simulation fail."""

from proofs.mutations.simulated import SimulatedMutation

MUTATIONS = (
    SimulatedMutation(
        "a sweep that skips open requests",
        "processor/sweep.py",
        "await self._look_at_requests(requests)",
        "pass",
    ),
    SimulatedMutation(
        "a sweep that skips lost deliveries",
        "processor/sweep.py",
        "await self._each(self._resend(key) for key in deliveries)",
        "pass",
    ),
    SimulatedMutation(
        "a sweep that leaves a message that nobody calls idle",
        "processor/sweep.py",
        "job = await self._scheduled(job, due[0].message)",
        "if job is None:\n            return",
    ),
    SimulatedMutation(
        "a sweep that gives up without a call's outcome",
        "processor/sweep.py",
        "after_call=False",
        "after_call=True",
    ),
    SimulatedMutation(
        "notified before it is closed",
        "calling/outcomes.py",
        "        results = await asyncio.gather(\n            *(self._close(before",
        "        await self.notify([after for _, after in changes])\n"
        "        results = await asyncio.gather(\n            *(self._close(before",
        also=(("await self.notify([request for request in closed if request.delivery_due])", "pass"),),
    ),
    SimulatedMutation(
        "closed before the outcome is on the job",
        "processor/drain.py",
        "            job = await self._recorder.record(begun, answer)\n"
        "            if job is not None and answer.meaning not in BLAMELESS:\n"
        "                await self._outcomes.finish(job.id)",
        "            await self._outcomes.finish(begun.fenced.id)\n"
        "            await self._recorder.record(begun, answer)",
    ),
    SimulatedMutation(
        "parked while requests are open",
        "calling/outcomes.py",
        "        if not still_open:\n",
        "        if True:\n",
    ),
    SimulatedMutation(
        "given up by attempts while a call is live",
        "calling/outcomes.py",
        "if not after_call or job.call_live(now_ms):",
        "if not after_call and not job.call_live(now_ms):",
        first=20,
    ),
    SimulatedMutation(
        "a request that is never due",
        "api/signing.py",
        "due_ms=now_ms + FIRST_LOOK_MS,",
        "due_ms=None,",
    ),
    SimulatedMutation(
        "202 without a durable write",
        "api/signing.py",
        "request = await self._store.accept(request)",
        "await asyncio.gather(self._store.accept(request), return_exceptions=True)",
    ),
    SimulatedMutation(
        "202 for a request that was closed as answered",
        "api/signing.py",
        "            return Signed(signature)\n        return Accepted(request,",
        "        return Accepted(request,",
        first=20,
    ),
    SimulatedMutation(
        "a live call not respected by the processor",
        "core/job.py",
        "return self.due_ms is not None and self.due_ms <= now_ms and not self.call_live(now_ms)",
        "return self.due_ms is not None and self.due_ms <= now_ms",
        also=(
            (
                "due_ms=unanswered_next_ms if job.scheduled else None,",
                "due_ms=now_ms if job.scheduled else None,",
            ),
        ),
    ),
    SimulatedMutation(
        "a live call not respected by the API",
        "core/job.py",
        "if self.call_live(now_ms) or self.refuses(now_ms, ttl_ms) or self.scheduled:",
        "if self.refuses(now_ms, ttl_ms) or self.scheduled:",
        also=(("return self.next_try_ms <= now_ms", "return True"),),
    ),
    SimulatedMutation(
        "a fence that ends before its call",
        "calling/calls.py",
        "call_for_ms=timing.send_limit_ms + call_limit_ms + timing.margin_ms,",
        "call_for_ms=timing.margin_ms,",
    ),
    SimulatedMutation(
        "a failure recorded on somebody else's call",
        "calling/recording.py",
        "if current is None or current.call != begun.fenced.call:",
        "if current is None:",
        first=250,
    ),
    SimulatedMutation(
        "a signature recorded twice",
        "calling/recording.py",
        "return None if job.signature else jobs.signed(job, answer.signature, now_ms)",
        "return jobs.signed(job, answer.signature, now_ms)",
        first=70,
    ),
    SimulatedMutation(
        "a delivery's fence ignored",
        "core/request.py",
        "if delivery.state is not DeliveryState.PENDING or delivery.attempts != attempt:",
        "if delivery.state is not DeliveryState.PENDING:",
        also=(("if now_ms + EARLY_MS < max(delivery.until_ms, delivery.not_before_ms):", "if False:"),),
    ),
    SimulatedMutation(
        "a failed delivery that is never due again",
        "core/request.py",
        "return replace(request, delivery=waiting, due_ms=_look_at_ms(next_ms, queued=queued))",
        "return replace(request, delivery=waiting, due_ms=None)",
    ),
    SimulatedMutation(
        "an open request that is looked at once only",
        "core/request.py",
        "return replace(request, due_ms=now_ms + wait_ms)",
        "return replace(request, due_ms=now_ms + 10**10)",
    ),
    SimulatedMutation(
        "a failed attempt taken for a delivery",
        "notifier/deliver.py",
        "if outcome.kind is OutcomeKind.DELIVERED:",
        "if outcome.kind is not OutcomeKind.GONE:",
    ),
    SimulatedMutation(
        "a call that was given up is not reset",
        "adapters/upstream.py",
        "[(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)]",
        "[]",
    ),
)

import base64
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local import serve, upstream
from infra.local.journal import Journal
from infra.local.upstream_model import Behaviour, answer_delay_s, arrivals_within, outage_s, worst_window
from infra.local.upstream_state import Arrival, State

KEY = {"Authorization": "local-dev-key"}
START_S = 1_000_000.0
HEALTHY = {"outage_share": 0.0, "latency_ms": 0.0, "slow_share": 0.0, "hang_share": 0.0}


class Clock:
    def __init__(self) -> None:
        self.now_s = START_S
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)


@asynccontextmanager
async def standin(
    state_dir: Path, clock: Clock | None = None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    clock = clock or Clock()
    settings = upstream.Settings(state_dir=state_dir, **{**HEALTHY, **changes})
    app = upstream.create_app(settings, clock=clock, sleep=clock.sleep)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://upstream") as client:
        yield client


async def sign(client: httpx.AsyncClient, message: str) -> httpx.Response:
    return await client.get("/crypto/sign", params={"message": message}, headers=KEY)


async def verify(client: httpx.AsyncClient, message: str, signature: str) -> httpx.Response:
    return await client.get(
        "/crypto/verify", params={"message": message, "signature": signature}, headers=KEY
    )


@given(
    st.lists(st.integers(0, 50).map(float), max_size=30).map(sorted),
    st.integers(1, 20).map(float),
)
def test_worst_window_is_exact(times_s: list[float], window_s: float) -> None:
    """No half-open window of any position holds more, and one holds exactly as many."""
    starts_s = [half / 2 for half in range(-60, 120)]
    counts = [sum(start < t <= start + window_s for t in times_s) for start in starts_s]
    assert max(counts) == worst_window(times_s, window_s)


@pytest.mark.parametrize(("now_s", "expected"), [(9.999, 2), (10.0, 1), (20.0, 0)])
def test_an_arrival_leaves_the_window_after_exactly_its_length(now_s: float, expected: int) -> None:
    """At one window's length the arrival no longer counts; a millisecond before it does."""
    assert expected == arrivals_within([0.0, 5.0], now_s, 10.0)


def test_the_share_of_outages_and_their_length_are_as_set() -> None:
    """About the set share of messages fails, each for a time within the set range, always the same."""
    behaviour = Behaviour(outage_share=0.5, outage_min_s=60, outage_max_s=300)
    lengths_s = [outage_s(behaviour, f"m{number}") for number in range(2_000)]
    failing_s = [length_s for length_s in lengths_s if length_s]
    assert 900 < len(failing_s) < 1_100
    assert min(failing_s) >= 60
    assert max(failing_s) <= 300
    assert lengths_s == [outage_s(behaviour, f"m{number}") for number in range(2_000)]


def test_latencies_have_the_median_the_tail_and_the_hangs_that_are_set() -> None:
    """The median is the set one; slow answers and hangs come as often as set."""
    behaviour = Behaviour(latency_ms=300, slow_share=0.1, slow_min_s=5, slow_max_s=9, hang_share=0.05)
    delays_s = [answer_delay_s(behaviour, "m", number) for number in range(4_000)]
    answered_s = sorted(delay_s for delay_s in delays_s if delay_s is not None)
    assert 0.04 < delays_s.count(None) / 4_000 < 0.06
    assert 0.08 < sum(delay_s >= 5 for delay_s in answered_s) / 4_000 < 0.12
    assert 0.28 < answered_s[int(0.45 * len(answered_s))] < 0.33


async def test_a_signature_is_of_the_exact_text_and_verifies(tmp_path: Path) -> None:
    """The body is 172 characters of bare base64 that verify for this message and for no other."""
    message = "a+b c%2B é 😀\n"
    async with standin(tmp_path) as client:
        answer = await sign(client, message)
        assert answer.status_code == 200
        assert len(answer.text) == 172
        assert len(base64.b64decode(answer.text, validate=True)) == 128
        assert (await verify(client, message, answer.text)).status_code == 200
        other = await verify(client, message + "!", answer.text)
    assert (other.status_code, other.text) == (400, "Error 400: Invalid signature for message!")


async def test_one_call_too_many_is_refused_and_counted(tmp_path: Path) -> None:
    """Call N + 1 within W answers 429 and is a violation; after W there is room again."""
    clock = Clock()
    async with standin(tmp_path, clock, limit=3, window_s=10) as client:
        statuses = [(await sign(client, "m")).status_code for _ in range(4)]
        clock.now_s += 10
        statuses.append((await sign(client, "m")).status_code)
        stats = (await client.get("/_stats")).json()
    assert statuses == [200, 200, 200, 429, 200]
    assert (stats["worst_window"], stats["violations"], stats["arrivals_total"]) == (4, 1, 5)
    assert stats["arrivals"][3] == {"t": START_S, "message": "m", "outcome": "limited"}


async def test_what_counts_against_the_limit(tmp_path: Path) -> None:
    """Signing and the key check count, a wrong key too; verifying and a call without any key do not."""
    async with standin(tmp_path) as client:
        await sign(client, "m")
        await client.get("/", headers=KEY)
        await client.get("/crypto/sign?message=m", headers={"Authorization": "wrong"})
        await verify(client, "m", "x")
        await client.get("/")
        stats = (await client.get("/_stats")).json()
    assert [arrival["outcome"] for arrival in stats["arrivals"]] == ["signed", "welcome", "unauthorized"]


async def test_verifying_counts_if_set(tmp_path: Path) -> None:
    """With `verify_counts` the limit holds for verifying as well."""
    async with standin(tmp_path, limit=1, verify_counts=True) as client:
        statuses = [(await verify(client, "m", "x")).status_code for _ in range(2)]
    assert statuses == [400, 429]


@pytest.mark.parametrize(
    ("query", "key", "expected"),
    [
        ("", KEY, 400),
        ("message=", KEY, 400),
        ("message=%FF", KEY, 400),
        ("message=" + "a" * 8_193, KEY, 414),
        ("message=a", {"Authorization": "Bearer local-dev-key"}, 401),
        ("message=a", {}, 401),
    ],
)
async def test_bad_calls_are_refused(tmp_path: Path, query: str, key: dict[str, str], expected: int) -> None:
    """A missing, unreadable or overlong message and anything but the bare key get a 4xx."""
    async with standin(tmp_path) as client:
        answer = await client.get(f"/crypto/sign?{query}", headers=key)
    assert expected == answer.status_code


async def test_an_outage_begins_at_the_first_call_and_ends(tmp_path: Path) -> None:
    """A failing message goes on failing for the whole outage, over a restart too, then succeeds."""
    clock = Clock()
    outage = {"outage_share": 1.0, "outage_min_s": 100.0, "outage_max_s": 100.0}
    async with standin(tmp_path, clock, **outage) as client:
        first = await sign(client, "m")
    clock.now_s += 99.9
    async with standin(tmp_path, clock) as client:
        still_failing = (await sign(client, "m")).status_code
        clock.now_s += 0.1
        after = (await sign(client, "m")).status_code
    assert first.text == "Error 502: Failed to sign message due to simulated service degradation."
    assert (first.status_code, still_failing, after) == (502, 502, 200)


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """The key, the arrivals, the worst window and the violations are those of before."""
    async with standin(tmp_path, limit=1) as client:
        signature = (await sign(client, "m")).text
        await sign(client, "m")
        before = (await client.get("/_stats")).json()
    async with standin(tmp_path, limit=1) as client:
        after = (await client.get("/_stats")).json()
        assert (await sign(client, "m")).status_code == 429
        assert (await verify(client, "m", signature)).status_code == 200
    assert before == after


async def test_the_running_process_can_be_changed(tmp_path: Path) -> None:
    """`_config` changes only what it names; a forced answer is given as told, on the path that it names."""
    forced = {"forced_status": 429, "forced_body": "no", "forced_retry_after_s": 7, "forced_path": "/"}
    async with standin(tmp_path) as client:
        assert (await client.post("/_config", json=forced)).json()["limit"] == 10
        answer = await client.get("/", headers=KEY)
        assert (await sign(client, "m")).status_code == 200
        await client.post("/_config", json={"forced_path": None, "forced_body": None})
        assert (await sign(client, "m")).text == "Error 429: forced"
        await client.post("/_config", json={"forced_status": None})
        assert (await client.get("/", headers=KEY)).status_code == 200
        stats = (await client.get("/_stats")).json()
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (429, "no", "7")
    assert stats["violations"] == 0


@pytest.mark.parametrize(
    "body", [{"limit": 0}, {"unknown": 1}, {"outage_share": 2}, [], {"slow_min_s": 99}, {"outage_min_s": 301}]
)
async def test_nonsense_is_refused_by_config(tmp_path: Path, body: object) -> None:
    """An unknown name or an impossible value changes nothing."""
    async with standin(tmp_path) as client:
        assert (await client.post("/_config", json=body)).status_code == 422


async def test_a_hanging_call_answers_nothing_until_its_cap(tmp_path: Path) -> None:
    """A hang lasts as long as its cap; what it was about to say is never said."""
    clock = Clock()
    async with standin(tmp_path, clock, hang_share=1, hang_cap_s=300) as client:
        answer = await sign(client, "m")
    assert (answer.status_code, clock.slept_s) == (504, [300])


def test_only_the_last_arrivals_are_kept_but_the_worst_window_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and file are bounded; the worst window and the counts outlive the arrivals they came from."""
    monkeypatch.setattr("infra.local.upstream_state.ARRIVALS_KEPT", 10)
    monkeypatch.setattr("infra.local.upstream_state.LINES_BEFORE_COMPACTING", 30)
    state = State(tmp_path / "events", 1.0)
    for at_s in [0.0] * 5 + [float(second) for second in range(10, 110)]:
        state.record(Arrival(at_s, "m", "signed"), violation=at_s == 0.0, window_s=1.0)
    again = State(tmp_path / "events", 1.0)
    assert len((tmp_path / "events").read_text().splitlines()) <= 31
    for kept in (state, again):
        assert (kept.worst(1.0), kept.arrivals_total, kept.violations, len(kept.arrivals)) == (5, 105, 5, 10)


def test_another_window_length_is_judged_anew(tmp_path: Path) -> None:
    """The worst window of a new length comes from the arrivals, not from the old length's worst."""
    state = State(tmp_path / "events", 10.0)
    for at_s in range(10):
        state.record(Arrival(float(at_s), "m", "signed"), violation=False, window_s=10.0)
    assert (state.worst(10.0), state.worst(2.0)) == (10, 2)


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    """A line cut off by a kill is skipped, and the next event does not stick to it."""
    path = tmp_path / "events"
    path.write_bytes(b'{"n": 1}\n{"n": ')
    Journal(path).append({"n": 2})
    assert Journal(path).loaded == [{"n": 1}, {"n": 2}]


def test_settings_come_from_flags_then_variables_then_defaults() -> None:
    """A flag wins over its variable, an empty variable is none."""
    environ = {"STANDIN_LIMIT": "3", "STANDIN_SEED": "4", "STANDIN_PORT": ""}
    settings = serve.parse(upstream.Settings, "STANDIN", ["--limit", "5"], environ)
    assert (settings.limit, settings.seed, settings.port) == (5, 4, 8100)


def test_a_bad_setting_names_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """The start stops with the flag, the variable and what was expected."""
    with pytest.raises(SystemExit) as stopped:
        serve.parse(upstream.Settings, "STANDIN", [], {"STANDIN_LIMIT": "many"})
    assert stopped.value.code == 2
    assert "--limit (STANDIN_LIMIT): Input should be a valid integer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "setting", "flags"),
    [
        ("upstream", "UPSTREAM_PORT", ["--state-dir", "{dir}"]),
        ("inbox", "INBOX_PORT", ["--state-dir", "{dir}"]),
        ("front", "API_PORT", ["--target", "http://127.0.0.1:9"]),
    ],
)
def test_a_server_starts_stops_and_says_when_its_port_is_taken(
    tmp_path: Path, module: str, setting: str, flags: list[str]
) -> None:
    """SIGTERM ends it with status 0; a taken port is one line with the setting's name, and status 2."""
    flags = [flag.format(dir=tmp_path) for flag in flags]
    command = [sys.executable, "-m", f"infra.local.{module}", *flags]
    environ = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen(  # noqa: S603  # our own module
        [*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environ
    ) as server:
        assert server.stdout
        assert "listens on http://127.0.0.1:" in server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        try:
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = subprocess.run(  # noqa: S603  # our own module
            [*command, "--port", str(port)], capture_output=True, text=True, env=environ, check=False
        )
    assert refused.returncode == 2
    assert refused.stderr == f"port {port} is taken: set {setting} to another one\n"

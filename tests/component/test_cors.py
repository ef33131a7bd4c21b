"""Pages of other origins: what any may read, and what only those that a setting names."""

import pytest

from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.world import HOOK, ApiWorld

SHOP = "https://shop.example"
OTHER = "https://other.example"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "Authorization"}


def test_a_status_is_read_by_any_page() -> None:
    """Also keys and the document; never with credentials."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        url = (await sign(client, webhook_url=HOOK)).json()["status_url"]
        for path in (url, "/.well-known/jwks.json", "/openapi.json"):
            response = await client.get(path, headers={"Origin": OTHER})
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in response.headers
        allowed = await client.options(url, headers={"Origin": OTHER, **PREFLIGHT})
        assert allowed.status_code == 200

    in_world(scenario)


@pytest.mark.parametrize(("origin", "allowed"), [(SHOP, True), (OTHER, False)])
def test_signing_is_for_pages_that_are_named(origin: str, allowed: bool) -> None:
    """A preflight of another origin is refused, and its answers can't be read."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        preflight = await client.options("/crypto/sign", headers={"Origin": origin, **PREFLIGHT})
        if allowed:
            assert preflight.status_code == 200
        else:
            assert "origin" in check_problem(preflight, 400, "cors-refused")["detail"]
        response = await client.get("/crypto/sign?message=a", headers={"Origin": origin, **AUTH})
        assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)

    in_world(scenario, CORS_ALLOW_ORIGINS=f"{SHOP},https://billing.example")


def test_the_console_is_ours_alone() -> None:
    """No page of another origin reads its state."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get("/console/state", headers={"Origin": SHOP, **AUTH})
        assert "access-control-allow-origin" not in response.headers

    in_world(scenario, CORS_ALLOW_ORIGINS=SHOP)

"""Drives the client of openapi-python-client. Arguments: the service's URL, a key, a webhook URL."""

import sys

from signing_relay_client import AuthenticatedClient, Client
from signing_relay_client.api.signing import get_request, sign, sign_posted
from signing_relay_client.models import InvalidParameterProblem, Problem, RequestStatus, SignAnswer, SignBody

url, key, hook = sys.argv[1:]
caller = AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="Authorization")

signed = sign.sync(client=caller, message="hello")
assert isinstance(signed, SignAnswer)
assert signed.signature
accepted = sign_posted.sync(client=caller, body=SignBody(message="world", webhook_url=hook))
assert isinstance(accepted, SignAnswer)
assert accepted.status == 202
path, _, token = str(accepted.status_url).partition("?token=")
by_key = get_request.sync(path.rpartition("/")[2], client=caller)
by_token = get_request.sync(path.rpartition("/")[2], client=Client(base_url=url), token=token)
assert isinstance(by_key, RequestStatus)
assert isinstance(by_token, RequestStatus)
assert by_key.state == by_token.state in {"waiting", "retrying"}

stranger = AuthenticatedClient(base_url=url, token="wrong", prefix="", auth_header_name="Authorization")
for client, message, webhook_url, status in (
    (stranger, "hello", "", 401),
    (caller, "hello", "ftp://receiver.example", 422),
    (caller, "one more", "", 429),
    (caller, "world", "", 502),
):
    refused = sign.sync(client=client, message=message, webhook_url=webhook_url)
    assert isinstance(refused, InvalidParameterProblem if status == 422 else Problem), refused
    assert refused.status == status, refused

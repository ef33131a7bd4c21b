"""Drives the Python client of openapi-generator. Arguments: the service's URL, a key, a webhook URL."""

import sys

from openapi_client import ApiClient, Configuration, SignBody, SigningApi
from openapi_client.exceptions import ApiException

url, key, hook = sys.argv[1:]
api, open_api, stranger = (
    # Without `retries=False` it waits as long as `Retry-After` says before it tells of a 429.
    SigningApi(ApiClient(Configuration(host=url, api_key={"key": value} if value else {}, retries=False)))
    for value in (key, "", "wrong")
)

assert api.sign("hello").signature
accepted = api.sign_posted(SignBody(message="world", webhook_url=hook))
assert accepted.status == 202
path, _, token = str(accepted.status_url).partition("?token=")
by_key = api.get_request(path.rpartition("/")[2])
by_token = open_api.get_request(path.rpartition("/")[2], token=token)
assert by_key.state == by_token.state in {"waiting", "retrying"}

for client, message, webhook_url, status in (
    (stranger, "hello", None, 401),
    (api, "hello", "ftp://receiver.example", 422),
    (api, "one more", None, 429),
    (api, "world", None, 502),
):
    try:
        answer = client.sign(message, webhook_url)
    except ApiException as error:
        assert error.status == error.data.status == status, error
        assert error.data.type.startswith("urn:signing-relay:problem:")
    else:
        raise AssertionError(f"{status} was expected: {answer}")

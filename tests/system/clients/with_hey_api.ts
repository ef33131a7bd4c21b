// Drives the client of @hey-api/openapi-ts. Arguments: the service's URL, a key, a webhook URL.
import assert from "node:assert/strict";
import { createClient } from "./hey/client/index.js";
import { getRequest, sign, signPosted } from "./hey/sdk.gen.js";

const [url, key, hook] = process.argv.slice(2);
const as = (value?: string) => createClient({ baseUrl: url, auth: () => value });
const client = as(key);

const signed = await sign({ client, query: { message: "hello" } });
assert.ok(signed.data?.signature);
const accepted = await signPosted({ client, body: { message: "world", webhook_url: hook } });
assert.equal(accepted.data?.status, 202);
const status = new URL(accepted.data.status_url!);
const path = { request_id: status.pathname.split("/").at(-1)! };
const byKey = await getRequest({ client, path });
const byToken = await getRequest({ client: as(), path, query: { token: status.searchParams.get("token")! } });
assert.match(byKey.data!.state, /waiting|retrying/);
assert.equal(byToken.data?.state, byKey.data!.state);

for (const [caller, query, wanted] of [
  [as("wrong"), { message: "hello" }, 401],
  [client, { message: "hello", webhook_url: "ftp://receiver.example" }, 422],
  [client, { message: "one more" }, 429],
  [client, { message: "world" }, 502],
] as const) {
  const { error } = await sign({ client: caller, query });
  assert.equal(error?.status, wanted);
  assert.ok(error.type.startsWith("urn:signing-relay:problem:"));
}

// Drives openapi-fetch with the types of openapi-typescript. Arguments: the service's URL, a key, a webhook URL.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const [url, key, hook] = process.argv.slice(2);
const as = (value?: string) => createClient<paths>({ baseUrl: url, headers: value ? { Authorization: value } : {} });
const caller = as(key);

const signed = await caller.GET("/crypto/sign", { params: { query: { message: "hello" } } });
assert.ok(signed.data?.signature);
const accepted = await caller.POST("/crypto/sign", { body: { message: "world", webhook_url: hook } });
assert.equal(accepted.data?.status, 202);
const status = new URL(accepted.data.status_url!);
const request_id = status.pathname.split("/").at(-1)!, token = status.searchParams.get("token")!;
const byKey = await caller.GET("/crypto/requests/{request_id}", { params: { path: { request_id } } });
const byToken = await as().GET("/crypto/requests/{request_id}", { params: { path: { request_id }, query: { token } } });
assert.match(byKey.data!.state, /waiting|retrying/);
assert.equal(byToken.data?.state, byKey.data!.state);

for (const [client, query, wanted] of [
  [as("wrong"), { message: "hello" }, 401],
  [caller, { message: "hello", webhook_url: "ftp://receiver.example" }, 422],
  [caller, { message: "one more" }, 429],
  [caller, { message: "world" }, 502],
] as const) {
  const { error } = await client.GET("/crypto/sign", { params: { query } });
  assert.equal(error?.status, wanted);
  assert.ok(error.type.startsWith("urn:signing-relay:problem:"));
}

// Drives openapi-generator's typescript-fetch client. Arguments: the service's URL, a key, a webhook URL.
import assert from "node:assert/strict";
import { Configuration, ProblemFromJSON, ResponseError, SigningApi } from "./typescript-fetch/index.js";

const [url, key, hook] = process.argv.slice(2);
const as = (value?: string) => new SigningApi(new Configuration({ basePath: url, apiKey: value }));
const api = as(key);

const signed = await api.sign({ message: "hello" });
assert.ok(signed.signature);
const accepted = await api.signPosted({ signBody: { message: "world", webhookUrl: hook } });
assert.equal(accepted.status, 202);
const status = new URL(accepted.statusUrl!);
const requestId = status.pathname.split("/").at(-1)!, token = status.searchParams.get("token")!;
assert.match((await api.getRequest({ requestId })).state, /waiting|retrying/);
assert.match((await as().getRequest({ requestId, token })).state, /waiting|retrying/);

for (const [client, query, wanted] of [
  [as("wrong"), { message: "hello" }, 401],
  [api, { message: "hello", webhookUrl: "ftp://receiver.example" }, 422],
  [api, { message: "one more" }, 429],
  [api, { message: "world" }, 502],
] as const) {
  const error: unknown = await client.sign(query).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ResponseError);
  const problem = ProblemFromJSON(await error.response.json());
  assert.equal(problem.status, wanted);
  assert.ok(problem.type.startsWith("urn:signing-relay:problem:"));
}

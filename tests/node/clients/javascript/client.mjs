// Calls Lambda with the AWS SDK for JavaScript: one request for each line of stdin, one answer for each line of stdout.
//
// A request is [operation, parameters] or ["wait", waiter, parameters]. Bytes are {"$bytes": base64}, both ways.
// An answer is {"ok": output} or {"error": {"code", "message", "status"}}.

import { createInterface } from "node:readline";
import * as sdk from "@aws-sdk/client-lambda";

const client = new sdk.LambdaClient({ maxAttempts: 1 }); // endpoint, region and credentials come from the environment

const bytesIn = (_key, value) => (value?.$bytes === undefined ? value : Buffer.from(value.$bytes, "base64"));

function bytesOut(value) {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(bytesOut);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, bytesOut(held)]));
}

async function answer(operation, ...rest) {
  if (operation === "wait") {
    const [waiter, parameters] = rest;
    const waited = await sdk[`waitUntil${waiter}`]({ client, minDelay: 0.02, maxDelay: 0.1, maxWaitTime: 30 }, parameters);
    return { state: waited.state };
  }
  const output = await client.send(new sdk[`${operation}Command`](rest[0]));
  if (output.EventStream) {
    const events = [];
    for await (const event of output.EventStream) events.push(event);
    output.EventStream = events;
  }
  delete output.$metadata;
  return output;
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = { ok: bytesOut(await answer(...JSON.parse(line, bytesIn))) };
  } catch (error) {
    said = { error: { code: error.name, message: error.message, status: error.$metadata?.httpStatusCode ?? null } };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

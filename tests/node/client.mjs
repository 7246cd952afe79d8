// The OpenAI client for Node against a running server: one line for each part that went as it should.
// From the environment: SERVER (its address), and the keys ALICE and BOB.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";

const client = (apiKey) => new OpenAI({ baseURL: `${process.env.SERVER}/v1`, apiKey, maxRetries: 0 });
const alice = client(process.env.ALICE);
const bob = client(process.env.BOB);

const all = async (pages) => {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
};
const isMissing = (call) =>
  assert.rejects(call, (error) => {
    assert(error instanceof OpenAI.NotFoundError, error);
    assert.deepEqual([error.status, error.code], [404, "not_found"]);
    assert.match(error.requestID, /./);
    return true;
  });

async function files() {
  const folder = await mkdtemp(join(tmpdir(), "node-client-"));
  try {
    const path = join(folder, "größe.jsonl");
    const content = '{"a": "ü"}\n'.repeat(1000);
    await writeFile(path, content);
    const made = await alice.files.create({
      file: createReadStream(path),
      purpose: "batch",
      expires_after: { anchor: "created_at", seconds: 3600 },
    });
    assert.deepEqual([made.object, made.filename, made.purpose], ["file", "größe.jsonl", "batch"]);
    assert.equal(made.bytes, Buffer.byteLength(content));
    assert.equal(made.expires_at, made.created_at + 3600);
    assert.deepEqual(await alice.files.retrieve(made.id), made);
    assert.equal(await (await alice.files.content(made.id)).text(), content);

    const others = [];
    for (const name of ["1", "2", "3"]) {
      const file = await OpenAI.toFile(Buffer.from(name), `${name}.txt`);
      others.push((await alice.files.create({ file, purpose: "evals" })).id);
    }
    const listed = await all(alice.files.list({ purpose: "evals", order: "asc", limit: 2 }));
    assert.deepEqual(listed.map((each) => each.id), others);
    assert.deepEqual(await all(bob.files.list()), []);

    await isMissing(bob.files.retrieve(made.id));
    await isMissing(bob.files.content(made.id));
    await isMissing(bob.files.delete(made.id));
    assert.deepEqual(await alice.files.delete(made.id), { id: made.id, object: "file", deleted: true });
    await isMissing(alice.files.retrieve(made.id));
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function conversations() {
  const made = await alice.conversations.create({
    metadata: { topic: "demo" },
    items: [{ type: "message", role: "user", content: "0" }],
  });
  assert.deepEqual([made.object, made.metadata], ["conversation", { topic: "demo" }]);
  const { items } = alice.conversations;
  const added = await items.create(made.id, {
    items: ["1", "2", "3", "4"].map((content) => ({ type: "message", role: "user", content })),
    include: ["message.output_text.logprobs"],
  });
  assert.equal(added.data.length, 4);
  const listed = await all(items.list(made.id, { order: "asc", limit: 2 }));
  assert.deepEqual(listed.map((item) => item.content[0].text), ["0", "1", "2", "3", "4"]);
  const last = listed[4].id;
  assert.deepEqual(await items.retrieve(last, { conversation_id: made.id }), listed[4]);
  assert.equal((await items.delete(last, { conversation_id: made.id })).id, made.id);
  await isMissing(items.retrieve(last, { conversation_id: made.id }));
  const changed = await alice.conversations.update(made.id, { metadata: { topic: "other" } });
  assert.deepEqual(await alice.conversations.retrieve(made.id), changed);

  await isMissing(bob.conversations.retrieve(made.id));
  await isMissing(bob.conversations.items.list(made.id));
  await isMissing(bob.conversations.update(made.id, { metadata: {} }));
  await isMissing(bob.conversations.delete(made.id));
  const deleted = await alice.conversations.delete(made.id);
  assert.deepEqual(deleted, { id: made.id, object: "conversation.deleted", deleted: true });
  await isMissing(alice.conversations.retrieve(made.id));
}

async function chats() {
  const messages = [{ role: "user", content: "hello there" }];
  const ask = { model: "m", messages, store: true, metadata: { from: "node" } };
  const { completions } = alice.chat;
  const made = await completions.create(ask);
  assert.equal(made.choices[0].message.content, "echo: hello there");
  assert.match(made._request_id, /./);
  const stored = await completions.retrieve(made.id);
  assert.deepEqual([stored.id, stored.choices[0].message.content], [made.id, "echo: hello there"]);
  assert.deepEqual((await all(completions.list({ metadata: { from: "node" } }))).map((chat) => chat.id), [made.id]);
  assert.deepEqual((await all(completions.messages.list(made.id))).map((each) => each.content), ["hello there"]);
  assert.deepEqual((await completions.update(made.id, { metadata: { from: "here" } })).metadata, { from: "here" });
  await isMissing(bob.chat.completions.retrieve(made.id));
  assert.equal((await completions.delete(made.id)).deleted, true);
  await isMissing(completions.retrieve(made.id));
}

async function stream() {
  const ask = { model: "m", messages: [{ role: "user", content: "one two" }], store: true };
  const running = alice.chat.completions.stream({ ...ask, stream_options: { include_usage: true } });
  const pieces = [];
  for await (const chunk of running) pieces.push(chunk.choices[0]?.delta.content ?? "");
  const whole = await running.finalChatCompletion();
  assert(pieces.filter((piece) => piece).length > 1, "it came in one piece");
  assert.equal(pieces.join(""), "echo: one two");
  assert.deepEqual([whole.choices[0].message.content, whole.choices[0].finish_reason], ["echo: one two", "stop"]);
  assert(whole.usage.total_tokens > 0);
  assert.equal((await alice.chat.completions.retrieve(whole.id)).choices[0].message.content, "echo: one two");
}

for (const part of [files, conversations, chats, stream]) {
  await part();
  console.log(part.name);
}

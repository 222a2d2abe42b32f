// Asks in each form by OpenAI's own SDK, and tells on each line what came of it.
import { createRequire } from "node:module";

const { default: OpenAI } = createRequire(process.env.NODE_PACKAGES)("openai");
const client = new OpenAI({ maxRetries: 5 });
const messages = [{ role: "user", content: "Hello!" }];
const chat = { model: "gpt-5-mini", messages, max_completion_tokens: 100 };
const response = { model: "gpt-5-mini", input: "Hello!", max_output_tokens: 100 };

async function lastOf(stream) {
  let last;
  for await (const one of stream) last = one;
  return last;
}

const forms = {
  chat: async () => (await client.chat.completions.create(chat)).usage,
  chatStream: async () => lastOf(await client.chat.completions.create({ ...chat, stream: true })),
  responses: async () => (await client.responses.create(response)).usage,
  responsesStream: async () => lastOf(await client.responses.create({ ...response, stream: true })),
  embeddings: async () =>
    (await client.embeddings.create({ model: "text-embedding-3-small", input: "Hello!", encoding_format: "float" })).usage,
};
for (const [form, ask] of Object.entries(forms)) {
  try {
    console.log(JSON.stringify({ form, answer: await ask() }));
  } catch (error) {
    const { status, message, code, type } = error;
    console.log(JSON.stringify({ form, error: error.constructor.name, status, message, code, type }));
  }
}

// Asks in each form by Anthropic's own SDK, and tells on each line what came of it.
import { createRequire } from "node:module";

const { default: Anthropic } = createRequire(process.env.NODE_PACKAGES)("@anthropic-ai/sdk");
const client = new Anthropic({ maxRetries: 5 });
const message = { model: "claude-sonnet-4-5", max_tokens: 100, messages: [{ role: "user", content: "Hello!" }] };

const forms = {
  message: async () => (await client.messages.create(message)).usage,
  stream: async () => (await client.messages.stream(message).finalMessage()).usage,
};
for (const [form, ask] of Object.entries(forms)) {
  try {
    console.log(JSON.stringify({ form, answer: await ask() }));
  } catch (error) {
    const { status, message, type } = error;
    console.log(JSON.stringify({ form, error: error.constructor.name, status, message, type }));
  }
}

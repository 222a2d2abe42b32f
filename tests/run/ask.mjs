// A program in another language, which asks one question where the variable of OpenAI's SDKs says, then starts a command.
import { spawnSync } from "node:child_process";

const answer = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
  method: "POST",
  headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
  body: JSON.stringify({
    model: "gpt-5-mini",
    max_completion_tokens: 100,
    messages: [{ role: "user", content: "Hello!" }],
  }),
});
const told = await answer.json();
if (!answer.ok) throw new Error(told.error.message);
const [command, ...words] = process.argv.slice(2);
if (command) process.exit(spawnSync(command, words, { stdio: "inherit" }).status);

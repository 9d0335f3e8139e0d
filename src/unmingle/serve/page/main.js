// The page: asks the server what it does, lets in with a token, and hands over to its two halves.
import { setUpLive } from "./live.js";
import { setUpRecording } from "./recording.js";
import { authorization, keepToken } from "./server.js";

const at = (id) => document.getElementById(id);
const PARTS = { separate: "recordings", stream: "live" };

function tokenFromAddress() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match) return;
  keepToken(decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname); // not in the history, not in a bookmark
}

async function enter() {
  const answer = await fetch("v1/models", { headers: authorization() });
  const known = await answer.json();
  at("door").hidden = answer.status !== 401;
  if (answer.status === 401) {
    at("token").focus();
    return;
  }
  if (!answer.ok) throw new Error(known.error);
  at("house").hidden = false;
  at("footer").textContent =
    `unmingle ${known.version} · ` + known.models.map((model) => `${model.name} (${PARTS[model.serves]})`).join(" · ");
  setUpLive(known);
  setUpRecording(known);
}

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token").value.trim());
  enter().catch(say);
});

function say(error) {
  at("footer").textContent = `The server does not answer as it should: ${error.message}`;
}

tokenFromAddress();
enter().catch(say);

// A recording: up to the server, its tracks back, to listen to and to keep.
import { drawWhole } from "./draw.js";
import { authorization } from "./server.js";

const at = (id) => document.getElementById(id);
const LARGEST_PICTURE = 60e6; // bytes; decoding larger files takes more memory than a picture is worth
const EQUAL_LUFS = -16; // what podcasts are made at

let request = null;
let addresses = [];

export function setUpRecording(known) {
  const { upload_bytes: bytes, sound_seconds: seconds } = known.limits;
  at("file-limits").textContent = `Sound or video, up to ${(bytes / 1e6).toFixed(0)} MB and ${(seconds / 60).toFixed(0)} minutes`;
  const drop = at("drop");
  at("file").addEventListener("change", ({ target }) => {
    if (target.files.length) separate(target.files[0], bytes);
    target.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    });
  }
  drop.addEventListener("drop", ({ dataTransfer }) => {
    if (dataTransfer.files.length) separate(dataTransfer.files[0], bytes);
  });
  at("file-cancel").addEventListener("click", () => request?.abort());
}

async function separate(file, largest) {
  if (request) return say("One recording at a time; cancel the first, or wait for it.", true);
  forget();
  if (file.size > largest) {
    return say(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; the server takes ${(largest / 1e6).toFixed(0)}.`, true);
  }
  at("file-work").hidden = false;
  try {
    const answer = await post(file);
    await show(file, answer);
    const tracks = answer.tracks.length === 1 ? "1 track" : `${answer.tracks.length} tracks`;
    say(`${file.name}: ${tracks} of ${answer.seconds.toFixed(1)} s, separated by ${answer.model}.`);
  } catch (error) {
    say(error.message, true);
  }
  at("file-work").hidden = true;
  request = null;
}

function say(words, bad = false) {
  at("file-status").textContent = words;
  at("file-status").classList.toggle("bad", bad);
}

function forget() {
  addresses.forEach((address) => URL.revokeObjectURL(address));
  addresses = [];
  at("file-tracks").replaceChildren();
  at("file-notes").replaceChildren();
}

function post(file) {
  const form = new FormData();
  form.append("answer", "json");
  form.append("twice", at("file-twice").checked);
  form.append("keep_residual", at("file-residual").checked);
  form.append("gate", at("file-gate").checked);
  if (at("file-people").value) form.append("n_src", at("file-people").value);
  if (at("file-loudness").checked) form.append("loudness_lufs", EQUAL_LUFS);
  form.append("file", file);
  request = new XMLHttpRequest(); // fetch does not tell how far an upload is
  request.open("POST", "v1/separate");
  for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
  request.responseType = "json";
  say(`Sending ${file.name} …`);
  request.upload.onprogress = ({ loaded, total }) => (at("file-progress").value = loaded / total);
  request.upload.onload = () => {
    at("file-progress").removeAttribute("value");
    say(`Separating ${file.name} …`);
  };
  return new Promise((resolve, reject) => {
    request.onload = () =>
      request.status === 200 ? resolve(request.response) : reject(new Error(sentence(request.response?.error)));
    request.onerror = () => reject(new Error("The server cannot be reached, or broke off."));
    request.onabort = () => reject(new Error("Cancelled."));
    request.send(form);
  });
}

function sentence(words) {
  return words ? words[0].toUpperCase() + words.slice(1) + "." : "The server gave no answer that makes sense.";
}

async function show(file, answer) {
  for (const words of [...answer.conversions, ...answer.warnings]) {
    at("file-notes").append(Object.assign(document.createElement("li"), { textContent: words }));
  }
  await row("Recording", 0, file, file.name, "");
  for (const [index, track] of answer.tracks.entries()) {
    const fetched = await fetch(track.url.slice(1), { headers: authorization() });
    if (!fetched.ok) throw new Error(sentence((await fetched.json()).error));
    const name = track.name.replace("spk", "Speaker ").replace("residual", "What is nobody's voice");
    const spoken = track.name === "residual" ? "" : `, ${track.active_seconds.toFixed(1)} s of speech`;
    const facts = `${track.level_dbfs.toFixed(1)} dBFS${spoken}`;
    await row(name, index + 1, await fetched.blob(), track.path, facts);
  }
  fetch(`v1/separations/${answer.id}`, { method: "DELETE", headers: authorization() }); // all of it is here now
}

async function row(name, colour, blob, fileName, facts) {
  const address = URL.createObjectURL(blob);
  addresses.push(address);
  const box = document.createElement("div");
  box.className = "track";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  box.style.setProperty("--voice", `var(--voice-${colour % 5})`);
  const title = document.createElement("h3");
  title.append(name, Object.assign(document.createElement("small"), { textContent: facts }));
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  const controls = document.createElement("div");
  controls.className = "row";
  const player = Object.assign(document.createElement("audio"), { controls: true, src: address });
  player.setAttribute("aria-label", name);
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
  });
  controls.append(player);
  if (colour) {
    const keep = Object.assign(document.createElement("a"), { href: address, download: fileName, textContent: "Download" });
    keep.className = "button";
    keep.setAttribute("aria-label", `Download ${name}`);
    controls.append(keep);
  }
  box.append(title, canvas, controls);
  at("file-tracks").append(box);
  if (blob.size < LARGEST_PICTURE) await picture(canvas, blob);
}

async function picture(canvas, blob) {
  try {
    const sound = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(await blob.arrayBuffer());
    drawWhole(canvas, sound.getChannelData(0));
  } catch {
    canvas.hidden = true; // a format that the server reads and this browser does not
  }
}

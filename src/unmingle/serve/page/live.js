// Live: microphone -> WebSocket -> one voice per speaker, drawn and played.
import { Scroll } from "./draw.js";
import { openStream } from "./server.js";

const at = (id) => document.getElementById(id);
const SHOWN_SECONDS = 6;
const PLAY_AHEAD_SECONDS = 0.06;
const MOST_UNSENT_SECONDS = 1;
const PICTURES_PER_SECOND = 20;

let live = null;

export function setUpLive(known) {
  const button = at("live-button");
  button.addEventListener("click", () => (live ? stop() : start()));
  at("live-play").addEventListener("change", () => live?.mix());
  if (known.streaming) return;
  button.disabled = at("live-play").disabled = true;
  say(known.streaming_off.replace(/^this/, "This"));
}

async function start() {
  const button = at("live-button");
  button.disabled = true;
  say("Asking for the microphone …");
  live = new Live();
  try {
    await live.open();
    button.textContent = "Stop";
  } catch (error) {
    live?.close();
    live = null;
    say(explain(error), true);
  }
  button.disabled = false;
}

function stop() {
  live.finish();
}

function ended(words, bad = false) {
  live?.close();
  live = null;
  at("live-button").textContent = "Start the microphone";
  say(words, bad);
}

function say(words, bad = false) {
  at("live-status").textContent = words;
  at("live-status").classList.toggle("bad", bad);
}

function explain(error) {
  if (error.name === "NotAllowedError") return "The browser was not allowed to use the microphone.";
  if (error.name === "NotFoundError") return "There is no microphone.";
  return error.message;
}

class Live {
  async open() {
    if (!navigator.mediaDevices || !window.AudioWorkletNode) {
      throw new Error("This browser gives the microphone to https pages and to this machine's own only.");
    }
    // What browsers do to make one voice clear harms the separation of two.
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.microphone = await navigator.mediaDevices.getUserMedia({ audio: plain });
    this.context = new AudioContext({ latencyHint: "interactive" });
    await this.context.resume();
    await this.context.audioWorklet.addModule("worklets.js");
    say("Asking the server for a stream …");
    this.ready = await this.greet();
    this.settle();
    this.capture();
    this.show();
  }

  // Hello, and what the server answers.
  greet() {
    this.socket = openStream();
    this.socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      this.socket.onopen = () =>
        this.socket.send(
          JSON.stringify({ sample_rate: this.context.sampleRate, format: "s16le", when_late: "drop" }),
        );
      this.socket.onmessage = ({ data }) => {
        const words = JSON.parse(data);
        if (words.type === "ready") resolve(words);
        else reject(new Error(words.message));
      };
      this.socket.onclose = () => reject(new Error("The server cannot be reached."));
    });
  }

  settle() {
    const { sample_rate: rate, n_src: voices } = this.ready;
    this.rate = rate;
    this.sent = this.given = this.dropped = 0;
    this.when = []; // [samples sent so far, when the last of them was heard]
    this.lags = [];
    at("live-facts").hidden = false;
    at("live-algorithmic").textContent = `${(1e3 * this.ready.latency_seconds).toFixed(0)} ms`;
    at("live-tracks").replaceChildren();
    this.heard = track("Microphone", 0, this.rate);
    this.voices = Array.from({ length: voices }, (_, index) => voice(index + 1, this.rate, () => this.mix()));
    this.player = new AudioWorkletNode(this.context, "player", {
      numberOfInputs: 0,
      numberOfOutputs: voices,
      outputChannelCount: Array(voices).fill(1),
      processorOptions: { voices, wanted: Math.round(PLAY_AHEAD_SECONDS * rate) },
    });
    this.gains = this.voices.map((_, index) => {
      const gain = this.context.createGain();
      this.player.connect(gain, index).connect(this.context.destination);
      return gain;
    });
    this.mix();
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.hear(JSON.parse(data)) : this.take(data));
    this.socket.onclose = () =>
      this.finished ? ended("Stopped.") : ended(this.parting ?? "The connection broke off.", true);
  }

  capture() {
    const samples = Math.max(128, this.ready.block_samples);
    const node = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0, processorOptions: { samples } });
    node.port.onmessage = ({ data }) => this.send(data);
    this.source = this.context.createMediaStreamSource(this.microphone);
    this.source.connect(node);
    say(`Listening: ${this.ready.model}, ${this.ready.n_src} speakers, ${this.rate} Hz.`);
  }

  send(block) {
    this.heard.scroll.push(block);
    if (this.finished || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MOST_UNSENT_SECONDS * this.rate * 2) {
      this.lose(block.length); // the network is too slow: what is old is worth less than what is new
      return;
    }
    const coded = Int16Array.from(block, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
    this.socket.send(coded);
    this.sent += block.length;
    this.when.push([this.sent, performance.now()]);
  }

  take(data) {
    const coded = new Int16Array(data);
    const voices = this.voices.length;
    const length = coded.length / voices;
    const tracks = this.voices.map((_, voice) =>
      Float32Array.from({ length }, (_, i) => coded[i * voices + voice] / 32768),
    );
    tracks.forEach((samples, voice) => this.voices[voice].scroll.push(samples));
    this.player.port.postMessage(tracks);
    this.given += length;
    this.measure();
  }

  // How long ago the newest sample that is back was heard.
  measure() {
    const newest = this.given + this.skipped();
    while (this.when.length > 1 && this.when[0][0] < newest) this.when.shift();
    if (!this.when.length) return;
    const [samples, time] = this.when[0];
    this.lags.push(performance.now() - time + (1e3 * (samples - newest)) / this.rate);
    if (this.lags.length > 200) this.lags.shift();
  }

  skipped() {
    return this.droppedThere ?? 0;
  }

  hear(words) {
    if (words.type === "dropped") {
      this.droppedThere = this.skipped() + words.samples;
      this.lose(words.samples);
    } else if (words.type === "flushed") {
      this.socket.close(1000);
    } else if (words.type === "error") {
      this.parting = words.message;
    }
  }

  lose(samples) {
    this.dropped += samples;
    at("live-dropped").textContent = `${(this.dropped / this.rate).toFixed(1)} s`;
  }

  mix() {
    const alone = this.voices.some((voice) => voice.solo);
    this.voices.forEach((voice, index) => {
      const heard = at("live-play").checked && !voice.mute && (!alone || voice.solo);
      this.gains[index].gain.value = heard ? voice.volume : 0;
    });
  }

  show(now = 0) {
    this.frame = requestAnimationFrame((time) => this.show(time));
    if (now - (this.shown ?? -1e9) < 1e3 / PICTURES_PER_SECOND) return;
    this.shown = now;
    for (const { scroll, level, number } of [this.heard, ...this.voices]) {
      scroll.draw();
      level.firstChild.style.transform = `scaleX(${scroll.share})`;
      level.setAttribute("aria-valuenow", scroll.decibels.toFixed(0));
      number.textContent = `${scroll.decibels.toFixed(0)} dB`;
    }
    if (this.lags.length) {
      const ordered = [...this.lags].sort((a, b) => a - b);
      at("live-measured").textContent = `${ordered[ordered.length >> 1].toFixed(0)} ms`;
    }
  }

  finish() {
    this.finished = true;
    this.microphone.getTracks().forEach((one) => one.stop());
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send("flush");
    else ended("Stopped.");
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.microphone?.getTracks().forEach((one) => one.stop());
    this.context?.close();
    if (this.socket) {
      this.socket.onclose = this.socket.onmessage = null;
      this.socket.close();
    }
  }
}

// One row of the picture: name, level, envelope.
function track(name, colour, sampleRate) {
  const row = document.createElement("div");
  row.className = "track";
  row.style.setProperty("--voice", `var(--voice-${colour % 5})`);
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", name);
  const title = document.createElement("h3");
  const number = document.createElement("small");
  title.append(name, number);
  const level = document.createElement("div");
  level.className = "level";
  level.append(document.createElement("span"));
  const meter = { role: "meter", "aria-label": `Level of ${name}`, "aria-valuemin": -60, "aria-valuemax": 0 };
  for (const [key, value] of Object.entries({ ...meter, "aria-valuenow": -60 })) level.setAttribute(key, value);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  row.append(title, canvas, level);
  at("live-tracks").append(row);
  return { row, level, number, scroll: new Scroll(canvas, { seconds: SHOWN_SECONDS, sampleRate }) };
}

// A row of a speaker: the same, and what one hears of it.
function voice(index, sampleRate, changed) {
  const name = `Speaker ${index}`;
  const one = { ...track(name, index, sampleRate), mute: false, solo: false, volume: 1 };
  const controls = document.createElement("div");
  controls.className = "row";
  for (const key of ["mute", "solo"]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = key === "mute" ? "Mute" : "Solo";
    button.setAttribute("aria-label", `${button.textContent} ${name}`);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      one[key] = !one[key];
      button.setAttribute("aria-pressed", String(one[key]));
      changed();
    });
    controls.append(button);
  }
  const volume = document.createElement("label");
  volume.className = "volume";
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 2, step: 0.05, value: 1 });
  slider.setAttribute("aria-label", `Volume of ${name}`);
  slider.addEventListener("input", () => {
    one.volume = Number(slider.value);
    changed();
  });
  volume.append("Volume", slider);
  controls.append(volume);
  one.row.append(controls);
  return one;
}

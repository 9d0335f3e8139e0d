// What runs on the browser's sound thread: sound out of the microphone in blocks, voices into the loudspeakers.

class Capture extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.block = new Float32Array(processorOptions.samples);
    this.filled = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    const length = channels[0].length;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

// A ring per speaker. It begins to play when `wanted` samples are there, so that a late packet leaves no hole, and skips
// ahead when more than four times as many have piled up, so that what is heard stays close to now.
class Player extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    const { voices, wanted } = processorOptions;
    this.wanted = wanted;
    this.rings = Array.from({ length: voices }, () => new Float32Array(wanted * 16));
    this.read = this.written = 0;
    this.playing = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take(tracks) {
    const size = this.rings[0].length;
    tracks.forEach((track, voice) => {
      for (let i = 0; i < track.length; i++) this.rings[voice][(this.written + i) % size] = track[i];
    });
    this.written += tracks[0].length;
    if (this.written - this.read > 4 * this.wanted) this.read = this.written - this.wanted;
  }

  process(_inputs, outputs) {
    const length = outputs[0][0].length;
    const there = this.written - this.read;
    this.playing = this.playing ? there >= length : there >= this.wanted;
    if (!this.playing) return true;
    outputs.forEach(([out], voice) => {
      const ring = this.rings[voice];
      for (let i = 0; i < length; i++) out[i] = ring[(this.read + i) % ring.length];
    });
    this.read += length;
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("player", Player);

// Pictures of sound, in the colour that the style sheet gives the canvas.

const FLOOR_DB = -60;

export class Scroll {
  // The last seconds of one signal, as an envelope that moves to the left.
  constructor(canvas, { seconds, sampleRate }) {
    this.canvas = canvas;
    this.columns = 400;
    this.perColumn = Math.max(1, Math.round((seconds * sampleRate) / this.columns));
    this.peaks = new Float32Array(this.columns);
    this.at = this.inColumn = this.peak = 0;
    this.level = 0;
  }

  push(samples) {
    let loudest = 0;
    for (const sample of samples) {
      const size = Math.abs(sample);
      if (size > this.peak) this.peak = size;
      if (size > loudest) loudest = size;
      if (++this.inColumn === this.perColumn) {
        this.peaks[this.at] = this.peak;
        this.at = (this.at + 1) % this.columns;
        this.inColumn = this.peak = 0;
      }
    }
    this.level = Math.max(loudest, this.level * 0.9);
  }

  draw() {
    bars(this.canvas, this.columns, (column) => this.peaks[(this.at + column) % this.columns]);
  }

  get decibels() {
    return Math.max(FLOOR_DB, 20 * Math.log10(this.level + 1e-9));
  }

  get share() {
    return 1 - this.decibels / FLOOR_DB;
  }
}

export function drawWhole(canvas, samples) {
  const columns = 600;
  const peaks = new Float32Array(columns);
  for (let i = 0; i < samples.length; i++) {
    const column = Math.floor((i * columns) / samples.length);
    peaks[column] = Math.max(peaks[column], Math.abs(samples[i]));
  }
  const draw = () => bars(canvas, columns, (column) => peaks[column]);
  new ResizeObserver(draw).observe(canvas); // the first time at once
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

function bars(canvas, columns, peak) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const height = Math.round(canvas.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = getComputedStyle(canvas).color;
  const step = width / columns;
  for (let column = 0; column < columns; column++) {
    // The square root shows quiet speech as well as loud: the eye wants decibels more than volts.
    const half = Math.max(scale / 2, (Math.sqrt(Math.min(1, peak(column))) * height) / 2);
    pen.fillRect(column * step, height / 2 - half, Math.max(step, 0.5), 2 * half);
  }
}

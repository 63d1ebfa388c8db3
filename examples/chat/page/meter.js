// Charts of phx's counters: bars for frames per second (out above the line, in below it), steps for clients and channels.

const SAMPLES = 80;
const EVERY_MS = 500;

export class Meter {
  constructor() {
    this.samples = [];
    this.last = null;
    this.scale = 4;
    this.canvases = new Map();
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    const repaint = () => {
      this.colours = null;
      this.draw(performance.now());
    };
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    addEventListener("resize", repaint);
    this.sized = new ResizeObserver(repaint);
  }

  add(canvas, paint) {
    this.canvases.set(canvas, paint);
    this.sized.observe(canvas);
  }

  /** Totals come in, rates go out. Totals that fell belong to another run of the server: a gap, not a spike. */
  feed(totals, now) {
    const before = this.last;
    this.last = {...totals, now};
    const rate = (key) => Math.max(0, ((totals[key] - before[key]) * 1000) / Math.max(100, now - before.now));
    const known = before && totals.frames_in >= before.frames_in && totals.frames_out >= before.frames_out;
    this.push({
      now,
      clients: totals.clients,
      channels: totals.channels,
      known,
      in: known ? rate("frames_in") : 0,
      out: known ? rate("frames_out") : 0
    });
    return this.averaged();
  }

  /** No data for a while: the charts continue without bars, so that an outage is visible afterwards. */
  gap(now) {
    this.last = null;
    this.push({now, clients: null, channels: null, in: 0, out: 0});
  }

  push(sample) {
    this.samples.push(sample);
    if (this.samples.length > SAMPLES + 2) this.samples.shift();
    if (this.still.matches) this.draw(performance.now());
  }

  /** Over the last two seconds; NaN while there is nothing to compare with. */
  averaged() {
    const recent = this.samples.slice(-4).filter((sample) => sample.known);
    const mean = (key) => recent.reduce((sum, s) => sum + s[key], 0) / recent.length;
    return {in: mean("in"), out: mean("out")};
  }

  start() {
    const frame = (now) => {
      if (!this.still.matches) this.draw(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    this.draw(performance.now());
  }

  palette() {
    if (!this.colours) {
      const style = getComputedStyle(document.documentElement);
      const named = (name) => style.getPropertyValue(name).trim();
      this.colours = {
        out: named("--out"),
        in: named("--in"),
        line: named("--line"),
        soft: named("--faint"),
        step: named("--step")
      };
    }
    return this.colours;
  }

  draw(now) {
    const highest = this.samples.reduce((top, s) => Math.max(top, s.in, s.out), 4);
    this.scale += (highest * 1.1 - this.scale) * (this.still.matches ? 1 : 0.12);
    for (const [canvas, paint] of this.canvases) {
      const width = canvas.clientWidth,
        height = canvas.clientHeight;
      if (!width || !height) continue;
      const ratio = devicePixelRatio || 1;
      const w = Math.round(width * ratio),
        h = Math.round(height * ratio);
      if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
      }
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      paint(pen, width, height, this, now);
    }
  }

  /** How far the newest sample has slid to the left, in samples. */
  drift(now) {
    const newest = this.samples.at(-1);
    return newest && !this.still.matches ? Math.min(1, (now - newest.now) / EVERY_MS) : 0;
  }
}

function bar(pen, x, y, width, height) {
  pen.beginPath();
  pen.roundRect(x, y, width, height, Math.min(width, height) / 2);
  pen.fill();
}

/** 1, 2 or 5 times a power of ten: the highest such number the drawing has room for. */
function round(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [5, 2, 1].find((digit) => digit * ten <= value) * ten;
}

/** A line at a round number of frames, so that the height of a bar can be read. */
export const ruled = (paint) => (pen, width, height, meter, now) => {
  const ink = meter.palette();
  const value = round(meter.scale * 0.95);
  const y = Math.round(baseline(height) - 1 - (value * (baseline(height) - 2)) / meter.scale) + 0.5;
  pen.fillStyle = ink.soft;
  pen.font = "11px sans-serif";
  pen.textBaseline = "middle";
  pen.fillText(String(value), 0, y);
  pen.strokeStyle = ink.line;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(pen.measureText(String(value)).width + 6, y);
  pen.lineTo(width, y);
  pen.stroke();
  paint(pen, width, height, meter, now);
};

const baseline = (height) => Math.round(height * 0.76);

/** Bars as wide as the canvas allows: the small one in the room's header shows fewer of them. */
export const frames = (pitch) => (pen, width, height, meter, now) => {
  const ink = meter.palette();
  const middle = baseline(height);
  const up = (middle - 2) / meter.scale;
  const down = (height - middle - 3) / meter.scale;
  const thick = pitch * 0.66;
  const drift = meter.drift(now);
  for (let i = 0; i < Math.ceil(width / pitch) + 1; ++i) {
    const sample = meter.samples.at(-1 - i);
    const x = width - thick - (i + drift - 1) * pitch;
    if (x < -pitch) break;
    // the oldest bars fade out, so that none disappears suddenly
    pen.globalAlpha = Math.max(0, Math.min(1, (x + thick) / 36));
    if (!sample || sample.clients === null) {
      pen.fillStyle = ink.line;
      bar(pen, x, middle - 1, thick, 2);
      continue;
    }
    pen.fillStyle = ink.out;
    bar(pen, x, middle - 1 - Math.max(2, sample.out * up), thick, Math.max(2, sample.out * up));
    pen.fillStyle = ink.in;
    bar(pen, x, middle + 1, thick, Math.max(2, sample.in * down));
  }
  pen.globalAlpha = 1;
};

export const steps = (key) => (pen, width, height, meter, now) => {
  const ink = meter.palette();
  const pitch = width / SAMPLES;
  const drift = meter.drift(now);
  const top = meter.samples.reduce((most, s) => Math.max(most, s[key] ?? 0), 1);
  const y = (value) => height - 2 - ((height - 5) * value) / top;
  pen.lineWidth = 1;
  pen.strokeStyle = ink.line;
  pen.beginPath();
  pen.moveTo(0, height - 0.5);
  pen.lineTo(width, height - 0.5);
  pen.stroke();
  pen.lineWidth = 1.75;
  pen.lineJoin = "round";
  pen.strokeStyle = ink.step;
  let path = null,
    from = 0,
    level = 0;
  const finish = (to) => {
    if (!path) return;
    path.lineTo(to, level);
    pen.stroke(path);
    path.lineTo(to, height);
    path.lineTo(from, height);
    pen.globalAlpha = 0.14;
    pen.fillStyle = ink.step;
    pen.fill(path);
    pen.globalAlpha = 1;
    path = null;
  };
  const count = meter.samples.length;
  meter.samples.forEach((sample, index) => {
    const x = width - (count - 1 - index + drift) * pitch;
    if (sample[key] === null) {
      finish(x);
      return;
    }
    if (path) path.lineTo(x, level);
    level = y(sample[key]);
    if (path) path.lineTo(x, level);
    else {
      path = new Path2D();
      from = x;
      path.moveTo(x, level);
    }
  });
  finish(width);
};

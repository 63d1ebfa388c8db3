// Plays a recorded conversation: JSON that loses nothing, the comparison of frames, clients, the step engine.
import WebSocket from 'ws';
import http from 'node:http';

// ---------------------------------------------------------------- JSON that keeps number literals
export class Num {
  constructor(raw) { this.raw = raw; }
  get isInt() { return /^-?\d+$/.test(this.raw); }
  equals(o) {
    if (this.isInt && o.isInt) return BigInt(this.raw) === BigInt(o.raw);
    return Number(this.raw) === Number(o.raw);
  }
}

// The values of a duplicate key of an object: JSON.parse would keep the last one only.
export class Repeated {
  constructor(values) { this.values = values; }
}

export function parse(text) {
  let i = 0;
  const fail = (m) => { throw new SyntaxError(`${m} at ${i}`); };
  const ws = () => { while (i < text.length && ' \t\r\n'.includes(text[i])) i++; };
  const str = () => {
    const s = i++;
    while (i < text.length && text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
    if (text[i] !== '"') fail('unterminated string');
    i++;
    return JSON.parse(text.slice(s, i));
  };
  const val = () => {
    ws();
    const c = text[i];
    if (c === '{') {
      const o = {}; i++; ws();
      if (text[i] === '}') { i++; return o; }
      for (;;) {
        ws();
        if (text[i] !== '"') fail('expected key');
        const k = str(); ws();
        if (text[i++] !== ':') fail('expected :');
        let v = val();
        if (Object.hasOwn(o, k)) v = new Repeated([...(o[k] instanceof Repeated ? o[k].values : [o[k]]), v]);
        Object.defineProperty(o, k, { value: v, enumerable: true, writable: true, configurable: true });
        ws();
        if (text[i] === ',') { i++; continue; }
        if (text[i] === '}') { i++; return o; }
        fail('expected , or }');
      }
    }
    if (c === '[') {
      const a = []; i++; ws();
      if (text[i] === ']') { i++; return a; }
      for (;;) {
        a.push(val()); ws();
        if (text[i] === ',') { i++; continue; }
        if (text[i] === ']') { i++; return a; }
        fail('expected , or ]');
      }
    }
    if (c === '"') return str();
    const m = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/.exec(text.slice(i, i + 2000));
    if (m) { i += m[0].length; return new Num(m[0]); }
    for (const [w, v] of [['true', true], ['false', false], ['null', null]])
      if (text.startsWith(w, i)) { i += w.length; return v; }
    fail('unexpected token');
  };
  const v = val(); ws();
  if (i < text.length) fail('trailing data');
  return v;
}

export function stringify(v) {
  if (v instanceof Num) return v.raw;
  if (v instanceof Repeated) return `<repeated: ${v.values.map(stringify).join(', ')}>`;
  if (Array.isArray(v)) return '[' + v.map(stringify).join(',') + ']';
  if (v && typeof v === 'object')
    return '{' + Object.entries(v).filter(([, x]) => x !== undefined)
      .map(([k, x]) => JSON.stringify(k) + ':' + stringify(x)).join(',') + '}';
  return JSON.stringify(v);
}

export const num = (n) => new Num(String(n));
export const int = (v) => (v instanceof Num ? Number(v.raw) : v);

// ---------------------------------------------------------------- frames
// An observed item is a JSON value (text frame), {"$binary": base64}, {"$closed": code}, {"$pong": text}
// or {"$not_json": text}.
export const one = (o) => (o && typeof o === 'object' && !Array.isArray(o) && !(o instanceof Num) && Object.keys(o).length === 1
  ? Object.keys(o)[0] : null);

export function describe(f) {
  const k = one(f);
  if (k === '$binary') {
    const b = Buffer.from(f.$binary, 'base64');
    const s = b.length > 60 ? `${b.length} bytes` : JSON.stringify(b.toString('latin1'));
    return `binary ${s}`;
  }
  const s = stringify(f);
  return s.length > 700 ? s.slice(0, 700) + `... (${s.length} characters)` : s;
}

// Does `got` match `want`? names: Map of "$id" name -> value. Returns null, or a path where they differ.
export function mismatch(want, got, names, path = '') {
  const k = one(want);
  if (k === '$any') {
    const t = got === null ? 'null' : Array.isArray(got) ? 'array' : got instanceof Num ? 'number' : typeof got;
    return want.$any === 'value' || want.$any === t ? null : `${path || 'frame'}: expected any ${want.$any}, got ${describe(got)}`;
  }
  if (k === '$id') {
    if (typeof got !== 'string' || got === '') return `${path}: expected an identifier, got ${describe(got)}`;
    if (names.has(want.$id)) {
      return names.get(want.$id) === got ? null
        : `${path}: expected identifier ${want.$id} = ${JSON.stringify(names.get(want.$id))}, got ${JSON.stringify(got)}`;
    }
    for (const [n, v] of names) if (v === got) return `${path}: identifier ${want.$id} should differ from ${n}, both ${JSON.stringify(got)}`;
    names.set(want.$id, got);
    return null;
  }
  if (k === '$set') {
    if (!Array.isArray(got)) return `${path}: expected an array, got ${describe(got)}`;
    if (got.length !== want.$set.length) return `${path}: expected ${want.$set.length} elements, got ${got.length}`;
    const used = new Set();
    const go = (i) => {
      if (i === got.length) return true;
      for (let j = 0; j < want.$set.length; j++) {
        if (used.has(j)) continue;
        const save = new Map(names);
        if (!mismatch(want.$set[j], got[i], names)) {
          used.add(j);
          if (go(i + 1)) return true;
          used.delete(j);
        }
        names.clear(); for (const [a, b] of save) names.set(a, b);
      }
      return false;
    };
    return go(0) ? null : `${path}: no order of the elements matches`;
  }
  if (k === '$one_of') {
    return want.$one_of.some((w) => !mismatch(w, got, new Map(names))) ? null : `${path}: expected one of ${stringify(want.$one_of)}, got ${describe(got)}`;
  }
  if (want instanceof Num || got instanceof Num) {
    return want instanceof Num && got instanceof Num && want.equals(got) ? null
      : `${path || 'frame'}: expected ${describe(want)}, got ${describe(got)}`;
  }
  if (want instanceof Repeated || got instanceof Repeated) {
    return want instanceof Repeated && got instanceof Repeated && !mismatch(want.values, got.values, names) ? null
      : `${path}: expected ${describe(want)}, got ${describe(got)}`;
  }
  if (Array.isArray(want)) {
    if (!Array.isArray(got)) return `${path || 'frame'}: expected an array, got ${describe(got)}`;
    for (let i = 0; i < Math.min(want.length, got.length); i++) {
      const m = mismatch(want[i], got[i], names, `${path}[${i}]`);
      if (m) return m;
    }
    return want.length === got.length ? null : `${path || 'frame'}: expected ${want.length} elements, got ${got.length}`;
  }
  if (want && typeof want === 'object') {
    if (!got || typeof got !== 'object' || Array.isArray(got)) return `${path || 'frame'}: expected an object, got ${describe(got)}`;
    for (const key of Object.keys(want)) {
      if (!Object.hasOwn(got, key)) return `${path}.${key}: missing (expected ${describe(want[key])})`;
      const m = mismatch(want[key], got[key], names, `${path}.${key}`);
      if (m) return m;
    }
    for (const key of Object.keys(got)) if (!Object.hasOwn(want, key)) return `${path}.${key}: unexpected key (value ${describe(got[key])})`;
    return null;
  }
  return want === got ? null : `${path || 'frame'}: expected ${describe(want)}, got ${describe(got)}`;
}

// ---------------------------------------------------------------- clients
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

const query = (params) => new URLSearchParams(
  Object.entries(params).map(([k, v]) => [k, v instanceof Num ? v.raw : String(v)])).toString();

class WsClient {
  // compressed: every connection agrees on permessage-deflate, which the recording does not mention
  constructor(timeout, compressed = false) {
    this.compressed = compressed;
    this.items = []; this.diffs = []; this.maybe = []; this.waiters = []; this.last = Date.now(); this.ws = null; this.open = false;
    this.timeout = timeout;
  }
  push(item) {
    // a frame of a "maybe" step is optional: it is dropped if it comes
    if (this.maybe.some((m) => !mismatch(m, item, new Map()))) return;
    if (item[3] === 'presence_diff') this.diffs.push(item);
    this.items.push(item); this.last = Date.now(); for (const w of this.waiters.splice(0)) w();
  }
  connect(base, spec, vsn) {
    const params = { ...(vsn == null ? {} : { vsn }), ...(spec.params ?? {}) };
    const q = spec.query ?? query(params);
    const url = base.replace(/^http/, 'ws') + (spec.path ?? '/socket/websocket') + (q ? '?' + q : '');
    return new Promise((resolve) => {
      const ws = this.ws = new WebSocket(url, spec.protocols ?? [], {
        headers: spec.headers ?? {}, skipUTF8Validation: true, perMessageDeflate: this.compressed ? { threshold: 0 } : spec.deflate === true,
        maxPayload: 64 * 1024 * 1024, handshakeTimeout: this.timeout,
      });
      let answered = false;
      ws.on('open', () => {
        answered = true; this.open = true;
        const r = { open: true };
        if (ws.protocol) r.protocol = ws.protocol;
        if (this.compressed !== ws.extensions.startsWith('permessage-deflate')) r.extensions = ws.extensions;
        resolve(r);
      });
      ws.on('unexpected-response', (_req, res) => {
        answered = true;
        let body = '';
        res.on('data', (d) => { body += d; });
        res.on('end', () => resolve({ status: num(res.statusCode), body }));
      });
      ws.on('message', (data, isBinary) => {
        if (isBinary) return this.push({ $binary: Buffer.from(data).toString('base64') });
        const t = data.toString();
        let v;
        try { v = parse(t); } catch { v = { $not_json: t }; }
        this.push(v);
      });
      ws.on('pong', (d) => this.push({ $pong: d.toString() }));
      ws.on('error', (e) => { if (!answered) { answered = true; resolve({ error: e.code ?? e.message }); } });
      ws.on('close', (code) => { if (this.open) { this.open = false; this.push({ $closed: num(code) }); } });
    });
  }
  async next(deadline) {
    while (this.items.length === 0) {
      const left = deadline - Date.now();
      if (left <= 0) return undefined;
      await new Promise((r) => { const t = setTimeout(r, left); this.waiters.push(() => { clearTimeout(t); r(); }); });
    }
    return this.items.shift();
  }
  async finish() {
    if (!this.ws) return;
    const ws = this.ws;
    if (ws.readyState === WebSocket.CLOSED) return;
    await new Promise((r) => {
      const t = setTimeout(() => { ws.terminate(); r(); }, 1000);
      ws.on('close', () => { clearTimeout(t); r(); });
      if (ws.readyState === WebSocket.OPEN) ws.close(1000); else ws.terminate();
    });
  }
}

const agent = new http.Agent({ keepAlive: false });

function request(base, { method = 'GET', path, headers = {}, body }, timeout) {
  const u = new URL(base);
  return new Promise((resolve) => {
    const req = http.request({ host: u.hostname, port: u.port, method, path, headers, agent }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts).toString() }));
    });
    req.on('upgrade', (res, socket) => { socket.destroy(); resolve({ status: res.statusCode, headers: res.headers, body: '' }); });
    req.on('error', (e) => resolve({ error: e.code ?? e.message }));
    req.setTimeout(timeout, () => req.destroy(new Error('timeout')));
    if (body !== undefined) req.write(body);
    req.end();
  });
}

// Long-poll bodies are compared as JSON; each message inside must be a string, and is compared as the frame it holds.
function lpBody(text, client) {
  let v;
  try { v = parse(text); } catch { return text; }
  if (v && typeof v === 'object' && Array.isArray(v.messages))
    v.messages = v.messages.map((m) => {
      if (typeof m !== 'string') return { $not_a_string: m };
      try { return parse(m); } catch { return { $not_json: m }; }
    });
  if (v && typeof v === 'object' && typeof v.token === 'string' && client) client.token = v.token;
  return v;
}

const HTTP_HEADERS = ['access-control-allow-origin', 'access-control-allow-headers', 'access-control-allow-methods',
  'access-control-max-age', 'sec-websocket-accept', 'upgrade'];
const LP_HEADERS = ['access-control-allow-origin', 'cache-control', 'content-type'];

function keep(names, headers) {
  const o = {};
  for (const h of names) if (headers?.[h] !== undefined) o[h] = h === 'sec-websocket-accept' ? headers[h] : headers[h].toLowerCase();
  return o;
}

// ---------------------------------------------------------------- time
// The lab server's long-poll window: a poll waits this long, and after 1.5 windows without a poll the session may have ended.
const WINDOW = 2000;

const each = (v, visit) => {
  if (!v || typeof v !== 'object' || v instanceof Num) return;
  for (const [k, x] of Object.entries(v)) { visit(k, x); each(x, visit); }
};
const delays = (steps) => {
  const all = [];
  each(steps, (k, x) => { if (k === 'ms' && x instanceof Num) all.push(int(x)); });
  return all;
};
// The longest delay of a message that the server was asked to send and that is not expected.
const unanswered = (conv) => {
  const expected = delays(conv.steps.filter((s) => s.expect ?? s.expect_lanes));
  return Math.max(0, ...delays(conv.steps.filter((s) => s.send)).filter((ms) => !expected.includes(ms)));
};
// The mount with an idle timeout of 1.5 s, which a conversation cannot change.
const limited = (conv) => conv.steps.some((s) => s.open?.path?.startsWith('/limited'));
// Does the order of this conversation depend on timers?
export const races = (conv) => delays(conv.steps).length > 0 || limited(conv);
// The same conversation, with all delays of the server multiplied.
export function slower(conv, times) {
  if (times === 1 || limited(conv)) return conv;
  const paced = (v) => {
    if (!v || typeof v !== 'object' || v instanceof Num || v instanceof Repeated) return v;
    if (Array.isArray(v)) return v.map(paced);
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, k === 'ms' && x instanceof Num ? num(int(x) * times) : paced(x)]));
  };
  return { ...conv, steps: conv.steps.map(paced) };
}

// ---------------------------------------------------------------- engine
export class Fail extends Error {}

export class Run {
  constructor(url, conv, opts = {}) {
    this.url = url.replace(/\/$/, ''); this.conv = conv; this.opts = opts;
    this.names = new Map();
    this.timeout = opts.timeout ?? 30000;
    this.clients = Array.from({ length: int(conv.clients ?? 1) }, () => new WsClient(this.timeout, opts.compressed));
    // at the end nothing more may come, including delayed messages
    this.quiet = Math.max(opts.quiet ?? 150, unanswered(conv) + 100);
    this.late = false;
  }
  async settle(ms) {
    let from = Date.now();
    for (;;) {
      const last = Math.max(from, ...this.clients.map((c) => c.last));
      const left = last + ms - Date.now();
      if (left <= 0) return;
      await sleep(Math.max(left, 5));
    }
  }

  async play() {
    let n = 0;
    try {
      for (const s of this.conv.steps) {
        n++;
        if (s.expect) { await this.expectList(s); continue; }
        if (s.expect_lanes) { await this.expectLanes(s); continue; }
        if (s.maybe) { this.clients[int(s.client)].maybe.push(...s.maybe); continue; }
        const want = s.result;
        const got = await this.act(s, want);
        if (want !== undefined) {
          const m = mismatch(want, got, this.names);
          if (m) throw new Fail(`result of ${this.brief(s)}\n    ${m}\n    expected ${describe(want)}\n    got      ${describe(got)}`);
        }
      }
      n = 'end';
      if (this.clients.some((c) => c.ws)) {
        await this.settle(this.quiet);
        this.clients.forEach((c, k) => {
          if (c.items.length) throw new Fail(`client ${k}: ${c.items.length} more than expected, first ${describe(c.items[0])}`);
        });
      }
      return null;
    } catch (e) {
      if (e instanceof Fail) return `step ${n}: ${e.message}`;
      return `step ${n}: ${e.stack}`;
    } finally { await this.finish(); }
  }

  brief(s) {
    const { result, ...rest } = s;
    const t = stringify(rest);
    return t.length > 300 ? t.slice(0, 300) + '...' : t;
  }

  async expectList(s) {
    const k = int(s.client), c = this.clients[k], deadline = Date.now() + this.timeout;
    for (const [i, want] of s.expect.entries()) {
      const got = await c.next(deadline);
      const where = `client ${k}, expected item ${i + 1} of ${s.expect.length}`;
      if (got === undefined) throw new Fail(`${where}: no item came\n    expected ${describe(want)}`);
      const m = mismatch(want, got, this.names);
      if (m) throw new Fail(`${where}\n    ${m}\n    expected ${describe(want)}\n    got      ${describe(got)}`);
    }
  }

  async expectLanes(s) {
    const k = int(s.client), c = this.clients[k], deadline = Date.now() + this.timeout;
    const lanes = s.expect_lanes, total = lanes.reduce((a, l) => a + l.length, 0);
    const got = [];
    while (got.length < total) {
      const f = await c.next(deadline);
      if (f === undefined) break;
      got.push(f);
    }
    const pos = lanes.map(() => 0);
    let best = 0;
    const go = (i) => {
      best = Math.max(best, i);
      if (i === got.length) return true;
      for (let l = 0; l < lanes.length; l++) {
        if (pos[l] >= lanes[l].length) continue;
        const save = new Map(this.names);
        if (!mismatch(lanes[l][pos[l]], got[i], this.names)) {
          pos[l]++;
          if (go(i + 1)) return true;
          pos[l]--;
        }
        this.names = save;
      }
      return false;
    };
    const ok = go(0);
    if (ok && got.length === total) return;
    const list = (x) => x.map((f) => '\n      ' + describe(f)).join('');
    const missing = ok ? `only ${got.length} of ${total} came` : `frame ${best + 1} matches no lane: ${describe(got[best])}`;
    throw new Fail(`client ${k}: ${missing}\n    expected (each lane in order, lanes interleaved freely)` +
      lanes.map((l, i) => `\n     lane ${i + 1}${list(l)}`).join('') + `\n    got${list(got)}`);
  }

  // performs one action; returns its result, if it has one
  async act(s, want) {
    if (s.sleep !== undefined) { await sleep(int(s.sleep)); return undefined; }
    if (s.http) return this.http(s);
    const c = this.clients[int(s.client)];
    if (s.lp_open) return this.lpOpen(s, c);
    if (s.lp_poll) return this.lpPoll(s, c, want);
    if (s.lp_post) return this.lpPost(s, c);
    if (s.lp_poll_start) {
      const end = this.conv.steps.find((e, i) => i > this.conv.steps.indexOf(s) && e.lp_poll_end && int(e.client) === int(s.client));
      c.pending = this.lpPoll({ lp_poll: s.lp_poll_start }, c, end?.result);
      return undefined;
    }
    if (s.lp_poll_end) { const p = c.pending; c.pending = undefined; return p; }
    if (s.open) return c.connect(this.url, s.open, this.conv.vsn);
    const ws = c.ws;
    if (ws?.readyState !== WebSocket.OPEN && !s.terminate) {
      throw new Fail(`client ${int(s.client)} is not open: cannot do ${this.brief(s)}`);
    }
    // Between loops, as between Phoenix's nodes, messages sent before a join may arrive after it.
    if (this.opts.loops > 1 && s.send?.[3] === 'phx_join')
      c.maybe.push(...this.clients.filter((o) => o !== c).flatMap((o) => o.diffs).filter((d) => d[2] === s.send[2]));
    if (s.send !== undefined) ws.send(stringify(s.send));
    else if (s.send_text !== undefined) ws.send(s.send_text, { binary: false });
    else if (s.send_text_base64 !== undefined) ws.send(Buffer.from(s.send_text_base64, 'base64'), { binary: false });
    else if (s.send_binary !== undefined) ws.send(Buffer.from(s.send_binary, 'base64'), { binary: true });
    else if (s.send_fill) {           // {"prefix","fill","count","suffix"}: prefix + fill*count + suffix as one text frame
      const f = s.send_fill;
      ws.send(f.prefix + f.fill.repeat(int(f.count)) + f.suffix, { binary: false });
    } else if (s.send_fragments) {    // text message in fragments
      const f = s.send_fragments;
      f.forEach((p, i) => ws.send(p, { binary: false, fin: i === f.length - 1 }));
    } else if (s.send_raw !== undefined) ws._socket.write(Buffer.from(s.send_raw, 'base64'));
    else if (s.ping !== undefined) ws.ping(s.ping);
    else if (s.pong !== undefined) ws.pong(s.pong);
    else if (s.close !== undefined) { const code = int(s.close); code === 0 ? ws.close() : ws.close(code); }
    else if (s.terminate) { c.open = false; ws?.terminate(); }
    else throw new Fail(`unknown step ${this.brief(s)}`);
    return undefined;
  }

  async http(s) {
    const r = await request(this.url, s.http, this.timeout);
    if (r.error) return { error: r.error };
    const o = { status: num(r.status) };
    const h = keep(HTTP_HEADERS, r.headers);
    if (Object.keys(h).length && s.headers !== false) o.headers = h;
    if (s.body !== false) o.body = lpBody(r.body, null);
    return o;
  }

  lpPath(spec, token) {
    const params = { ...(this.conv.vsn == null ? {} : { vsn: this.conv.vsn }), ...(spec.params ?? {}) };
    if (token !== undefined && !spec.token_header) params.token = token;
    return (spec.path ?? '/socket/longpoll') + '?' + query(params);
  }
  lpHeaders(spec, token) {
    const h = { accept: 'application/json', ...(spec.headers ?? {}) };
    if (token !== undefined && spec.token_header) h['x-phoenix-longpoll-token'] = token;
    return h;
  }
  lpResult(r, c, spec) {
    if (r.error) return { error: r.error };
    const before = c.token;
    const body = lpBody(r.body, c);
    if (r.status >= 500) return { status: num(r.status) };
    const o = { status: num(r.status), body };
    if (body && typeof body === 'object' && typeof body.token === 'string') {
      o.token = before === undefined ? 'new' : before === body.token ? 'same' : 'changed';
    }
    if (spec.show_headers) o.headers = keep(LP_HEADERS, r.headers);
    return o;
  }
  async lpOpen(s, c) {
    c.token = undefined;
    c.polled = Date.now();
    const r = await request(this.url, { path: this.lpPath(s.lp_open), headers: this.lpHeaders(s.lp_open) }, this.timeout);
    return this.lpResult(r, c, s.lp_open);
  }
  // A server may send its messages in several polls, and those of a channel on another thread may be late. So messages are
  // collected until there are as many as expected.
  async lpPoll(s, c, want) {
    const spec = s.lp_poll, token = spec.token ?? c.token, deadline = Date.now() + this.timeout;
    const wanted = want?.status?.raw === '500' ? Infinity : want?.body?.messages?.length ?? 0;
    for (const all = []; ;) {
      this.asks(c);
      const from = c.polled = Date.now();
      const r = this.lpResult(await request(this.url, { path: this.lpPath(spec, token), headers: this.lpHeaders(spec, token) }, this.timeout), c, spec);
      const now = Date.now(), status = r.body?.status?.raw;
      // 204 is an error before the end of the window
      const goesOn = status === '200' || (status === '204' && now - from > WINDOW - 50);
      if (goesOn && Array.isArray(r.body.messages)) all.push(...r.body.messages);
      if (!goesOn || all.length >= wanted || now > deadline) return r.body && all.length ? { ...r, body: { ...r.body, messages: all } } : r;
    }
  }
  // Did a busy machine delay polls or the server so long that the session may have ended?
  asks(c) { if (Date.now() - c.polled > WINDOW) this.late = true; }
  async lpPost(s, c) {
    const spec = s.lp_post, token = spec.no_token ? undefined : spec.token ?? c.token;
    const ndjson = spec.frames !== undefined;
    let body = spec.body;
    if (ndjson) body = spec.frames.map((f) => (one(f) === '$binary' ? f.$binary : stringify(f))).join(spec.separator ?? '\n');
    else if (spec.frame !== undefined) body = stringify(spec.frame);
    const headers = { ...this.lpHeaders(spec, token), 'content-type': spec.content_type ?? (ndjson ? 'application/x-ndjson' : 'application/json'),
      'content-length': Buffer.byteLength(body) };
    const r = await request(this.url, { method: 'POST', path: this.lpPath(spec, token), headers, body }, this.timeout);
    this.asks(c);
    return this.lpResult(r, c, spec);
  }

  async finish() { await Promise.all(this.clients.map((c) => c.finish())); }
}

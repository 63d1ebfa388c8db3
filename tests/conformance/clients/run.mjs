// Real Phoenix clients, as npm publishes them, against a server with the lab server's channels.
//   node clients/run.mjs --server PROGRAM [--only 1.8 | realtime] [-- ARGUMENTS]
//   node clients/run.mjs --url http://127.0.0.1:PORT [--only 1.8 | realtime]
// Each uses WebSockets, then long-polling. With --url the restart is skipped.
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import WebSocket from 'ws';
import { Server, freePort, options, sleep } from '../server.mjs';
import { realtime } from './realtime.mjs';
import { XMLHttpRequest } from './xhr.mjs';

// The globals of a browser that older clients use.
globalThis.window ??= globalThis;
globalThis.WebSocket = WebSocket;
globalThis.XMLHttpRequest = XMLHttpRequest;

const require = createRequire(import.meta.url);
const o = options({ patience: { type: 'string', default: '30000' } });
const patience = Number(o.patience);
let passed = 0, failed = 0;

const within = (name, promise, ms = patience) => Promise.race([
  promise, sleep(ms).then(() => { throw new Error(`${name}: nothing came within ${ms} ms`); })]);
const same = (name, got, want) => {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  if (a !== b) throw new Error(`${name}: expected ${b}, got ${a}`);
};
const until = async (name, holds) => {
  for (const end = Date.now() + patience; !holds(); await sleep(5))
    if (Date.now() > end) throw new Error(`${name}: not within ${patience} ms`);
};
// Retry intervals: short, but growing. Before 1.5, and in realtime-js, a channel that retries its join ignores the reply to the
// previous one: with a fixed interval, the replies of a slow server would always be ignored.
const soon = (tries) => Math.min(50 * 2 ** (tries - 1), 5000);
const bytes = (...b) => new Uint8Array(b).buffer;
const list = (buffer) => [...new Uint8Array(buffer)];

// the reply to a push or join as [status, response]
const answer = (push) => within('an answer', new Promise((r) => {
  for (const status of ['ok', 'error', 'timeout']) push.receive(status, (response) => r([status, response]));
}));
const event = (channel, name) => within(`event ${name}`, new Promise((r) => { channel.on(name, r); }));

class Client {
  static sockets = 0;
  constructor(version, url, polls = false) {
    this.version = version;
    this.polls = polls;
    this.minor = Number(version.split('.')[1]);
    const manifest = new URL(`../node_modules/phoenix-${version}/package.json`, import.meta.url);
    this.patch = JSON.parse(fs.readFileSync(manifest)).version;
    this.phoenix = require(`phoenix-${version}`);
    this.url = url.replace(/^http/, 'ws') + (this.minor <= 2 ? '/legacy' : '/socket');
    this.open = [];
    this.channels = [];
  }
  // a connected socket that reconnects at once and records its close codes
  async socket(given = {}) {
    const s = new this.phoenix.Socket(this.url, {
      reconnectAfterMs: soon, rejoinAfterMs: soon, heartbeatIntervalMs: 30000, timeout: patience,
      ...(this.polls ? { transport: this.phoenix.LongPoll } : {}), ...given,
    });
    s.opens = 0;
    s.codes = [];
    s.onOpen(() => { s.opens++; });
    s.onClose((e) => { s.codes.push(e?.code); });
    this.open.push(s);
    s.connect();
    await until('the socket opens', () => s.opens > 0);
    return s;
  }
  async joined(socket, topic, params = {}) {
    const channel = socket.channel(topic, params);
    same('join', await answer(this.join(channel)), ['ok', {}]);
    return channel;
  }
  // joins: how often the server accepted it; errors: how often onError fired. A client that reconnects by itself joins again
  join(channel) {
    Object.assign(channel, { joins: 0, errors: 0, closes: 0 });
    this.channels.push(channel);
    channel.onError(() => { channel.errors++; });
    channel.onClose(() => { channel.closes++; });
    return channel.join().receive('ok', () => { channel.joins++; });
  }
  // A channel with phoenix.js's Presence. Metas are recorded without their refs.
  present(socket, topic, params) {
    const channel = socket.channel(topic, params);
    const { Presence } = this.phoenix;
    // 1.2 and 1.3 do not recognise an entry that is in both state and diff: their lists may have a meta twice until it leaves.
    const once = (metas) => metas.filter((m, i) => this.minor >= 4 || metas.findIndex((n) => n.phx_ref === m.phx_ref) === i);
    const plain = (entry) => once(entry?.metas ?? []).map(({ phx_ref, phx_ref_prev, ...meta }) => meta);
    const it = { channel, joins: [], leaves: [], state: {} };
    const onJoin = (key, current, joined) => { it.joins.push([key, current ? plain(current) : null, plain(joined)]); };
    const onLeave = (key, current, left) => { it.leaves.push([key, plain(current), plain(left)]); };
    if (this.minor >= 4) {
      const presence = new Presence(channel);
      presence.onJoin(onJoin);
      presence.onLeave(onLeave);
      it.now = () => presence.state;
    } else {
      // They have the functions only, and do not buffer diffs: the state must come first.
      let hasState = false;
      channel.on('presence_state', (s) => { hasState = true; it.state = Presence.syncState(it.state, s, onJoin, onLeave) ?? it.state; });
      channel.on('presence_diff', (d) => {
        if (!hasState) throw new Error('a diff came before the state');
        it.state = Presence.syncDiff(it.state, d, onJoin, onLeave) ?? it.state;
      });
      it.now = () => it.state;
    }
    it.keys = () => Object.keys(it.now()).sort().join(' ');
    it.metas = (key) => plain(it.now()[key]);
    this.join(channel);
    return it;
  }
  // the state of its sockets and channels, for the report of a failed check
  state() {
    return [...this.open.map((s) => `opened ${s.opens}, closed ${s.codes}`),
      ...this.channels.map((c) => `${c.topic} ${c.state}: ${c.joins} joins, ${c.errors} errors, ${c.closes} closes`)].join('; ');
  }
  done() {
    for (const s of this.open) s.disconnect();
    this.open = [];
    this.channels = [];
  }
}

// Each is a line of the report. `from`: the first minor version with the feature. `polls`: the first with it over long-polling;
// heartbeats, close codes and bytes from the server exist over WebSockets only (protocol 10.4).
const never = Infinity;
const checks = [
  { name: 'connects and joins', run: async (c, topic) => {
    await c.joined(await c.socket(), topic);
  } },
  { name: 'a join gets the server\'s response', run: async (c, topic) => {
    const channel = (await c.socket()).channel(topic, { reply: { motd: 'hi', n: 1 } });
    same('join', await answer(channel.join()), ['ok', { motd: 'hi', n: 1 }]);
  } },
  { name: 'a refused join gets the reason', run: async (c, topic) => {
    const channel = (await c.socket()).channel(topic, { deny: 'not today' });
    same('join', await answer(channel.join()), ['error', { reason: 'not today' }]);
    channel.leave();
  } },
  { name: 'an unmatched topic is refused', run: async (c) => {
    const channel = (await c.socket()).channel('nowhere:1', {});
    same('join', await answer(channel.join()), ['error', { reason: 'unmatched topic' }]);
    channel.leave();
  } },
  { name: 'a refused connect does not open', polls: 5, run: async (c) => {
    const s = new c.phoenix.Socket(c.url, {
      params: { reject: '1' }, reconnectAfterMs: () => 60000, ...(c.polls ? { transport: c.phoenix.LongPoll } : {}),
    });
    c.open.push(s);
    let opened = false;
    s.onOpen(() => { opened = true; });
    const refused = new Promise((r) => { s.onError(r); });
    s.connect();
    await within('the refusal', refused);
    if (opened) throw new Error('it opened');
  } },
  { name: 'a push gets the reply ok, with an unchanged payload', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const payload = { text: 'žluťoučký 🐎 "quoted"', n: 9007199254740991, list: [1, null, true, { deep: {} }] };
    same('echo', await answer(channel.push('echo', payload)), ['ok', payload]);
  } },
  { name: 'a push gets the reply error', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    same('echo_error', await answer(channel.push('echo_error', { why: 'no' })), ['error', { why: 'no' }]);
  } },
  { name: 'replies match their pushes, even out of order', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const slow = answer(channel.push('async', { ms: 60, who: 'slow' }));
    same('fast', await answer(channel.push('echo', { who: 'fast' })), ['ok', { who: 'fast' }]);
    same('slow', await slow, ['ok', { ms: 60, who: 'slow' }]);
  } },
  { name: 'a push without a reply times out at the client', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const [status] = await answer(channel.push('silent', {}, 150));
    same('status', status, 'timeout');
    same('afterwards', await answer(channel.push('echo', { still: 'here' })), ['ok', { still: 'here' }]);
  } },
  { name: 'the server pushes by itself', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const later = event(channel, 'later');
    channel.push('later', { ms: 20, n: 1 });
    same('later', await later, { ms: 20, n: 1 });
  } },
  { name: 'a broadcast reaches two sockets', run: async (c, topic) => {
    const a = await c.joined(await c.socket(), topic), b = await c.joined(await c.socket(), topic);
    const received = Promise.all([event(a, 'shout'), event(b, 'shout')]);
    a.push('shout', { hello: 'all' });
    same('both', await received, [{ hello: 'all' }, { hello: 'all' }]);
  } },
  { name: 'a broadcast_from does not reach its sender', run: async (c, topic) => {
    const a = await c.joined(await c.socket(), topic), b = await c.joined(await c.socket(), topic);
    let own = 0;
    a.on('whisper', () => { own++; });
    const received = event(b, 'whisper');
    same('whisper', await answer(a.push('whisper', { psst: 1 })), ['ok', {}]);
    same('the other', await received, { psst: 1 });
    same('a later push', await answer(a.push('echo', {})), ['ok', {}]);
    same('received by the sender', own, 0);
  } },
  { name: 'a crash fires onError and the client rejoins by itself', run: async (c, topic) => {
    const s = await c.socket();
    const channel = await c.joined(s, topic);
    channel.push('crash', {});
    await until('onError', () => channel.errors === 1);
    await until('the rejoin', () => channel.joins === 2);
    same('connections', s.opens, 1);
    same('afterwards', await answer(channel.push('echo', { back: true })), ['ok', { back: true }]);
  } },
  { name: 'a crash affects no other channel', run: async (c, topic) => {
    const s = await c.socket();
    const a = await c.joined(s, topic), b = await c.joined(s, `${topic}-b`);
    a.push('crash', {});
    await until('onError', () => a.errors === 1);
    same('the other', await answer(b.push('echo', { calm: 1 })), ['ok', { calm: 1 }]);
    same('errors of the other', b.errors, 0);
  } },
  { name: 'a channel that stops is closed, not rejoined', run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    channel.push('stop', { reason: 'normal' });
    await until('onClose', () => channel.closes === 1);
    await sleep(150);
    same('joins and errors', [channel.joins, channel.errors], [1, 0]);
  } },
  { name: 'leave fires onClose and ends the channel on the server', run: async (c, topic) => {
    const audit = await c.joined(await c.socket(), `audit:${topic}`);
    const ended = event(audit, 'terminated');
    const channel = await c.joined(await c.socket(), topic);
    const [status] = await answer(channel.leave());
    same('leave', status, 'ok');
    await until('onClose', () => channel.closes === 1);
    same('the server\'s side', await ended, { topic, reason: 'left' });
  } },
  { name: 'a topic can be joined again after a leave', run: async (c, topic) => {
    const s = await c.socket();
    const first = await c.joined(s, topic);
    await answer(first.leave());
    const second = await c.joined(s, topic);
    same('echo', await answer(second.push('echo', { n: 2 })), ['ok', { n: 2 }]);
  } },
  { name: 'heartbeats are answered and keep the socket open', polls: never, run: async (c, topic) => {
    // A reply later than the next heartbeat ends the connection: on a busy machine send only a few.
    for (const heartbeatIntervalMs of [60, 600, 6000]) {
      const s = await c.socket({ heartbeatIntervalMs });
      let beats = 0;
      s.onMessage((m) => { if (m.topic === 'phoenix' && m.event === 'phx_reply' && m.payload.status === 'ok') beats++; });
      await until('four answers', () => beats >= 4);
      if (s.opens > 1 && heartbeatIntervalMs < 6000) continue;
      same('opened and closed', [s.opens, s.codes], [1, []]);
      return c.joined(s, topic);
    }
  } },
  { name: 'after a disconnect with 1001 it reconnects and rejoins', polls: never, run: async (c, topic) => {
    const user_id = `u-${topic}`;
    const s = await c.socket({ params: { user_id } });
    const channel = await c.joined(s, topic);
    const other = await c.joined(await c.socket(), `${topic}-other`);
    same('disconnect', await answer(other.push('disconnect', { user_id })), ['ok', {}]);
    await until('the close', () => s.codes.length === 1);
    same('code', s.codes, [1001]);
    await until('the rejoin', () => s.opens === 2 && channel.joins === 2);
    same('afterwards', await answer(channel.push('echo', { back: 1 })), ['ok', { back: 1 }]);
  } },
  { name: 'after a lost connection it reconnects and rejoins', polls: never, run: async (c, topic) => {
    const s = await c.socket();
    const channel = await c.joined(s, topic);
    s.conn.terminate();
    await until('the rejoin', () => s.opens === 2 && channel.joins === 2);
    same('code', s.codes, [1006]);
  } },
  { name: 'presence: the state, then joins, updates and leaves, with onJoin and onLeave', polls: never, run: async (c, topic) => {
    const at = topic.replace('room:', 'presence:');
    const [a, a2, b] = [await c.socket(), await c.socket(), await c.socket()];
    const ann = c.present(a, at, { key: 'ann', meta: { on: 'desk' } });
    await until('she sees herself', () => ann.keys() === 'ann');
    const bob = c.present(b, at, { key: 'bob' });
    await until('he comes', () => ann.keys() === 'ann bob' && bob.keys() === 'ann bob');
    same('onJoin', ann.joins.at(-1), ['bob', null, [{}]]);
    const phone = c.present(a2, at, { key: 'ann', meta: { on: 'phone' } });
    await until('her second device', () => ann.metas('ann').length === 2 && bob.metas('ann').length === 2);
    // Before 1.6 onJoin gets all metas, including the earlier ones.
    same('onJoin', bob.joins.at(-1), ['ann', [{ on: 'desk' }], c.minor < 6 ? [{ on: 'desk' }, { on: 'phone' }] : [{ on: 'phone' }]]);
    same('update', await answer(bob.channel.push('update', { on: 'bus' })), ['ok', {}]);
    await until('he changes', () => ann.metas('bob')[0]?.on === 'bus');
    same('one meta of his', ann.metas('bob').length, 1);
    same('onLeave', ann.leaves.at(-1), ['bob', [{ on: 'bus' }], [{}]]);
    const [status, listed] = await answer(ann.channel.push('list', {}));
    same('list', [status, Object.keys(listed).sort()], ['ok', ['ann', 'bob']]);
    phone.channel.leave();
    await until('her second device is gone', () => ann.metas('ann').length === 1 && bob.metas('ann').length === 1);
    same('onLeave', bob.leaves.at(-1), ['ann', [{ on: 'desk' }], [{ on: 'phone' }]]);
    same('untrack', await answer(ann.channel.push('untrack', {})), ['ok', {}]);
    await until('she is no longer listed, and sees the others', () => ann.keys() === 'bob' && bob.keys() === 'bob');
    b.conn.terminate();
    await until('he is lost', () => ann.leaves.at(-1)[0] === 'bob' && ann.leaves.at(-1)[1].length === 0);
    await until('and back', () => ann.keys() === 'bob' && bob.keys() === 'bob');
    same('once', [ann.metas('bob').length, bob.metas('bob').length], [1, 1]);
  } },
  { name: 'presence: a key that is unsafe in JavaScript objects is refused', run: async (c, topic) => {
    const at = topic.replace('room:', 'presence:');
    const ann = c.present(await c.socket(), at, { key: 'ann' });
    await until('she sees herself', () => ann.keys() === 'ann');
    const proto = c.present(await c.socket(), at, { key: '__proto__' });
    await until('its state', () => proto.keys() === 'ann');
    same('update', await answer(proto.channel.push('update', { a: 1 })), ['error', { reason: 'a key that is unsafe in JavaScript objects, such as __proto__' }]);
    const bob = c.present(await c.socket(), at, { key: 'bob' });
    await until('others come', () => ann.keys() === 'ann bob' && proto.keys() === 'ann bob' && bob.keys() === 'ann bob');
  } },
  { name: 'binary: a push and its reply', from: 5, polls: never, run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const [status, response] = await answer(channel.push('bin', bytes(0, 1, 254, 255)));
    same('bin', [status, list(response)], ['ok', [0, 1, 254, 255]]);
  } },
  { name: 'binary: a push from the server', from: 5, polls: never, run: async (c, topic) => {
    const channel = await c.joined(await c.socket(), topic);
    const pushed = event(channel, 'bin_pushed');
    channel.push('bin_push', bytes(1, 2, 3));
    same('bin_pushed', list(await pushed), [1, 2, 3]);
  } },
  { name: 'binary: a broadcast reaches two sockets', from: 5, polls: never, run: async (c, topic) => {
    const a = await c.joined(await c.socket(), topic), b = await c.joined(await c.socket(), topic);
    const received = Promise.all([event(a, 'bin_shout'), event(b, 'bin_shout')]);
    a.push('bin_shout', bytes(7, 0, 7));
    same('both', (await received).map(list), [[7, 0, 7], [7, 0, 7]]);
  } },
  { name: 'a second channel object on the topic takes over', from: 5, run: async (c, topic) => {
    const s = await c.socket();
    const first = await c.joined(s, topic), second = await c.joined(s, topic);
    await until('the first is closed', () => first.closes === 1);
    same('echo', await answer(second.push('echo', { mine: 1 })), ['ok', { mine: 1 }]);
    same('joins', [first.joins, second.joins], [1, 1]);
  } },
  { name: 'ping measures a round trip', from: 7, run: async (c) => {
    const s = await c.socket();
    const ms = await within('ping', new Promise((r) => { if (!s.ping(r)) r('not sent'); }));
    if (typeof ms !== 'number') throw new Error(ms);
  } },
];

async function check(label, c, run) {
  try {
    await run();
    passed++;
    console.log(`ok   ${label}`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${label}\n  ${e.stack}\n  ${c.state?.() ?? ''}`);
  } finally { c.done(); }
}

async function all(version, url, polls = false) {
  const c = new Client(version, url, polls);
  for (const [n, one] of checks.entries()) {
    if (c.minor < (one.from ?? 0) || (polls && c.minor < (one.polls ?? 0))) continue;
    const { name, run } = one;
    await check(`phoenix ${c.patch}${polls ? ' polling' : ''}: ${name}`, c, () => run(c, `room:client-${version}-${n}-${polls}`));
  }
}

// Checks of long-polling only.
async function polling(version, url) {
  const c = new Client(version, url, true);
  if (c.minor >= 7) await check(`phoenix ${c.patch} polling: pushes of one batch arrive in order`, c, async () => {
    const s = await c.socket();
    const channel = await c.joined(s, `room:batch-${version}`);
    const received = [];
    channel.on('pushed', ({ n }) => received.push(n));
    for (let n = 0; n < 250; n++) channel.push('push', { n });
    same('the last answer', await answer(channel.push('echo', {})), ['ok', {}]);
    same('received', received, [...Array(250).keys()]);
  });
  if (c.minor >= 7) await check(`phoenix ${c.patch} polling: bytes are pushed as base64`, c, async () => {
    const channel = await c.joined(await c.socket(), `room:bytes-${version}`);
    channel.push('silent', bytes(0, 255));
    const count = await answer(channel.push('count', {}));
    same('a later push', count, ['ok', { count: 1 }]);
  });
  // Before 1.8.2 a client opened a new session after the end of its old one, without rejoining its channels.
  if (c.minor >= 8) await check(`phoenix ${c.patch} polling: after a disconnect it reconnects and rejoins`, c, async () => {
    const user_id = `polling-${version}`;
    const s = await c.socket({ params: { user_id } });
    const channel = await c.joined(s, `room:polling-${version}`);
    const other = await c.joined(await c.socket(), `room:polling-${version}-other`);
    same('disconnect', await answer(other.push('disconnect', { user_id })), ['ok', {}]);
    await until('the rejoin', () => channel.joins === 2);
    same('afterwards', await answer(channel.push('echo', { back: 1 })), ['ok', { back: 1 }]);
  });
}

// A proxy whose WebSocket route fails in the way `failure`; other requests are forwarded to `to`.
async function broken(failure, to) {
  const front = http.createServer((req, res) => {
    const onwards = http.request(to + req.url, { method: req.method, headers: req.headers }, (got) => {
      res.writeHead(got.statusCode, got.headers);
      got.pipe(res);
    }).on('error', () => res.destroy());
    res.on('close', () => onwards.destroy());
    req.pipe(onwards);
  });
  front.on('upgrade', (req, socket) => {
    socket.on('error', () => {});
    if (failure === 'refuses') socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
  });
  await new Promise((r) => { front.listen(0, '127.0.0.1', r); });
  return front;
}
async function fallback(version, url) {
  for (const failure of ['refuses', 'does not respond']) {
    const front = await broken(failure, url);
    const c = new Client(version, `http://127.0.0.1:${front.address().port}`);
    if (c.phoenix.Socket.prototype.connectWithFallback) {
      await check(`phoenix ${c.patch}: falls back to long-polling if the WebSocket route ${failure}`, c, async () => {
        const kept = new Map();
        const sessionStorage = { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => { kept.set(k, v); } };
        const s = await c.socket({ longPollFallbackMs: 150, sessionStorage });
        const channel = await c.joined(s, `room:fallback-${version}-${failure}`);
        same('echo', await answer(channel.push('echo', { n: 1 })), ['ok', { n: 1 }]);
        same('transport', s.transport === c.phoenix.LongPoll, true);
      });
    }
    front.closeAllConnections();
    front.close();
  }
}

// The server stops with SIGTERM and restarts on its port; the client reconnects by itself.
async function restart(version) {
  const port = await freePort();
  let server = await Server.start(o.program, { port });
  const c = new Client(version, server.url);
  await check(`phoenix ${c.patch}: SIGTERM closes with 1012; after the restart both channels rejoin`, c, async () => {
    const s = await c.socket();
    const a = await c.joined(s, 'room:restart-a'), b = await c.joined(s, 'room:restart-b');
    const wrong = await server.stop();
    if (wrong) throw new Error(wrong);
    await until('the close', () => s.codes.length > 0);
    same('the first close', s.codes[0], 1012);
    await sleep(300);
    same('while it is down', [a.joins, b.joins, s.isConnected()], [1, 1, false]);
    server = await Server.start(o.program, { port });
    await until('both rejoin', () => a.joins === 2 && b.joins === 2);
    same('echo a', await answer(a.push('echo', { n: 1 })), ['ok', { n: 1 }]);
    same('echo b', await answer(b.push('echo', { n: 2 })), ['ok', { n: 2 }]);
  });
  await server.stop();
}

const versions = ['1.2', '1.3', '1.4', '1.5', '1.6', '1.7', '1.8'].filter((v) => !o.only || v === o.only);
const server = o.program && await Server.start(o.program);
const url = o.url ?? server.url;
await Promise.all([
  ...versions.flatMap((v) => [all(v, url), all(v, url, true), polling(v, url), fallback(v, url)]),
  ...(!o.only || o.only === 'realtime' ? [realtime(url, { check, same, until, soon })] : []),
]);
if (server) {
  const wrong = await server.stop();
  if (wrong) { failed++; console.log(`FAIL ${wrong}`); }
  await Promise.all(versions.map(restart));
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);

// Real clients that negotiate permessage-deflate with the lab server: npm ws under phoenix.js, Chromium, Python's websockets. What is
// not installed is skipped, and the test prints it.
//   node clients.mjs --server PATH_TO_LAB_SERVER [--chromium PATH]
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { Server, options, sleep } from '../conformance/server.mjs';

const o = options({ chromium: { type: 'string', default: '/usr/bin/chromium' } });
const require = createRequire(new URL('../conformance/node_modules/', import.meta.url));
const WebSocket = require('ws');
const { Socket } = require('phoenix-1.8');
const patience = 60_000;

let passed = 0, failed = 0;
function check(name, good, seen) {
  good ? ++passed : ++failed;
  console.log(`${good ? 'ok  ' : 'FAIL'} ${name}${good || seen === undefined ? '' : `: ${JSON.stringify(seen)}`}`);
}
const within = (promise) => Promise.race([promise, sleep(patience).then(() => { throw new Error('nothing came'); })]);
const answer = (push) => within(new Promise((done) => {
  for (const status of ['ok', 'error', 'timeout']) push.receive(status, (response) => done([status, response]));
}));
const event = (channel, name) => within(new Promise((done) => { channel.on(name, done); }));

const items = (n) => ({ items: Array.from({ length: n }, (_, id) => ({ id, name: `user ${id % 7}`, online: id % 2 === 0 })) });
const large = items(2000), size = JSON.stringify(large).length;
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// phoenix.js over ws, which offers the extension by itself and compresses what is longer than 1 KiB
async function npm(url, mode, options) {
  const name = `npm ws, ${mode}${options ? `, ${JSON.stringify(options)}` : ''}`;
  const made = [];
  class Transport extends WebSocket {
    constructor(...a) { super(a[0], a[1], options && { perMessageDeflate: options }); made.push(this); }
  }
  const socket = new Socket(`${url.replace('http', 'ws')}/socket`, { transport: Transport, timeout: patience });
  socket.connect();
  const channel = socket.channel(`room:${name}`);
  check(`${name}: joins`, (await answer(channel.join()))[0] === 'ok');
  const tcp = made[0]._socket;
  check(`${name}: agreed on the extension`, made[0].extensions.startsWith('permessage-deflate'), made[0].extensions);
  const [before, sent] = [tcp.bytesRead, tcp.bytesWritten];
  const [status, response] = await answer(channel.push('echo', large));
  check(`${name}: a large message comes back`, status === 'ok' && same(response, large), status);
  check(`${name}: both directions were compressed`, (tcp.bytesRead - before) * 5 < size && (tcp.bytesWritten - sent) * 5 < size,
    [size, tcp.bytesRead - before, tcp.bytesWritten - sent]);
  for (const n of [0, 1, 5, 20, 21, 22, 300]) {
    const heard = event(channel, 'shout');
    channel.push('shout', items(n));
    check(`${name}: a broadcast of ${n} items`, same(await heard, items(n)));
  }
  for (const n of [20, 2000]) {
    const pushed = event(channel, 'pushed');
    const replied = answer(channel.push('push_then_reply', items(n)));
    check(`${name}: ${n} items are pushed, then a reply comes`, same(await pushed, items(n)) && (await replied)[0] === 'ok');
  }
  const binary = new Uint8Array(3000).map((_, i) => i % 50).buffer;
  const [ok, bytes] = await answer(channel.push('bin', binary));
  check(`${name}: bytes come back`, ok === 'ok' && Buffer.compare(Buffer.from(bytes), Buffer.from(binary)) === 0);
  socket.disconnect();
}

async function chromium(url, mode) {
  let playwright;
  try {
    playwright = createRequire(new URL('../browser/node_modules/', import.meta.url))('playwright-core');
  } catch { /* not installed */ }
  if (!playwright || !fs.existsSync(o.chromium)) return console.log('note: Chromium or playwright-core is not installed: skipped');
  const empty = http.createServer((_, answer) => answer.end()).listen(0, '127.0.0.1');  // a page, for its origin
  await once(empty, 'listening');
  const browser = await playwright.chromium.launch({ executablePath: o.chromium, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${empty.address().port}/`);
    const [extensions, same] = await within(page.evaluate(([ws, text]) => new Promise((done, no) => {
      const socket = new WebSocket(ws);
      socket.onerror = () => no(new Error('the connection failed'));
      socket.onopen = () => socket.send('["1","1","room:browser","phx_join",{}]');
      socket.onmessage = ({ data }) => {
        if (JSON.parse(data)[1] === '1') socket.send(`["1","2","room:browser","echo",${text}]`);
        else done([socket.extensions, JSON.stringify(JSON.parse(data)[4].response) === text]);
      };
    }), [`${url.replace('http', 'ws')}/socket/websocket?vsn=2.0.0`, JSON.stringify(large)]));
    check(`Chromium, ${mode}: agreed on the extension`, extensions.startsWith('permessage-deflate'), extensions);
    check(`Chromium, ${mode}: a large message comes back`, same);
  } finally {
    await browser.close();
    empty.close();
  }
}

function python(url, mode) {
  const program = ['python3', '/usr/bin/python3'].find((p) => spawnSync(p, ['-c', 'import websockets']).status === 0);
  if (!program)
    return console.log('note: Python websockets (python3-websockets) is not installed: skipped');
  const script = new URL('client.py', import.meta.url).pathname;
  const out = execFileSync(program, [script, `${url.replace('http', 'ws')}/socket/websocket?vsn=2.0.0`], { timeout: patience });
  check(`Python websockets, ${mode}: messages come back, compressed`, out.toString() === 'ok\n', out.toString());
}

for (const mode of ['messages', 'windows']) {
  const server = await Server.start([...o.program, '--compress', mode]);
  try {
    await npm(server.url, mode);
    await npm(server.url, mode, { serverMaxWindowBits: 10, clientMaxWindowBits: 9 });
    await npm(server.url, mode, { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 });
    await chromium(server.url, mode);
    python(server.url, mode);
  } catch (e) {
    check(mode, false, String(e));
  }
  const wrong = await server.stop();
  check(`${mode}: the server ends well`, wrong === null, wrong);
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);

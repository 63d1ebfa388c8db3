// Starts every example on a free port, waits until it accepts, runs tests/examples/NAME.mjs against it with phoenix.js, and
// stops it with SIGTERM.   node examples.mjs FOLDER-OF-PROGRAMS [WORD]   (only those with the word)
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Server, freePort, sleep } from '../conformance/server.mjs';

const folder = path.dirname(new URL(import.meta.url).pathname);
const require = createRequire(path.join(folder, '../conformance/'));
globalThis.WebSocket = require('ws');
const { Socket } = require('phoenix-1.8');

// The argument of a test: opens sockets that are closed after it, and turns the callbacks of phoenix.js into promises.
class Visitor {
  sockets = [];
  constructor(url, program, pid) { this.url = url; this.program = program; this.pid = pid; }
  socket(params = {}, options = {}, url = this.url) {
    const s = new Socket(`${url}/socket`, { params, rejoinAfterMs: () => 50, reconnectAfterMs: () => 50, ...options });
    this.sockets.push(s);
    s.connect();
    return s;
  }
  answer(push) {
    return new Promise((r) => { for (const status of ['ok', 'error', 'timeout']) push.receive(status, (v) => r([status, v])); });
  }
  event(channel, name) { return new Promise((r) => { channel.on(name, r); }); }
  same(got, want) {
    if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`expected ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
  }
  leave() { for (const s of this.sockets) s.disconnect(); }
}

const [, , programs, word = ''] = process.argv;
const names = fs.readdirSync(path.join(folder, '../../examples'))
  .filter((n) => /^\d\d_/.test(n) && n.includes(word)).map((n) => n.replace(/\.cpp$/, ''));
let passed = 0, failed = 0;
for (const name of names) {
  let server;
  // Not built without hiredis or cpp-httplib.
  if (/^(09_redis|12_any_http)/.test(name) && !fs.existsSync(path.join(programs, name))) {
    console.log(`skipped: ${name} was not built`);
    continue;
  }
  try {
    // cpp-httplib does not support port 0
    server = await Server.start([path.join(programs, name)], name.startsWith('12_') ? { port: await freePort() } : {});
    const { default: visit } = await import(pathToFileURL(path.join(folder, '../examples', `${name}.mjs`)));
    const visitor = new Visitor(server.url.replace('http', 'ws'), path.join(programs, name), server.process.pid);
    await Promise.race([visit(visitor), sleep(60000).then(() => { throw new Error('the test took more than 60 s'); })])
      .finally(() => visitor.leave());
    // An example that does not drain is ended by the signal.
    const wrong = await server.stop({ also: 'SIGTERM' });
    if (wrong) throw new Error(wrong);
    passed++;
    console.log(`ok   ${name}`);
  } catch (e) {
    server?.process.kill('SIGKILL');
    failed++;
    console.log(`FAIL ${name}\n  ${e.stack}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);

// Starts every example on a free port, waits until it accepts, lets phoenix.js in to see what tests/examples/NAME.mjs says
// is to be seen there, and ends it with SIGTERM.   node examples.mjs FOLDER-OF-PROGRAMS [WORD]   (only those with the word)
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Server, freePort, sleep } from '../conformance/server.mjs';

const here = path.dirname(new URL(import.meta.url).pathname);
const require = createRequire(path.join(here, '../conformance/'));
globalThis.WebSocket = require('ws');
const { Socket } = require('phoenix-1.8');

// What a visit gets: sockets that are closed behind it, and promises where phoenix.js has callbacks.
class Guest {
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
const names = fs.readdirSync(path.join(here, '../../examples'))
  .filter((n) => /^\d\d_/.test(n) && n.includes(word)).map((n) => n.replace(/\.cpp$/, ''));
let passed = 0, failed = 0;
for (const name of names) {
  let server;
  // Where hiredis or cpp-httplib is not there, there is no such program.
  if (/^(09_redis|12_any_http)/.test(name) && !fs.existsSync(path.join(programs, name))) {
    console.log(`skipped: ${name} was not built`);
    continue;
  }
  try {
    // cpp-httplib takes no 0
    server = await Server.start([path.join(programs, name)], name.startsWith('12_') ? { port: await freePort() } : {});
    const { default: visit } = await import(pathToFileURL(path.join(here, '../examples', `${name}.mjs`)));
    const guest = new Guest(server.url.replace('http', 'ws'), path.join(programs, name), server.process.pid);
    await Promise.race([visit(guest), sleep(60000).then(() => { throw new Error('the visit took more than 60 s'); })])
      .finally(() => guest.leave());
    // An example that does not drain ends as SIGTERM ends a program.
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

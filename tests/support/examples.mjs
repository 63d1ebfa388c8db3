// Starts every example with a port of its own, waits until it accepts, lets a real client in where tests/examples/NAME.mjs says
// what it should find there, and ends it with SIGTERM.   node examples.mjs FOLDER-OF-PROGRAMS
// tests/examples/NAME.mjs: export default async ({ url, ws, Socket }) => { throw, or not }
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Server, sleep } from '../conformance/server.mjs';

const here = path.dirname(new URL(import.meta.url).pathname);
const require = createRequire(path.join(here, '../conformance/'));
globalThis.WebSocket = require('ws');
const { Socket } = require('phoenix-1.8');

const programs = process.argv[2];
const names = fs.readdirSync(path.join(here, '../../examples'))
  .filter((n) => n.endsWith('.cpp') || fs.existsSync(path.join(here, '../../examples', n, 'main.cpp')))
  .map((n) => n.replace(/\.cpp$/, ''));
let passed = 0, failed = 0;
for (const name of names) {
  let server;
  try {
    server = await Server.start([path.join(programs, name)]);
    const visit = path.join(here, '../examples', `${name}.mjs`);
    if (fs.existsSync(visit)) {
      const { default: run } = await import(pathToFileURL(visit));
      const ws = server.url.replace('http', 'ws');
      await Promise.race([run({ url: server.url, ws, Socket }), sleep(10000).then(() => { throw new Error('not done in 10 s'); })]);
    }
    const wrong = await server.stop();
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

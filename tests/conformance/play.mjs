// Plays the recorded conversations over loopback.
//   node play.mjs --server PROGRAM [--jobs 4] [--only TEXT] [--timeout MS] [--quiet MS] [--compressed] [-- ARGUMENTS]
//   node play.mjs --url http://127.0.0.1:PORT ...
// With --compressed the clients use permessage-deflate, and the server has to agree (lab_server: --compress all).
import fs from 'node:fs';
import path from 'node:path';
import { Run, parse, races, slower } from './engine.mjs';
import { Server, options } from './server.mjs';

// Differences between phx and the recording, with the reason of each; both replies are accepted.
const differences = {
  // Phoenix decodes a payload into a map, which keeps the first of two equal keys. phx relays the text.
  'malformed/duplicate-keys': (item) =>
    ({ $one_of: [item, parse('["1","2","room:bad-duplicate-keys","phx_reply",{"response":{"a":1,"b":2,"a":3},"status":"ok"}]')] }),
};

const own = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const o = options({
  jobs: { type: 'string', default: '4' }, timeout: { type: 'string', default: '30000' }, quiet: { type: 'string', default: '150' },
  compressed: { type: 'boolean', default: false },
});
const folder = path.join(own, 'recorded');
const conversations = fs.readdirSync(folder).filter((f) => f.endsWith('.json')).sort()
  .map((f) => parse(fs.readFileSync(path.join(folder, f), 'utf8'))).filter((c) => !o.only || c.name.includes(o.only));
// RSV1 announces a compressed message then, and this one is not.
if (o.compressed) differences['frames/reserved-bit'] = (item) => ({ $one_of: [item, parse('{"$closed":1007}')] });
for (const c of conversations) {
  const differ = differences[c.name];
  if (differ) c.steps = c.steps.map((s) => (s.expect ? { ...s, expect: s.expect.map(differ) } : s));
}

const threads = o.program ? o.program.indexOf('--threads') + 1 : 0;
const loops = threads ? 2 * Number(o.program[threads]) : 1;  // of the lab server
const server = o.program && await Server.start(o.program);
const url = o.url ?? server.url;
const results = [], failures = [];
let next = 0, shown = 0, passed = 0;

// On a busy machine a conversation with a race between timers may fail, and a session may end because its client polled too late.
// Such a conversation is repeated at the end, alone, and slower each time: a real fault fails at any speed.
const again = [];
async function play(i, pace) {
  const c = conversations[i], run = new Run(url, slower(c, pace), { timeout: Number(o.timeout), quiet: Number(o.quiet), loops, compressed: o.compressed });
  const wrong = await run.play();
  if (wrong && pace < 32 && (races(c) || run.late)) {
    console.log(`note: ${c.name} is repeated. ${wrong.split('\n', 2).join(':')}`);
    again.push([i, pace * 2]);
    return;
  }
  if (!wrong) passed++;
  else failures.push(`FAIL ${c.name}\n  ${wrong}`);
  results[i] = wrong ? `FAIL ${c.name}` : `ok   ${c.name}`;
  while (results[shown] !== undefined) console.log(results[shown++]);
}
async function worker() {
  while (next < conversations.length) await play(next++, 1);
}
await Promise.all(Array.from({ length: Number(o.jobs) }, worker));
while (again.length) await play(...again.shift());

let bad = passed < conversations.length || !passed;
const ended = server && await server.stop();
if (ended) { console.log(`FAIL ${ended}`); bad = true; }
// printed last, so that they are at the end of the log
for (const f of failures) console.log(f);
console.log(`conversations over loopback: ${conversations.length} played, ${passed} passed`);
process.exit(bad ? 1 : 0);

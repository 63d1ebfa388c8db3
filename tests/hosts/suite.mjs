// The recipes of examples/hosts/, each with npm phoenix: the same requirements for every socket library.
//   node suite.mjs FOLDER-OF-PROGRAMS [WORD]       only those whose names contain the word
// A recipe without its library was not built: it is skipped, by name.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { Server, freePort, sleep } from '../conformance/server.mjs';
import { XMLHttpRequest } from '../conformance/clients/xhr.mjs';

const folder = path.dirname(new URL(import.meta.url).pathname);
const require = createRequire(path.join(folder, '../conformance/'));
globalThis.WebSocket = require('ws');
globalThis.XMLHttpRequest = XMLHttpRequest;
const { Socket, Presence, LongPoll } = require('phoenix-1.8');

const patience = Number(process.env.PATIENCE ?? 60000);  // only a failure waits this long
const within = (promise, name) => {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`nothing within ${patience} ms: ${name}`)), patience); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const answer = (push, name) => within(new Promise((r) => {
  for (const status of ['ok', 'error', 'timeout']) push.receive(status, (v) => r([status, v]));
}), name);
const event = (channel, name) => within(new Promise((r) => {
  const ref = channel.on(name, (v) => { channel.off(name, ref); r(v); });
}), name);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const bytes = (...of) => new Uint8Array(of).buffer;
const text = (b) => (b instanceof ArrayBuffer ? [...new Uint8Array(b)].join() : JSON.stringify(b));

// One recipe. What a poll cannot carry is named instead of checked.
async function visit(program, polls) {
  let passed = 0, failed = 0;
  const check = (name, good, seen) => {
    good ? passed++ : failed++;
    if (!good) console.log(`FAIL ${path.basename(program)}: ${name}${seen === undefined ? '' : `: ${JSON.stringify(seen)?.slice(0, 300)}`}`);
  };
  const port = await freePort();
  let server = await Server.start([program], { port });
  const sockets = [];
  const connect = (name) => {
    const s = new Socket(`ws://127.0.0.1:${port}/socket`, {
      params: { name }, rejoinAfterMs: () => 30, reconnectAfterMs: () => 50, ...(polls ? { transport: LongPoll } : {}),
    });
    sockets.push(s);
    s.connect();
    return s;
  };
  try {
    const one = connect('ann/& ü'), two = connect('bob');
    const lobby = one.channel('room:lobby'), lobby2 = two.channel('room:lobby');
    const seen = { one: new Presence(lobby), two: new Presence(lobby2) };

    // ---- one client
    const joined = await answer(lobby.join(), 'join');
    check('join', same(joined, ['ok', {}]), joined);
    const sent = { n: 1, text: 'żółw \u0000 "', deep: [[{}]] };
    check('push and reply', same(await answer(lobby.push('echo', sent), 'echo'), ['ok', sent]));
    const long = { text: 'x'.repeat(200000) };
    check('a message longer than a read', same(await answer(lobby.push('echo', long), 'long echo'), ['ok', long]));
    const burst = await Promise.all(Array.from({ length: 500 }, (_, i) => answer(lobby.push('echo', { i }), 'burst')));
    check('500 pushes at once, 500 replies', burst.every(([status, r], i) => status === 'ok' && r.i === i));
    const [status, big] = await answer(lobby.push('big', {}), 'big');
    check('a reply of 3 MB', status === 'ok' && big.length === 3000000 && !/[^x]/.test(big), [status, big?.length]);
    check('an unmatched topic', same(await answer(one.channel('elsewhere').join(), 'elsewhere'), ['error', { reason: 'unmatched topic' }]));

    // ---- two clients
    const names = (p) => p.list((key) => key).sort();
    const sees = (p, wanted) => within(new Promise((r) => {
      const look = () => { if (same(names(p), wanted)) r(true); };
      p.onSync(look);
      look();
    }), `presence ${wanted}`);
    check('join of a second', same(await answer(lobby2.join(), 'join of the second'), ['ok', {}]));
    check('presence: the list of the later client', await sees(seen.two, ['ann/& ü', 'bob']));
    check('presence: the diff of the earlier client', await sees(seen.one, ['ann/& ü', 'bob']));
    const received = [event(lobby, 'shout'), event(lobby2, 'shout')];
    check('a broadcast is answered', same(await answer(lobby.push('shout', { hello: 'both' }), 'shout'), ['ok', {}]));
    check('and reaches both clients', same(await Promise.all(received), [{ hello: 'both' }, { hello: 'both' }]));

    // ---- bytes
    if (polls) {
      check('bytes come in', same(await answer(lobby.push('shout', bytes(254, 0, 128)), 'binary'), ['ok', {}]));
      console.log(`note: not checked, since a poll cannot: ${path.basename(program)}: bytes to a client`);
    } else {
      const [s, b] = await answer(lobby2.push('echo', bytes(0, 1, 255)), 'binary');
      check('bytes come back as bytes', s === 'ok' && text(b) === '0,1,255', text(b));
      const bound = [event(lobby, 'shout'), event(lobby2, 'shout')];
      lobby2.push('shout', bytes(254, 0, 128));
      check('bytes are broadcast', (await Promise.all(bound)).every((x) => text(x) === '254,0,128'));
    }

    // ---- a crash
    let errors = 0;
    lobby.onError(() => errors++);
    const back = event(lobby, 'presence_state');
    lobby.push('crash', {});
    await back;
    check('a crash is a phx_error, and the client rejoins', errors === 1 && lobby.state === 'joined' && one.isConnected(), errors);
    check('after it the channel answers', same(await answer(lobby.push('echo', { again: 1 }), 'echo after the crash'), ['ok', { again: 1 }]));
    check('the other client is not affected', lobby2.state === 'joined');

    // ---- leaving
    check('leave', same(await answer(lobby2.leave(), 'leave'), ['ok', {}]));
    check('presence: a leave', await sees(seen.one, ['ann/& ü']));
    const lobby3 = two.channel('room:lobby');
    check('a new channel on the old topic', same(await answer(lobby3.join(), 'join again'), ['ok', {}]));

    // ---- refusals
    if (polls) {  // a poll is told in its body
      const poll = (target, headers = {}) => fetch(`http://127.0.0.1:${port}${target}`, { headers });
      const refused = async (...of) => (await (await poll(...of)).json()).status;
      check('another path: 404', (await poll('/elsewhere')).status === 404);
      check('no name: 403', await refused('/socket/longpoll?vsn=2.0.0') === 403);
      check('another origin: 403', await refused('/socket/longpoll?vsn=2.0.0&name=a', { origin: 'http://evil.example' }) === 403);
    } else {
      const refused = (target, options) => within(new Promise((r) => {
        const ws = new WebSocket(`ws://127.0.0.1:${port}${target}`, options);
        ws.on('unexpected-response', (_, response) => { r(response.statusCode); response.destroy(); });
        ws.on('open', () => r('open')).on('error', (e) => r(e.message));
      }), `a refusal of ${target}`);
      let got = await refused('/elsewhere?name=a');
      check('another path: 404', got === 404, got);
      got = await refused('/socket/websocket?vsn=2.0.0');
      check('no name: 403', got === 403, got);
      got = await refused('/socket/websocket?vsn=2.0.0&name=a', { origin: 'http://evil.example' });
      check('another origin: 403', got === 403, got);
    }

    // ---- clients that go away without a word, while they are sent to
    if (!polls) {
      const crowd = await within(Promise.all(Array.from({ length: 20 }, () => new Promise((r, no) => {
        const ws = new WebSocket(`ws://127.0.0.1:${port}/socket/websocket?vsn=2.0.0&name=crowd`);
        ws.on('open', () => ws.send('["1","1","room:crowd","phx_join",{}]')).once('message', () => r(ws)).on('error', no);
      }))), 'a crowd');
      const payload = JSON.stringify('y'.repeat(20000));
      for (const ws of crowd) {
        for (let i = 0; i < 5; i++) ws.send(`["1","${i + 2}","room:crowd","shout",${payload}]`);
        if (crowd.indexOf(ws) % 2) ws.terminate();
        else setTimeout(() => ws.terminate(), 20);
      }
      await sleep(50);
      check('the others are served while a crowd goes away', same(await answer(lobby.push('echo', { n: 4 }), 'echo beside a crowd'), ['ok', { n: 4 }]));
    }

    // ---- a client that asks for much and reads nothing: what waits for it is bounded (limits::outbound, 16 MB)
    if (!polls) {
      const slow = new WebSocket(`ws://127.0.0.1:${port}/socket/websocket?vsn=2.0.0&name=slow`);
      const closed = within(new Promise((r) => slow.on('close', r)), 'the close of a slow client');
      await within(new Promise((r) => slow.on('open', r)), 'the slow client');
      slow.send('["1","1","room:slow","phx_join",{}]');
      slow._socket.pause();
      slow._socket.cork();  // all in one segment: nothing depends on how fast the server is
      for (let i = 0; i < 16; i++) slow.send(`["1","${i + 2}","room:slow","big",{}]`);
      slow._socket.uncork();
      await sleep(300);
      check('the others are served meanwhile', same(await answer(lobby.push('echo', { n: 3 }), 'echo beside a slow client'), ['ok', { n: 3 }]));
      slow._socket.resume();
      const got = await closed;
      check('a client that does not read is closed with 1008', got === 1008, got);
    }

    // ---- the end, and another beginning
    const code = (s) => within(new Promise((r) => {
      const ref = s.onClose((e) => { s.off([ref]); r(e?.code); });
    }), 'a close');
    const codes = Promise.all([code(one), code(two)]);
    const stopped = server.stop();
    if (polls) console.log(`note: not checked, since a poll cannot: ${path.basename(program)}: SIGTERM with 1012`);
    else check('SIGTERM: every client gets 1012', same(await codes, [1012, 1012]), await codes);
    const wrong = await stopped;
    check('and the server exits 0', wrong === null, wrong);
    const again = [event(lobby, 'presence_state'), event(lobby3, 'presence_state')];
    server = await Server.start([program], { port });
    await Promise.all(again);
    check('after the restart both rejoin', one.isConnected() && lobby.state === 'joined' && lobby3.state === 'joined');
    check('and are answered', same(await answer(lobby.push('echo', { n: 2 }), 'echo after the restart'), ['ok', { n: 2 }]));
  } catch (e) {
    check(e.message, false, e.stack);
  }
  for (const s of sockets) s.disconnect();
  await sleep(50);
  const wrong = server.over ? null : await server.stop();
  check('without clients it exits 0 as well', wrong === null, wrong);
  return [passed, failed];
}

const [, , programs, word = ''] = process.argv;
const names = fs.readdirSync(path.join(folder, '../../examples/hosts')).filter((n) => n.endsWith('.cpp') && n.includes(word))
  .map((n) => n.replace(/\.cpp$/, ''));
let all = [0, 0];
for (const name of names) {
  const program = path.join(programs, `host_${name}`);
  if (!fs.existsSync(program)) {
    const missing = name === 'uwebsockets' ? 'UWS_DIR names no checkout of it' : 'its library is not there';
    console.log(`note: recipe not built, and not tested: ${name}: ${missing}`);
    continue;
  }
  const from = Date.now();
  const [passed, failed] = await visit(program, name === 'cpp_httplib');
  console.log(`note: ${name}: ${passed} checks of ${passed + failed} in ${((Date.now() - from) / 1000).toFixed(1)} s`);
  all = [all[0] + passed, all[1] + failed];
}
console.log(`${all[0]} passed, ${all[1]} failed`);
process.exit(all[1] || !all[0] ? 1 : 0);

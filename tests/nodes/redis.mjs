// Several lab_servers with Redis: nodes that start, stop, are killed and disconnected.   node redis.mjs --server PATH
import { createRequire } from 'node:module';
import path from 'node:path';
import { Server, sleep } from '../conformance/server.mjs';
import { Redis, Wire } from '../support/redis.mjs';

const folder = path.dirname(new URL(import.meta.url).pathname);
const require = createRequire(path.join(folder, '../conformance/'));
const WebSocket = require('ws');

const program = process.argv[process.argv.indexOf('--server') + 1];
const patience = 60000;

// Waits for a condition, with a deadline that only a failure reaches.
async function until(name, is) {
  for (const end = Date.now() + patience; !await is(); await sleep(5))
    if (Date.now() > end) throw new Error(`not within ${patience / 1000} s: ${name}`);
}
const equal = (got, want, name) => {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${name}: expected ${JSON.stringify(want)}, got ${JSON.stringify(got)}`);
};
const running = new Set();

class Node {
  static async start(name, port, ...more) {
    const n = new Node();
    n.name = name;
    n.server = await Server.start([program, '--redis', `127.0.0.1:${port}`, '--node', name, ...more], { patience });
    running.add(n);
    return n;
  }
  times(word) { return this.server.output.split(`redis: ${word}`).length - 1; }
  // Waits for the n-th connection to Redis
  there(n = 1) { return until(`${this.name} is connected to Redis (${n})`, () => this.times('connected') >= n); }
  away(n = 1) { return until(`${this.name} is disconnected from Redis (${n})`, () => this.times('disconnected') >= n); }
  async kill() {
    running.delete(this);
    this.server.process.kill('SIGKILL');
    await this.server.ended;
  }
  async join(topic = 'room:1', params = '', payload = {}) {
    const c = new Client();
    c.topic = topic;
    c.received = [];
    c.ws = new WebSocket(`ws://127.0.0.1:${this.server.port}/socket/websocket?vsn=2.0.0${params}`);
    c.ws.on('message', (m) => c.on(String(m)));
    c.ws.on('close', (code) => { c.closed = code; }).on('error', () => {});
    await new Promise((r, no) => c.ws.once('open', r).once('error', no));
    c.send('phx_join', payload);
    await until(`${this.name} accepts a join`, () => c.replies === 1);
    return c;
  }
}
class Client {
  replies = 0;
  ref = 0;
  on(text) {
    const [, , , event, payload] = JSON.parse(text);
    if (event === 'phx_reply') this.replies++;
    else this.received.push([event, payload]);
  }
  send(event, payload) { this.ws.send(JSON.stringify(['1', String(++this.ref), this.topic, event, payload])); }
  shout(n) { this.send('shout', { n }); }
  has(n) { return this.received.some(([event, payload]) => event === 'shout' && payload.n === n); }
  hears(n) { return until(`a client receives ${n}`, () => this.has(n)); }
  // The presence list of this client; every key of these tests has one meta.
  present() {
    const keys = new Set();
    for (const [event, p] of this.received) {
      if (event === 'presence_state') for (const k of Object.keys(p)) keys.add(k);
      if (event !== 'presence_diff') continue;
      for (const k of Object.keys(p.joins)) keys.add(k);
      for (const k of Object.keys(p.leaves)) keys.delete(k);
    }
    return [...keys].sort().join(' ');
  }
  sees(keys) { return until(`a client sees "${keys}", not "${this.present()}"`, () => this.present() === keys); }
}
async function nodes(port, ...names) {
  const all = await Promise.all(names.map((n) => Node.start(n, port)));
  for (const n of all) await n.there();
  return all;
}
const numbers = (c) => c.received.filter(([e]) => e === 'shout').map(([, p]) => p.n);

const tests = {
  async 'two nodes share a room, and whisper excludes only its sender'(redis) {
    const [a, b] = await nodes(redis.port, 'a', 'b');
    const ann = await a.join(), too = await a.join(), ben = await b.join();
    ann.send('whisper', { n: 0 });
    ann.shout(1);
    ben.shout(2);
    for (const c of [ann, too, ben]) for (const n of [1, 2]) await c.hears(n);
    equal(ann.received.filter(([e]) => e === 'whisper').length, 0, 'the sender');
    // Ordered for each sender; not between senders.
    for (const c of [too, ben])
      equal(c.received.filter(([, p]) => p.n !== 2), [['whisper', { n: 0 }], ['shout', { n: 1 }]], 'the others, in order');
    for (const c of [ann, too, ben]) equal(numbers(c).length, 2, 'each once');
  },
  async 'an intercepted event is intercepted on the receiving node'(redis) {
    const [a, b] = await nodes(redis.port, 'a', 'b');
    const ann = await a.join(), ben = await b.join('room:1', '&user_id=ben');
    ann.send('masked', { x: 1 });
    await until('ben receives it', () => ben.received.length === 1);
    equal(ben.received[0], ['masked', { x: 1, seen_by: 'ben' }], 'masked');
  },
  async 'disconnect ends the sockets of a user on every node, and no others'(redis) {
    const all = await nodes(redis.port, 'a', 'b', 'c');
    const ann = await Promise.all(all.map((n) => n.join('room:1', '&user_id=ann')));
    const bob = await Promise.all(all.map((n) => n.join('room:1', '&user_id=bob')));
    bob[0].send('disconnect', { user_id: 'ann' });
    for (const c of ann) await until('ann is disconnected', () => c.closed !== undefined);
    equal(ann.map((c) => c.closed), [1001, 1001, 1001], 'close codes');
    bob[0].shout(1);
    for (const c of bob) await c.hears(1);
  },
  async 'presence: three nodes agree after a leave, a lost connection, and a killed node'(redis) {
    const all = await Promise.all(['a', 'b', 'c'].map((name) => Node.start(name, redis.port, '--silence', '5000')));
    const [ann, ben, cat] = await Promise.all(all.map((n, i) => n.join('presence:1', '', { key: ['ann', 'ben', 'cat'][i] })));
    for (const c of [ann, ben, cat]) await c.sees('ann ben cat');
    const dan = await all[1].join('presence:1', '', { key: 'dan' });
    for (const c of [ann, ben, cat, dan]) await c.sees('ann ben cat dan');
    dan.send('phx_leave', {});
    for (const c of [ann, ben, cat]) await c.sees('ann ben cat');
    ben.ws.terminate();
    for (const c of [ann, cat]) await c.sees('ann cat');
    await all[2].kill();
    await ann.sees('ann');
    const late = await all[1].join('presence:1', '', { key: 'eve' });
    for (const c of [ann, late]) await c.sees('ann eve');
  },
  async 'one of three nodes is killed: the others continue, and it rejoins after a restart'(redis) {
    const [a, b, c] = await nodes(redis.port, 'a', 'b', 'c');
    const ann = await a.join(), ben = await b.join();
    await c.kill();
    ann.shout(1);
    await ben.hears(1);
    const [again] = await nodes(redis.port, 'c');
    const cat = await again.join();
    cat.shout(2);
    for (const x of [ann, ben, cat]) await x.hears(2);
    equal(numbers(cat), [2], 'the restarted node gets no earlier messages');
  },
  async 'Redis is killed: each node serves its own clients; after its restart they are connected again'(redis) {
    const [a, b] = await nodes(redis.port, 'a', 'b');
    const ann = await a.join(), too = await a.join(), ben = await b.join();
    await redis.kill();
    await Promise.all([a.away(), b.away()]);
    ann.shout(1);
    await too.hears(1);
    await redis.again();
    await Promise.all([a.there(2), b.there(2)]);
    // at least one: on a busy machine also a heartbeat of presence
    const [before, since] = [...a.server.output.matchAll(/connected, \d+ ms without messages, (\d+) unsent/g)].map(([, n]) => Number(n));
    if (!(since - before >= 1)) throw new Error(`one unsent: ${a.server.output}`);
    ann.shout(2);
    ben.shout(3);
    for (const x of [ann, too, ben]) for (const n of [2, 3]) await x.hears(n);
    equal(ben.has(1), false, 'messages sent meanwhile stay on their node');
  },
  async 'nodes may start before Redis'(redis) {
    await redis.kill();
    const all = [await Node.start('a', redis.port), await Node.start('b', redis.port)];
    const [ann, ben] = await Promise.all(all.map((n) => n.join()));
    await redis.again();
    for (const n of all) await n.there();
    ann.shout(1);
    await ben.hears(1);
  },
  async 'a disconnected node detects it, serves its own clients, and reconnects'(redis) {
    const wire = await Wire.to(redis.port);
    const a = (await nodes(redis.port, 'a'))[0], b = (await nodes(wire.port, 'b'))[0];
    const ann = await a.join(), ben = await b.join(), too = await b.join();
    ann.shout(1);
    await ben.hears(1);
    wire.cut = true;
    await b.away();
    ann.shout(2);
    ben.shout(3);
    await too.hears(3);
    wire.mend();
    await b.there(2);
    ann.shout(4);
    ben.shout(5);
    for (const c of [ann, ben, too]) for (const n of [4, 5]) await c.hears(n);
    equal([ben.has(2), ann.has(3)], [false, false], 'messages sent while disconnected');
    wire.close();
  },
  async '100,000 messages of two senders on two nodes reach a third, in order, none lost'(redis) {
    const [a, b, c] = await nodes(redis.port, 'a', 'b', 'c');
    const each = 50000, ahead = 2000;
    const senders = [await a.join('load:1'), await b.join('load:1')];
    const listener = await c.join('load:1');
    const next = [0, 0];
    let disorder;
    listener.on = (text) => {
      const [, sender, n] = /"s":(\d),"n":(\d+)/.exec(text) ?? [];
      if (sender === undefined) return;
      if (Number(n) !== next[sender]++) disorder ??= `${text} where ${next[sender] - 1} was due`;
    };
    for (const s of senders) s.on = () => {};
    await Promise.all(senders.map(async (s, which) => {
      for (let n = 0; n < each; n++) {
        if (n - next[which] >= ahead) await until(`message ${next[which]} of ${which}`, () => n - next[which] < ahead / 2);
        s.ws.send(`["1",null,"load:1","shout",{"s":${which},"n":${n}}]`);
      }
    }));
    await until('all messages have arrived', () => next[0] === each && next[1] === each);
    if (disorder) throw new Error(disorder);
  },
};

let passed = 0, failed = 0;
for (const [name, test] of Object.entries(tests)) {
  const redis = await Redis.start();
  const begun = Date.now();
  try {
    await test(redis);
    for (const n of [...running]) {
      const wrong = await n.server.stop();
      running.delete(n);
      if (wrong) throw new Error(wrong);
    }
    passed++;
    console.log(`ok   ${name} (${Date.now() - begun} ms)`);
  } catch (e) {
    failed++;
    console.log(`FAIL ${name}\n  ${e.stack}`);
    for (const n of [...running]) {
      console.log(`  ${n.name}: ${n.server.output.trim().replaceAll('\n', '\n    ')}`);
      await n.kill();
    }
  }
  await redis.kill();
}
console.log(`nodes over Redis: ${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);

// Supabase's realtime-js, as npm publishes it, on the lab server's topics `realtime:*`. It speaks both versions of the protocol;
// of version 2 its own broadcasts are skipped, which use Supabase's own frame kind 3.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import WebSocket from 'ws';

const { RealtimeClient } = createRequire(import.meta.url)('@supabase/realtime-js');
const { version } = JSON.parse(fs.readFileSync(new URL('../node_modules/@supabase/realtime-js/package.json', import.meta.url)));

class Client {
  open = [];
  constructor(url, soon) {
    this.soon = soon;
    this.url = `${url.replace(/^http/, 'ws')}/socket`;
  }
  // A channel that records its events.
  channel(topic, vsn, config = {}, prepare = () => {}) {
    const socket = new RealtimeClient(this.url, { params: { apikey: 'none' }, transport: WebSocket, vsn, reconnectAfterMs: this.soon });
    this.open.push(socket);
    const channel = socket.channel(topic, { config });
    Object.assign(channel, { statuses: [], received: [], joins: [], leaves: [] });
    channel.on('broadcast', { event: '*' }, ({ event, payload }) => { channel.received.push([event, payload]); });
    prepare(channel);
    channel.subscribe((status, e) => { channel.statuses.push(e ? `${status} ${e.message}` : status); });
    return channel;
  }
  present(topic, vsn, key) {
    return this.channel(topic, vsn, key === undefined ? {} : { presence: { key } }, (channel) => {
      channel.on('presence', { event: 'join' }, ({ key }) => { channel.joins.push(key); });
      channel.on('presence', { event: 'leave' }, ({ key }) => { channel.leaves.push(key); });
    });
  }
  done() { for (const s of this.open) s.disconnect(); this.open = []; }
}
const keys = (channel) => Object.keys(channel.presenceState()).sort();
const metas = (channel, key) => (channel.presenceState()[key] ?? []).map(({ presence_ref, ...meta }) => meta);

export async function realtime(url, { check, same, until, soon }) {
  const joined = (...channels) => until('the channels are joined', () => channels.every((c) => c.statuses.at(-1) === 'SUBSCRIBED'));
  const one = (name, run) => {
    const c = new Client(url, soon);
    return check(`realtime-js ${version}: ${name}`, c, () => run(c));
  };
  await one('a broadcast reaches the others, and its sender if configured', async (c) => {
    const ann = c.channel('talk', '1.0.0', { broadcast: { ack: true } }), bob = c.channel('talk', '1.0.0');
    const eve = c.channel('talk', '2.0.0'), echo = c.channel('talk', '1.0.0', { broadcast: { self: true, ack: true } });
    await joined(ann, bob, eve, echo);
    same('acknowledged', await ann.send({ type: 'broadcast', event: 'cursor', payload: { x: 1 } }), 'ok');
    same('the sender', ann.received, []);
    await until('the others', () => [bob, eve, echo].every((o) => o.received.length === 1));
    for (const o of [bob, eve, echo]) same('received', o.received, [['cursor', { x: 1 }]]);
    same('acknowledged', await echo.send({ type: 'broadcast', event: 'cursor', payload: { x: 2 } }), 'ok');
    same('the sender', echo.received.at(-1), ['cursor', { x: 2 }]);
    await until('the others', () => [ann, bob, eve].every((o) => o.received.at(-1)?.[1].x === 2));
  });
  for (const vsn of ['1.0.0', '2.0.0']) {
    await one(`vsn ${vsn}: a private channel is refused, with the reason`, async (c) => {
      const ann = c.channel('secret', vsn, { private: true });
      await until('the refusal', () => ann.statuses.length > 0);
      if (!/^CHANNEL_ERROR .*Unauthorized/.test(ann.statuses[0])) throw new Error(ann.statuses[0]);
    });
    await one(`vsn ${vsn}: presence: joins, updates and leaves`, async (c) => {
      const topic = `presence ${vsn}`;
      const ann = c.present(topic, vsn, 'ann'), bob = c.present(topic, vsn, 'bob');
      await joined(ann, bob);
      same('no entries yet', [keys(ann), keys(bob)], [[], []]);
      same('track', await ann.track({ on: 'desk' }), 'ok');
      await until('both see her', () => metas(ann, 'ann').length === 1 && metas(bob, 'ann')[0]?.on === 'desk');
      same('join', bob.joins, ['ann']);
      same('track anew', await ann.track({ on: 'bus' }), 'ok');
      await until('he sees the change', () => metas(bob, 'ann')[0]?.on === 'bus');
      same('one meta', metas(bob, 'ann').length, 1);
      same('track', await bob.track({}), 'ok');
      await until('both are there', () => [ann, bob].every((o) => keys(o).join() === 'ann,bob'));
      const late = c.present(topic, vsn, 'late');
      await until('a later client gets the state', () => keys(late).join() === 'ann,bob');
      same('untrack', await ann.untrack(), 'ok');
      await until('all see the leave', () => [ann, bob, late].every((o) => keys(o).join() === 'bob'));
      same('leave', bob.leaves.at(-1), 'ann');
      await bob.unsubscribe();
      await until('he left', () => keys(ann).length === 0 && keys(late).length === 0);
    });
    await one(`vsn ${vsn}: a client without a key gets one`, async (c) => {
      const topic = `keys ${vsn}`;
      const both = [c.present(topic, vsn), c.present(topic, vsn, '')];
      await joined(...both);
      for (const o of both) same('track', await o.track({}), 'ok');
      await until('two keys', () => both.every((o) => keys(o).length === 2 && !keys(o).includes('')));
    });
    await one(`vsn ${vsn}: a new access token is accepted, and the channel continues`, async (c) => {
      const ann = c.present(`token ${vsn}`, vsn, 'ann');
      await joined(ann);
      await ann.socket.setAuth('another');
      same('track', await ann.track({}), 'ok');
      same('statuses', ann.statuses, ['SUBSCRIBED']);
    });
    await one(`vsn ${vsn}: after a lost connection it reconnects and rejoins`, async (c) => {
      const ann = c.present(`cut ${vsn}`, vsn, 'ann');
      await joined(ann);
      ann.socket.conn.terminate();
      await until('the rejoin', () => ann.statuses.length > 1 && ann.statuses.at(-1) === 'SUBSCRIBED');
      same('track', await ann.track({}), 'ok');
    });
  }
}

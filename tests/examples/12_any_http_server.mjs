import http from 'node:http';
import { createRequire } from 'node:module';
import { XMLHttpRequest } from '../conformance/clients/xhr.mjs';
const { LongPoll } = createRequire(new URL('../conformance/', import.meta.url))('phoenix-1.8');
globalThis.XMLHttpRequest = XMLHttpRequest;

export default async (g) => {
  const room = (options) => g.socket({}, options).channel('room:a', {});
  const ann = room({ transport: LongPoll });
  const bob = room({ longPollFallbackMs: 100 });  // its WebSocket is refused
  g.same(await g.answer(ann.join()), ['ok', {}]);
  g.same(await g.answer(bob.join()), ['ok', {}]);
  g.same(g.sockets[1].transport === LongPoll, true);
  const received = [g.event(ann, 'said'), g.event(bob, 'said')];
  g.same(await g.answer(ann.push('say', { n: 1 })), ['ok', {}]);
  g.same(await Promise.all(received), [{ n: 1 }, { n: 1 }]);

  // A client that disconnects in the middle of a poll misses nothing.
  const url = `${g.url.replace('ws', 'http')}/socket/longpoll?vsn=2.0.0`;
  const ask = (more = '', options = {}, body) => new Promise((resolve, reject) => {
    const r = http.request(url + more, options, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; }).on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
    r.end(body);
    if (options.left) options.left.then(() => r.destroy());
  });
  const { status, token } = await ask();
  g.same(status, 410);
  const post = (frame) => ask(`&token=${token}`, { method: 'POST' }, JSON.stringify(frame));
  const poll = (options) => ask(`&token=${token}`, options);
  g.same(await post(['1', '1', 'room:a', 'phx_join', {}]), { status: 200 });
  g.same((await poll()).messages.length, 1);
  const gone = poll({ left: new Promise((r) => { setTimeout(r, 100); }), agent: false });
  await gone.then(() => { throw new Error('an aborted poll was answered'); }, () => {});
  g.same(await g.answer(bob.push('say', { n: 2 })), ['ok', {}]);
  let seen = [];
  while (seen.length === 0) seen = (await poll()).messages;
  g.same(seen.map(JSON.parse), [[null, null, 'room:a', 'said', { n: 2 }]]);
};

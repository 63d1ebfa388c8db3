// A server over TLS whose certificate the client trusts: sockets, polls, a route, a new certificate, and a client without TLS.
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../conformance/', import.meta.url));
const Ws = require('ws');

const certificate = (port) => new Promise((resolve, reject) => {
  const s = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
    resolve(s.getPeerX509Certificate());
    s.destroy();
  }).on('error', reject);
});

export default async function visit(visitor) {
  const port = Number(new URL(visitor.url).port);
  const trusted = await certificate(port);
  const agent = new https.Agent({ ca: trusted.toString(), keepAlive: true });
  const ask = (path, method = 'GET', body = '') => new Promise((resolve, reject) => {
    https.request({ host: '127.0.0.1', port, path, method, agent, headers: { 'content-length': Buffer.byteLength(body) } }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d)).on('end', () => resolve([res.statusCode, Buffer.concat(parts).toString()]));
    }).on('error', reject).end(body);
  });
  class Trusting extends Ws {
    constructor(url, protocols) { super(url, protocols, { ca: trusted.toString() }); }
  }

  visitor.url = visitor.url.replace('ws:', 'wss:');
  const rooms = [];
  for (let i = 0; i < 3; i++) {
    const room = visitor.socket({}, { transport: Trusting }).channel(`room:${i}`);
    visitor.same((await visitor.answer(room.join()))[0], 'ok');
    rooms.push(room);
  }
  // many records in each direction, and more than a socket's buffer
  for (const size of [1, 20_000, 900_000]) {
    const text = 'x'.repeat(size);
    const answers = await Promise.all(rooms.map((room) => visitor.answer(room.push('echo', { text }))));
    for (const [status, { text: back }] of answers) visitor.same([status, back === text], ['ok', true]);
  }
  visitor.same(await ask('/scheme'), [200, 'https']);

  const poll = (token, method = 'GET', body = '') => ask(`/socket/longpoll?vsn=2.0.0${token ? `&token=${token}` : ''}`, method, body);
  const { token } = JSON.parse((await poll())[1]);
  const waits = poll(token);
  visitor.same(await poll(token, 'POST', '["1","1","room:p","phx_join",{}]'), [200, '{"status":200}']);
  visitor.same(JSON.parse((await waits)[1]).messages.length, 1);
  const large = 'p'.repeat(3_000_000);
  visitor.same((await poll(token, 'POST', JSON.stringify(['1', '2', 'room:p', 'echo', { large }])))[0], 200);
  visitor.same(JSON.parse(JSON.parse((await poll(token))[1]).messages[0])[4].response.large === large, true);

  const plain = net.connect(port, '127.0.0.1', () => plain.write('GET / HTTP/1.1\r\nhost: h\r\n\r\n'));
  let received = '';
  await new Promise((r) => { plain.on('data', (d) => { received += d; }).on('error', () => {}).on('close', r); });
  visitor.same(received.split('\r\n')[0], 'HTTP/1.1 400 Bad Request');

  // existing connections continue; later ones get the new certificate
  process.kill(visitor.pid, 'SIGHUP');
  while ((await certificate(port)).fingerprint256 === trusted.fingerprint256) await new Promise((r) => { setTimeout(r, 20); });
  visitor.same((await visitor.answer(rooms[0].push('echo', { still: 'here' })))[1], { still: 'here' });
  agent.destroy();
}

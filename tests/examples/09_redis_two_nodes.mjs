// Two processes and a Redis for this test: a broadcast on one reaches the other, and a lost Redis is reported.
import { Server, sleep } from '../conformance/server.mjs';
import { Redis } from '../support/redis.mjs';

export default async function visit(visitor) {
  const redis = await Redis.start();
  process.env.REDIS_PORT = String(redis.port);
  const nodes = [];
  try {
    const channels = [];
    for (const name of ['left', 'right']) {
      process.env.NODE = name;
      const server = await Server.start([visitor.program]);
      nodes.push(server);
      while (!server.output.includes('connected to Redis after')) await sleep(5);
      const channel = visitor.socket({}, {}, server.url.replace('http', 'ws')).channel('room:1');
      visitor.same((await visitor.answer(channel.join()))[0], 'ok');
      visitor.same(await visitor.answer(channel.push('node', {})), ['ok', name]);
      channels.push(channel);
    }
    const received = channels.map((c) => visitor.event(c, 'said'));
    visitor.same(await visitor.answer(channels[0].push('say', { text: 'hello' })), ['ok', { to: 'all' }]);
    for (const h of received) visitor.same(await h, { text: 'hello' });

    await redis.kill();
    while (!nodes[1].output.includes('disconnected from Redis')) await sleep(5);
    visitor.same(await visitor.answer(channels[1].push('say', { text: 'alone' })), ['ok', { to: 'this node' }]);
  } finally {
    for (const n of nodes) n.process.kill('SIGKILL');
    await redis.kill();
    delete process.env.REDIS_PORT;
    delete process.env.NODE;
  }
}

// Clients on several loops get each other's broadcasts, and those of an HTTP route.
export default async function visit(visitor) {
  const channels = [];
  for (let i = 0; i < 6; i++) {
    const channel = visitor.socket().channel('room:1');
    const [status] = await visitor.answer(channel.join());
    visitor.same(status, 'ok');
    channels.push(channel);
  }
  const received = channels.map((c) => visitor.event(c, 'said'));
  visitor.same(await visitor.answer(channels[0].push('say', { text: 'hello' })), ['ok', { said: 1 }]);
  for (const h of received) visitor.same(await h, { text: 'hello' });

  const reader = visitor.socket().channel('room:news');
  const news = visitor.event(reader, 'news');
  visitor.same((await visitor.answer(reader.join()))[0], 'ok');
  const http = visitor.url.replace('ws', 'http');
  const health = await fetch(`${http}/health`);
  visitor.same([health.status, await health.text()], [200, '7 sockets\n']);
  const announce = (body) => fetch(`${http}/announce`, { method: 'POST', body });
  visitor.same((await announce('{"headline":"rain"}')).status, 204);
  visitor.same(await news, { headline: 'rain' });
  visitor.same((await announce('no JSON')).status, 400);
  visitor.same((await fetch(`${http}/other`)).status, 404);
}

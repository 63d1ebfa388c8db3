// Clients on several loops get each other's broadcasts, and those of an HTTP route.
export default async function visit(guest) {
  const channels = [];
  for (let i = 0; i < 6; i++) {
    const channel = guest.socket().channel('room:1');
    const [status] = await guest.answer(channel.join());
    guest.same(status, 'ok');
    channels.push(channel);
  }
  const heard = channels.map((c) => guest.event(c, 'said'));
  guest.same(await guest.answer(channels[0].push('say', { text: 'hello' })), ['ok', { said: 1 }]);
  for (const h of heard) guest.same(await h, { text: 'hello' });

  const reader = guest.socket().channel('room:news');
  const news = guest.event(reader, 'news');
  guest.same((await guest.answer(reader.join()))[0], 'ok');
  const http = guest.url.replace('ws', 'http');
  const health = await fetch(`${http}/health`);
  guest.same([health.status, await health.text()], [200, '7 sockets\n']);
  const announce = (body) => fetch(`${http}/announce`, { method: 'POST', body });
  guest.same((await announce('{"headline":"rain"}')).status, 204);
  guest.same(await news, { headline: 'rain' });
  guest.same((await announce('no JSON')).status, 400);
  guest.same((await fetch(`${http}/other`)).status, 404);
}

// Clients on several loops get each other's broadcasts; a second mount has its own channels; the route counts sockets.
export default async function visit(visitor) {
  const channels = [];
  for (let i = 0; i < 6; i++) {
    const channel = visitor.socket().channel('room:1');
    visitor.same((await visitor.answer(channel.join()))[0], 'ok');
    channels.push(channel);
  }
  const received = channels.map((c) => visitor.event(c, 'said'));
  visitor.same(await visitor.answer(channels[0].push('say', { text: 'hello' })), ['ok', { text: 'hello' }]);
  for (const h of received) visitor.same(await h, { text: 'hello' });

  const http = visitor.url.replace('ws', 'http');
  const health = await fetch(`${http}/health`);
  visitor.same([health.status, await health.text()], [200, '6 sockets\n']);
  visitor.same((await fetch(`${http}/other`)).status, 404);
  const staff = visitor.socket().channel('staff:1');
  visitor.same((await visitor.answer(staff.join()))[0], 'error');
}

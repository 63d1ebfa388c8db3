import { createRequire } from 'node:module';
const { Presence } = createRequire(new URL('../conformance/', import.meta.url))('phoenix-1.8');

export default async (g) => {
  const room = (name) => {
    const channel = g.socket({ name }).channel('room:a', {});
    const presence = new Presence(channel);
    const sees = (wanted) => new Promise((r) => {
      const look = () => { if (JSON.stringify(presence.list((key, { metas }) => [key, ...metas.map((m) => m.at)]).sort()) === JSON.stringify(wanted)) r(); };
      presence.onSync(look);
      look();
    });
    return { channel, presence, sees, joined: g.answer(channel.join()) };
  };
  const ann = room('ann');
  g.same(await ann.joined, ['ok', {}]);
  await ann.sees([['ann', 'reading']]);
  const bob = room('bob');
  await ann.sees([['ann', 'reading'], ['bob', 'reading']]);
  // A lost connection that returns at once causes no leave, only an update of the meta. If a busy machine takes
  // longer than the three seconds allowed, try again.
  const leaves = [];
  ann.presence.onLeave((name, { metas }) => { leaves.push(metas.length); });
  for (let tries = 1; leaves.join() !== '1'; tries++) {
    if (tries > 3) throw new Error(`one update was expected, not a leave: ${leaves}`);
    g.same(await g.answer(bob.channel.push('now', { at: 'writing' })), ['ok', {}]);
    for (const one of [ann, bob]) await one.sees([['ann', 'reading'], ['bob', 'writing']]);
    leaves.length = 0;
    g.sockets[1].conn.terminate();
    for (const one of [bob, ann]) await one.sees([['ann', 'reading'], ['bob', 'reading']]);
  }
  bob.channel.leave();
  await ann.sees([['ann', 'reading']]);
};

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
  g.same(await g.answer(bob.channel.push('now', { at: 'writing' })), ['ok', {}]);
  await ann.sees([['ann', 'reading'], ['bob', 'writing']]);
  // Gone without a word and back at once: nobody hears of it.
  let left = 0;
  ann.presence.onLeave(() => { left++; });
  g.sockets[1].conn.terminate();
  await bob.sees([['ann', 'reading'], ['bob', 'reading']]);
  await ann.sees([['ann', 'reading'], ['bob', 'reading']]);
  if (left !== 1) throw new Error(`one update was expected, not ${left}`);  // his new meta instead of the old one
  bob.channel.leave();
  await ann.sees([['ann', 'reading']]);
};

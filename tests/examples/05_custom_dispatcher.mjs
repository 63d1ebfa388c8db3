export default async (g) => {
  const match = g.socket().channel('match:a', {});
  const snapshots = [];
  match.on('snapshot', (p) => snapshots.push(p));
  let joins = 0, again;
  const rejoined = new Promise((r) => { again = r; });
  g.same(await g.answer(match.join().receive('ok', () => { if (++joins === 2) again(); })), ['ok', {}]);
  g.same(await g.answer(match.push('move', { x: 1 })), ['ok', { x: 1 }]);
  g.same(snapshots, [{ tick: 1 }]);
  match.push('fall', {});
  await rejoined;
  const closed = new Promise((r) => { match.onClose(r); });
  match.push('quit', {});
  await closed;
  g.same(joins, 2);
};

export default async (g) => {
  const refused = g.socket();
  await new Promise((r) => { refused.onError(r); });
  g.same(refused.isConnected(), false);
  refused.disconnect();
  const ann = g.socket({ name: 'ann' }), bob = g.socket({ name: 'bob' });
  const room = ann.channel('room:a', {}), admin = bob.channel('admin:a', {});
  g.same(await g.answer(room.join()), ['ok', {}]);
  g.same(await g.answer(admin.join()), ['ok', {}]);
  g.same(await g.answer(room.push('kick', 'bob')), ['error', { reason: 'not allowed' }]);
  const kicked = new Promise((r) => { ann.onClose((e) => r(e.code)); });
  g.same(await g.answer(admin.push('kick', 'ann')), ['ok', {}]);
  g.same(await kicked, 1001);
};

export default async (g) => {
  const a = g.socket().channel('room:a', {}), b = g.socket().channel('room:a', {});
  const welcome = g.event(a, 'welcome');
  g.same(await g.answer(a.join()), ['ok', {}]);
  g.same(await welcome, { say: 'hello' });
  const came = g.event(a, 'came');
  g.same(await g.answer(b.join()), ['ok', {}]);
  g.same(await came, {});
  const said = Promise.all([g.event(a, 'said'), g.event(b, 'said')]);
  g.same(await g.answer(a.push('say', { text: 'hi' })), ['ok', {}]);
  g.same(await said, [{ text: 'hi' }, { text: 'hi' }]);
  const left = g.event(a, 'left'), closed = new Promise((r) => { b.onClose(r); });
  b.push('bye', {});
  await closed;
  g.same(await left, {});
};

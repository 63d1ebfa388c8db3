export default async (g) => {
  const a = g.socket().channel('room:a', {}), b = g.socket().channel('room:a', {});
  const welcome = g.event(a, 'welcome');
  g.same(await g.answer(a.join()), ['ok', {}]);
  g.same(await welcome, { say: 'hello' });
  const joined = g.event(a, 'joined');
  g.same(await g.answer(b.join()), ['ok', {}]);
  g.same(await joined, {});
  const messages = Promise.all([g.event(a, 'said'), g.event(b, 'said')]);
  g.same(await g.answer(a.push('say', { text: 'hi' })), ['ok', {}]);
  g.same(await messages, [{ text: 'hi' }, { text: 'hi' }]);
  const c = g.socket().channel('room:c', {});
  g.same(await g.answer(c.join()), ['ok', {}]);
  const announced = Promise.all([a, b, c].map((room) => g.event(room, 'announced')));
  g.same(await g.answer(c.push('announce', { text: 'dinner' })), ['ok', {}]);
  g.same(await announced, [{ text: 'dinner' }, { text: 'dinner' }, { text: 'dinner' }]);
  // a has sent a message, b has not
  let overheard = 0;
  b.on('whispered', () => { overheard++; });
  const whispered = g.event(a, 'whispered');
  g.same(await g.answer(b.push('whisper', { text: 'psst' })), ['ok', {}]);
  g.same(await whispered, { text: 'psst' });
  g.same(await g.answer(b.push('say', 'not an object')), ['error', { reason: 'the payload must be an object' }]);
  g.same(overheard, 0);
  const left = g.event(a, 'left'), closed = new Promise((r) => { b.onClose(r); });
  b.push('bye', {});
  await closed;
  g.same(await left, {});
};

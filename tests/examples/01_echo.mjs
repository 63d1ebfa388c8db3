export default async (g) => {
  const a = g.socket().channel('room:a', {}), b = g.socket().channel('room:a', {});
  g.same(await g.answer(a.join()), ['ok', {}]);
  g.same(await g.answer(b.join()), ['ok', {}]);
  g.same(await g.answer(a.push('echo', { n: 1 })), ['ok', { n: 1 }]);
  g.same(await g.answer(a.push('sing', {})), ['error', { reason: 'unknown event' }]);
  const received = Promise.all([g.event(a, 'shout'), g.event(b, 'shout')]);
  a.push('shout', { all: 'of you' });
  g.same(await received, [{ all: 'of you' }, { all: 'of you' }]);
};

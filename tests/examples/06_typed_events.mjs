export default async (g) => {
  const a = g.socket().channel('board:1', {}), b = g.socket().channel('board:1', {});
  g.same(await g.answer(a.join()), ['ok', {}]);
  g.same(await g.answer(b.join()), ['ok', {}]);
  const moved = g.event(b, 'moved');
  g.same(await g.answer(a.push('move', { piece: 'rook', x: 1, y: 7 })), ['ok', { moves: 1 }]);
  g.same(await moved, { piece: 'rook', x: 1, y: 7 });
  g.same(await g.answer(a.push('move', { piece: 7, x: 1, y: 7 })), ['error', { reason: 'invalid payload', field: 'piece' }]);
  g.same(await g.answer(a.push('move', { piece: 'rook', y: 7 })), ['error', { reason: 'invalid payload', field: 'x' }]);
  g.same(await g.answer(a.push('move', { piece: 'rook', x: 1, y: 6 })), ['ok', { moves: 2 }]);
  const closed = new Promise((r) => { a.onClose(r); });
  a.push('resign', {});
  await closed;
};

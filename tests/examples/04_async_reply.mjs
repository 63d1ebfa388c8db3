export default async (g) => {
  const table = g.socket().channel('table:a', {});
  const snapshot = g.event(table, 'snapshot');
  g.same(await g.answer(table.join()), ['ok', { rows: 3 }]);
  g.same(await snapshot, { row: [1, 2, 3] });
  g.same(await g.answer(table.push('query', { n: 1 })), ['ok', { n: 1 }]);
};

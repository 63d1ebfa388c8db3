// Joins, crashes and refused origins appear in /metrics, which Prometheus' own checker reads, and only for loopback addresses.
import { execFileSync, spawnSync } from 'node:child_process';

export default async function visit(visitor) {
  const http = visitor.url.replace('ws', 'http');
  const channel = visitor.socket().channel('room:1');
  visitor.same((await visitor.answer(channel.join()))[0], 'ok');
  for (let i = 0; i < 3; i++) visitor.same((await visitor.answer(channel.push('shout', { i })))[0], 'ok');
  const rejoined = new Promise((r) => { channel.joinPush.receive('ok', r); });
  channel.push('crash', {});
  await rejoined;
  const refused = await fetch(`${http}/socket/websocket?vsn=2.0.0`, { headers: { origin: 'https://example.com' } });
  visitor.same(refused.status, 403);

  const scrape = () => fetch(`${http}/metrics`);
  let text;
  for (let i = 0; i < 50; i++) {  // gauges are copied once a second
    text = await (await scrape()).text();
    if (text.includes('phx_sockets{loop="0"} 1\n')) break;
    await new Promise((r) => setTimeout(r, 100));
  }
  const value = (series) => text.split('\n').find((l) => l.startsWith(`${series} `))?.split(' ').pop();
  visitor.same(value('phx_sockets{loop="0"}'), '1');
  visitor.same(value('phx_joins_total{topic="room:*",outcome="ok"}'), '2');
  visitor.same(value('phx_handled_in_total{topic="room:*"}'), '3');
  visitor.same(value('phx_handlers_crashed_total{topic="room:*"}'), '1');
  visitor.same(value('phx_channels_ended_total{topic="room:*",reason="error"}'), '1');
  visitor.same(value('phx_connects_refused_total{reason="origin"}'), '1');
  visitor.same((await scrape()).headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  visitor.same((await fetch(`${http}/metrics`, { headers: { 'x-forwarded-for': '1.2.3.4' } })).status, 403);
  visitor.same((await fetch(`${http}/metrics`, { method: 'POST', body: '' })).status, 405);

  const promtool = process.env.PROMTOOL ?? 'promtool';
  if (spawnSync(promtool, ['--version']).error) console.log('note: skipped: promtool (package prometheus) is not installed');
  else execFileSync(promtool, ['check', 'metrics'], { input: text });
}

import { createHmac, pbkdf2Sync } from 'node:crypto';
import { createRequire } from 'node:module';
import { XMLHttpRequest } from '../conformance/clients/xhr.mjs';
const { LongPoll } = createRequire(new URL('../conformance/', import.meta.url))('phoenix-1.8');
globalThis.XMLHttpRequest = XMLHttpRequest;

// Phoenix.Token.sign, as Elixir does it: {id, milliseconds, 86400}, with atoms and integers encoded as OTP does.
const key = pbkdf2Sync('a public secret for this example only, 64 bytes in a real server', 'user socket', 1000, 32, 'sha256');
const sign = (id, at, by = key) => {
  const ms = Buffer.alloc(8);
  ms.writeBigUInt64LE(BigInt(at));
  const term = Buffer.concat([Buffer.from([131, 104, 3, 97, id, 110, 6, 0]), ms.subarray(0, 6), Buffer.from([98, 0, 1, 0x51, 0x80])]);
  const text = `SFMyNTY.${term.toString('base64url')}`;
  return `${text}.${createHmac('sha256', by).update(text).digest('base64url')}`;
};

// Over both transports: in Sec-WebSocket-Protocol, and in X-Phoenix-AuthToken.
export default async (g) => {
  for (const by of [{}, { transport: LongPoll }]) {
    const refused = async (options) => {
      const s = g.socket({}, { ...options, ...by });
      await new Promise((r) => { s.onError(r); });
      g.same(s.isConnected(), false);
      s.disconnect();
    };
    await refused({});
    await refused({ authToken: 'garbage' });
    await refused({ authToken: sign(7, Date.now() - 86_401_000) });
    await refused({ authToken: sign(7, Date.now(), Buffer.alloc(32)) });

    const room = g.socket({}, { authToken: sign(7, Date.now()), ...by }).channel('room:a', {});
    g.same(await g.answer(room.join()), ['ok', {}]);
    g.same(await g.answer(room.push('who', {})), ['ok', { user: 7 }]);
  }
};

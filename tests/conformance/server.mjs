// A server program of the project: started on 127.0.0.1, stopped by SIGTERM, after which it must exit with 0. Everything takes
// milliseconds on an idle machine; only a failure waits until the timeouts.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { parseArgs } from 'node:util';

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// A port for a server that is restarted on it. Not an ephemeral port (from 32768 on), so that no other program gets it while the
// server is down; and never the same twice.
const given = new Set();
export async function freePort() {
  for (;;) {
    const port = 20000 + Math.floor(Math.random() * 12000);
    if (given.has(port)) continue;
    given.add(port);
    const free = await new Promise((resolve) => {
      const s = net.createServer().on('error', () => resolve(false));
      s.listen(port, '127.0.0.1', () => s.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

const accepts = (port) => new Promise((resolve) => {
  const s = net.connect(port, '127.0.0.1');
  s.on('connect', () => { s.destroy(); resolve(true); }).on('error', () => resolve(false));
});

export class Server {
  // program: path and arguments; `--port P` is added, with 0 by default: the kernel chooses, and the program prints it. The server
  // is up once it has printed an address and accepts.
  static async start(program, { port = 0, patience = 60000 } = {}) {
    const s = new Server();
    s.output = '';
    s.process = spawn(program[0], [...program.slice(1), '--port', String(port)], { stdio: ['ignore', 'pipe', 'pipe'] });
    s.process.on('error', (e) => { s.output += String(e); });
    for (const stream of [s.process.stdout, s.process.stderr])
      stream.on('data', (d) => { if (s.output.length < 200000) s.output += d; });
    s.ended = new Promise((r) => s.process.on('close', (code, signal) => { s.over = true; r(signal ?? code); }));
    for (const until = Date.now() + patience; ; await sleep(20)) {
      if (s.over || Date.now() > until) {
        s.process.kill('SIGKILL');
        throw new Error(`${program.join(' ')} did not come up on port ${port}\n${s.output}`);
      }
      s.port = Number(/127\.0\.0\.1:(\d+)\D/.exec(s.output)?.[1]);
      s.url = `http://127.0.0.1:${s.port}`;
      if (s.port && (!port || s.port === port) && await accepts(s.port)) return s;
    }
  }
  // null, or the error of its end
  async stop({ patience = 60000, also } = {}) {
    if (this.over) return `the server had ended by itself: ${await this.ended}\n${this.output}`;
    this.process.kill('SIGTERM');
    const code = await Promise.race([this.ended, sleep(patience).then(() => 'no end')]);
    if (code === 0 || code === also) return null;
    this.process.kill('SIGKILL');
    return `on SIGTERM the server should exit with 0: ${code}\n${this.output}`;
  }
}

// --server PROGRAM [-- ARGUMENTS] starts a server, --url http://127.0.0.1:PORT uses a running one
export function options(extra = {}) {
  const argv = process.argv.slice(2);
  const cut = argv.indexOf('--');
  const { values } = parseArgs({
    args: cut < 0 ? argv : argv.slice(0, cut),
    options: { server: { type: 'string' }, url: { type: 'string' }, only: { type: 'string' }, ...extra },
  });
  if (!values.server === !values.url) {
    console.error('one of --server PROGRAM and --url http://127.0.0.1:PORT is needed');
    process.exit(2);
  }
  values.program = values.server && [values.server, ...(cut < 0 ? [] : argv.slice(cut + 1))];
  return values;
}

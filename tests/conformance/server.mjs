// A server program of the project's: started on a free port of 127.0.0.1, ended by SIGTERM, which it must answer with exit 0.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { parseArgs } from 'node:util';

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export const freePort = () => new Promise((resolve, reject) => {
  const s = net.createServer().on('error', reject);
  s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
});

const accepts = (port) => new Promise((resolve) => {
  const s = net.connect(port, '127.0.0.1');
  s.on('connect', () => { s.destroy(); resolve(true); }).on('error', () => resolve(false));
});

export class Server {
  // program: path and arguments; `--port P` is added. It is up once it has printed an address and accepts.
  static async start(program, { port, patience = 10000 } = {}) {
    const s = new Server();
    s.port = port ?? await freePort();
    s.url = `http://127.0.0.1:${s.port}`;
    s.output = '';
    s.process = spawn(program[0], [...program.slice(1), '--port', String(s.port)], { stdio: ['ignore', 'pipe', 'pipe'] });
    s.process.on('error', (e) => { s.output += String(e); });
    for (const stream of [s.process.stdout, s.process.stderr])
      stream.on('data', (d) => { if (s.output.length < 200000) s.output += d; });
    s.ended = new Promise((r) => s.process.on('close', (code, signal) => { s.over = true; r(signal ?? code); }));
    for (const until = Date.now() + patience; ; await sleep(20)) {
      if (s.over || Date.now() > until) {
        s.process.kill('SIGKILL');
        throw new Error(`${program.join(' ')} did not come up on port ${s.port}\n${s.output}`);
      }
      if (s.output.includes(`:${s.port}`) && await accepts(s.port)) return s;
    }
  }
  // null, or what was wrong with the way it ended
  async stop({ patience = 20000, also } = {}) {
    if (this.over) return `the server had ended by itself: ${await this.ended}\n${this.output}`;
    this.process.kill('SIGTERM');
    const how = await Promise.race([this.ended, sleep(patience).then(() => 'no end')]);
    if (how === 0 || how === also) return null;
    this.process.kill('SIGKILL');
    return `on SIGTERM the server should exit with 0: ${how}\n${this.output}`;
  }
}

// --server PROGRAM [-- ARGUMENTS] starts one, --url http://127.0.0.1:PORT takes one that is there
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

// A redis-server for tests: on a free port, in memory, never the machine's.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { freePort, sleep } from '../conformance/server.mjs';

const answers = (port) => new Promise((resolve) => {
  const s = net.connect(port, '127.0.0.1', () => s.write('PING\r\n'));
  s.on('data', () => { s.destroy(); resolve(true); }).on('error', () => resolve(false));
});

export class Redis {
  static async start() {
    const r = new Redis();
    process.on('exit', () => r.process?.kill('SIGKILL'));
    for (let tries = 1; ; tries++) {
      r.port = await freePort();
      try {
        await r.again();
        return r;
      } catch (e) {
        if (tries === 5) throw e;  // another process may have taken the port
      }
    }
  }
  // on the same port
  async again() {
    const words = ['--port', this.port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'].map(String);
    this.process = spawn('redis-server', words, { stdio: 'ignore' });
    let wrong;
    this.process.on('error', (e) => { wrong = e; });
    this.ended = new Promise((r) => this.process.on('close', r));
    for (const until = Date.now() + 60000; ; await sleep(10)) {
      if (wrong || this.process.exitCode !== null || Date.now() > until) throw wrong ?? new Error('redis-server did not come up');
      if (await answers(this.port)) return;
    }
  }
  async kill() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

// A network between a node and Redis that can be cut. Data sent meanwhile is lost without an error.
export class Wire {
  static async to(port) {
    const w = new Wire();
    w.cut = false;
    w.sockets = new Set();
    w.server = net.createServer((near) => {
      const far = net.connect(port, '127.0.0.1');
      for (const [from, into] of [[near, far], [far, near]]) {
        w.sockets.add(from);
        from.on('data', (d) => { if (!w.cut) into.write(d); });
        from.on('error', () => {}).on('close', () => { w.sockets.delete(from); if (!w.cut) into.destroy(); });
      }
    });
    await new Promise((r) => w.server.listen(0, '127.0.0.1', r));
    w.port = w.server.address().port;
    return w;
  }
  // Old connections stay silent for ever, as after a real cut; new ones work.
  mend() {
    for (const s of this.sockets) s.removeAllListeners('data').on('data', () => {});
    this.cut = false;
  }
  close() {
    this.server.close();
    for (const s of this.sockets) s.destroy();
  }
}

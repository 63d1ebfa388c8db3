// As much of a browser's XMLHttpRequest as phoenix.js asks for, on Node's http.
import http from 'node:http';

const agent = new http.Agent({ keepAlive: true });

export class XMLHttpRequest {
  constructor() { Object.assign(this, { readyState: 0, status: 0, responseText: '', timeout: 0, headers: {} }); }
  open(method, url) { this.method = method; this.url = url; }
  setRequestHeader(name, value) { this.headers[name] = value; }
  send(body) {
    const over = (then) => { if (this.over) return; this.over = true; clearTimeout(this.timer); then(); };
    this.request = http.request(this.url, { method: this.method, headers: this.headers, agent }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d)).on('end', () => over(() => {
        Object.assign(this, { readyState: 4, status: res.statusCode, responseText: Buffer.concat(parts).toString() });
        this.onreadystatechange?.();
      })).on('error', () => over(() => this.onerror?.()));
    }).on('error', () => over(() => this.onerror?.()));
    if (this.timeout) this.timer = setTimeout(() => over(() => { this.request.destroy(); this.ontimeout?.(); }), this.timeout);
    this.request.end(body ?? undefined);
  }
  abort() { this.over = true; clearTimeout(this.timer); this.request?.destroy(); }
}

// phx behind real proxies: examples/proxies/nginx.conf and haproxy.cfg, with ports of the kernel's choice, in front of a server that
// tells each client who it takes it for. phoenix.js 1.8 from npm, over the ws package and over its own long-polling.
//
//   node run.mjs --server PATH [--host beast|blocking|epoll]...
//
// The client's address is 127.0.0.9; the proxies connect from 127.0.0.1, and one in a chain from 127.0.0.3.

import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import http from "node:http"
import { createRequire } from "node:module"
import net from "node:net"
import os from "node:os"
import path from "node:path"
import readline from "node:readline"
import { fileURLToPath } from "node:url"

const modules = new URL("../conformance/node_modules/", import.meta.url)
const require = createRequire(modules)
const { Socket, LongPoll } = await import(new URL("phoenix-1.8/priv/static/phoenix.mjs", modules))
const WebSocket = require(new URL("ws", modules).pathname)

const args = process.argv.slice(2)
const values = name => args.flatMap((a, i) => a === name ? [args[i + 1]] : [])
const [program] = values("--server")
const hosts = values("--host").length ? values("--host") : ["beast", "blocking", "epoll"]
if (!program) {
  console.error("usage: node run.mjs --server PATH [--host beast|blocking|epoll]...")
  process.exit(2)
}

const client = "127.0.0.9"
let passed = 0, failed = 0
function check(name, good, seen) {
  good ? ++passed : ++failed
  console.log(`${good ? "ok  " : "FAIL"} ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen)}`}`)
}
const same = (name, got, want) => check(name, JSON.stringify(got) === JSON.stringify(want), { got, want })
const patience = 15_000  // only a failure waits so long
const pause = ms => new Promise(done => setTimeout(done, ms))
const within = (promise, what) => {
  let timer
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`nothing within ${patience} ms: ${what}`)), patience) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
const until = async (what, holds) => {
  for (const end = Date.now() + patience; !await holds(); await pause(20))
    if (Date.now() > end) throw new Error(`not within ${patience} ms: ${what}`)
}
const answer = (push, what) => within(new Promise(done => {
  for (const status of ["ok", "error", "timeout"]) push.receive(status, response => done([status, response]))
}), what)

const children = []
process.on("exit", () => children.forEach(c => c.kill("SIGKILL")))
function start(command, parameters, cwd) {
  const child = spawn(command, parameters, { cwd, stdio: ["ignore", "pipe", "pipe"] })
  child.log = ""
  child.stderr.on("data", d => { child.log += d })
  child.exited = once(child, "exit")
  children.push(child)
  return child
}
async function stop(child, signal) {
  child.kill(signal)
  const [code] = await within(child.exited, `an end of ${child.spawnfile}`)
  children.splice(children.indexOf(child), 1)
  return code
}
async function freePorts(n) {
  const all = await Promise.all(Array.from({ length: n }, async () => {
    const server = net.createServer().listen(0, "0.0.0.0")
    await once(server, "listening")
    return server
  }))
  const ports = all.map(s => s.address().port)
  await Promise.all(all.map(s => new Promise(done => s.close(done))))
  return ports
}
const accepts = port => new Promise(done => {
  const s = net.connect(port, "127.0.0.1", () => { s.destroy(); done(true) })
  s.on("error", () => done(false))
})
/// The file, each port in it replaced; each must be there.
function config(name, replaced, where) {
  let text = fs.readFileSync(new URL(`../../examples/proxies/${name}`, import.meta.url), "utf8")
  for (const [from, to] of replaced) {
    if (!text.includes(from)) throw new Error(`${name} has no ${from}`)
    text = text.replaceAll(from, to)
  }
  fs.writeFileSync(path.join(where, name), text)
}

/// A WebSocket from the client's address.
const transport = (options = {}) => class extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { localAddress: client, rejectUnauthorized: false, ...options })
  }
}
const origin = url => new URL(url.replace(/^ws/, "http")).origin
/// A socket that has joined, and what the server took its client for.
async function join(url, options = {}, more = {}) {
  const socket = new Socket(url, { transport: transport({ origin: origin(url), ...options }), rejoinAfterMs: () => 50,
                                   reconnectAfterMs: () => 50, ...more })
  socket.codes = []
  socket.onClose(e => socket.codes.push(e?.code))
  socket.connect()
  const channel = socket.channel("room:a", {})
  const [status, told] = await answer(channel.join(), `a join at ${url}`)
  if (status !== "ok") throw new Error(`join at ${url}: ${status}`)
  return { socket, channel, told, end: () => socket.disconnect() }
}
/// The status of a refused upgrade; 101 for one that is not.
const upgrade = (url, options = {}) => within(new Promise(done => {
  const ws = new (transport(options))(url)
  ws.on("open", () => { ws.close(); done(101) })
  ws.on("unexpected-response", (_, response) => { response.resume(); done(response.statusCode) })
  ws.on("error", () => done(0))
}), `an answer of ${url}`)
/// The status and body of a plain request; 0 when the connection just ends.
const request = (port, target, headers = {}, localAddress = client) => within(new Promise(done => {
  http.get({ host: "127.0.0.1", port, path: target, headers, localAddress, agent: false }, response => {
    let body = ""
    response.on("data", d => { body += d })
    response.on("end", () => done([response.statusCode, body]))
  }).on("error", () => done([0, ""]))
}), `an answer to ${target}`)
/// All that comes for some bytes, until the end.
const raw = (port, bytes, localAddress = client) => within(new Promise(done => {
  let all = ""
  const socket = net.connect({ port, host: "127.0.0.1", localAddress }, () => socket.write(bytes))
  socket.on("data", d => { all += d.toString("latin1") })
  socket.on("error", () => {})
  socket.on("close", () => done(all))
}), "an end of the raw connection")

// What of XMLHttpRequest phoenix.js asks for.
const agent = new http.Agent({ keepAlive: true, localAddress: client })
globalThis.XMLHttpRequest = class {
  readyState = 0; status = 0; responseText = ""; timeout = 0; headers = {}
  open(method, url) { this.method = method; this.url = url }
  setRequestHeader(name, value) { this.headers[name] = value }
  send(body) {
    const over = how => { if (!this.over) { this.over = true; clearTimeout(this.timer); how() } }
    this.request = http.request(this.url, { method: this.method, headers: { ...this.headers, origin: origin(this.url) }, agent }, response => {
      const parts = []
      response.on("data", d => parts.push(d)).on("end", () => over(() => {
        Object.assign(this, { readyState: 4, status: response.statusCode, responseText: Buffer.concat(parts).toString() })
        this.onreadystatechange?.()
      }))
    }).on("error", () => over(() => this.onerror?.()))
    if (this.timeout) this.timer = setTimeout(() => over(() => { this.request.destroy(); this.ontimeout?.() }), this.timeout)
    this.request.end(body ?? undefined)
  }
  abort() { this.over = true; clearTimeout(this.timer); this.request?.destroy() }
}
globalThis.window ??= globalThis

async function behindNginx(at, port) {
  const url = `ws://127.0.0.1:${at.nginx}/chat/socket`, secure = `wss://127.0.0.1:${at.nginxTls}/chat/socket`
  const plain = await join(url)
  same("nginx: prefix rewritten, the client's address, and the URI it asked for", [plain.told.peer, plain.told.uri],
       [client, `http://127.0.0.1:${at.nginx}/socket/websocket`])
  same("nginx: a large reply", (await answer(plain.channel.push("large", {}), "a large reply"))[1].fill.length, 300_000)
  plain.end()
  const spoofed = await join(url, { headers: { "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example",
                                               "X-Forwarded-Port": "1", "Forwarded": "for=6.6.6.6" } })
  same("nginx: what a client claims of itself is not believed", [spoofed.told.peer, spoofed.told.uri],
       [client, `http://127.0.0.1:${at.nginx}/socket/websocket`])
  same("nginx: x_headers show it as it came", spoofed.told.x, `6.6.6.6, ${client}`)
  spoofed.end()
  const tls = await join(secure)
  same("nginx: TLS ended there, the scheme is https", [tls.told.peer, tls.told.uri], [client, `https://127.0.0.1:${at.nginxTls}/socket/websocket`])
  tls.end()
  same("nginx: check_origin::conn refuses a page of another scheme", await upgrade(`${secure}/websocket?vsn=2.0.0`, { origin: `http://127.0.0.1:${at.nginxTls}` }), 403)
  same("nginx: and of another port", await upgrade(`${secure}/websocket?vsn=2.0.0`, { origin: `https://127.0.0.1:${at.nginx}` }), 403)

  for (const prefix of ["chat", "polls"]) {
    const polls = await join(`ws://127.0.0.1:${at.nginx}/${prefix}/socket`, {}, { transport: LongPoll })
    same(`nginx: long-polls below /${prefix}`, polls.told.peer, client)
    same(`nginx: a large reply to a poll below /${prefix}`, (await answer(polls.channel.push("large", {}), "a large reply"))[1].fill.length, 300_000)
    same(`nginx: a poll that waits is answered below /${prefix}`, await answer(polls.channel.push("echo", { n: 1 }), "an echo"), ["ok", { n: 1 }])
    polls.end()
  }
  const old = await upgrade(`ws://127.0.0.1:${at.nginx}/polls/socket/websocket?vsn=2.0.0`, { origin: origin(url) })
  check("nginx: no WebSocket over HTTP/1.0", old === 400 || old === 505, old)

  // proxy_read_timeout is 1 s here
  const beats = await join(url, {}, { heartbeatIntervalMs: 300 }), idle = await join(url)
  await until("nginx hangs up on the idle one", () => idle.socket.codes.length > 0)
  same("nginx: an idle time-out ends the connection", idle.socket.codes[0], 1006)
  await until("it comes back", () => idle.socket.isConnected() && idle.channel.state === "joined")
  same("nginx: and the client comes back", await answer(idle.channel.push("echo", { n: 2 }), "an echo"), ["ok", { n: 2 }])
  same("nginx: heartbeats keep one open", beats.socket.codes, [])
  beats.end()
  idle.end()

  const spoof = (headers, localAddress = client) => request(port, "/socket/websocket?vsn=2.0.0", headers, localAddress).then(([status]) => status)
  const stranger = await join(`ws://127.0.0.1:${port}/socket`, { headers: { "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=5.5.5.5" } })
  same("without a proxy a stranger's headers are nothing", [stranger.told.peer, stranger.told.x], [client, "6.6.6.6"])
  stranger.end()
  same("torn headers of a stranger are nothing, too", await spoof({ "X-Forwarded-For": "nobody" }), 400)  // no upgrade: the same 400
  same("torn ones of a proxy are 400", (await request(port, "/health", { "X-Forwarded-For": "nobody" }, "127.0.0.1"))[0], 400)
  same("contradictory ones are 400", (await request(port, "/health", { "X-Forwarded-For": "1.1.1.1", Forwarded: "for=2.2.2.2" }, "127.0.0.1"))[0], 400)
  same("those of a stranger are not", (await request(port, "/health", { "X-Forwarded-For": "1.1.1.1", Forwarded: "for=2.2.2.2" }))[0], at.health)
}

async function behindHaproxy(at, port, proxied, folder) {
  const url = `ws://127.0.0.1:${at.web}/chat/socket`
  const plain = await join(url)
  same("HAProxy: prefix rewritten, the client's address, and the URI it asked for", [plain.told.peer, plain.told.uri],
       [client, `http://127.0.0.1:${at.web}/socket/websocket`])
  plain.end()
  const spoofed = await join(url, { headers: { "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6" } })
  same("HAProxy: a spoofed line of X-Forwarded-For is not believed", spoofed.told.peer, client)
  spoofed.end()
  const tls = await join(`wss://127.0.0.1:${at.webTls}/chat/socket`)
  same("HAProxy: TLS ended there, the scheme is https", tls.told.uri, `https://127.0.0.1:${at.webTls}/socket/websocket`)
  tls.end()
  const polls = await join(url, {}, { transport: LongPoll })
  same("HAProxy: long-polls", polls.told.peer, client)
  polls.end()
  const chain = await join(`ws://127.0.0.1:${at.chain}/chat/socket`, { headers: { "X-Forwarded-For": "6.6.6.6, 127.0.0.1" } })
  same("HAProxy before nginx: both are trusted, the client before them is found", chain.told.peer, client)
  same("HAProxy before nginx: the chain as it came", chain.told.x, `6.6.6.6, 127.0.0.1, ${client}, 127.0.0.3`)
  chain.end()

  for (const [name, balancer] of [["send-proxy-v2", at.v2], ["send-proxy", at.v1]]) {
    const tcp = await join(`ws://127.0.0.1:${balancer}/socket`, { headers: { "X-Forwarded-For": "6.6.6.6" } })
    check(`HAProxy: ${name} names the client`, tcp.told.peer === client && tcp.told.port > 0 && tcp.told.uri.startsWith(`http://127.0.0.1:${balancer}/`), tcp.told)
    tcp.end()
    const tcpPolls = await join(`ws://127.0.0.1:${balancer}/socket`, {}, { transport: LongPoll })
    same(`HAProxy: long-polls through ${name}`, tcpPolls.told.peer, client)
    tcpPolls.end()
  }
  const header = `PROXY TCP4 6.6.6.6 127.0.0.1 4711 443\r\n`, get = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
  same("a listener that expects the PROXY protocol refuses what lacks it, without an answer", await raw(proxied, get), "")
  check("and takes what has it", (await raw(proxied, header + get)).startsWith(`HTTP/1.1 ${at.health} `))
  const unexpected = await raw(port, header + get)
  check("one that does not expect it does not believe it", /^HTTP\/1\.1 (400|505) /.test(unexpected), unexpected)
  same("half a header, and then the end", await within(new Promise(done => {
    const socket = net.connect(proxied, "127.0.0.1", () => socket.end(header.slice(0, 20)))
    socket.on("close", () => done("closed")).on("error", () => {}).resume()
  }), "an end"), "closed")

  const statistics = () => within(new Promise(done => {
    let text = ""
    const socket = net.connect(path.join(folder, "haproxy.sock"), () => socket.write("show stat\n"))
    socket.on("data", d => { text += d }).on("error", () => done([])).on("close", () => {
      const [head, ...rows] = text.replace(/^# /, "").trim().split("\n").map(line => line.split(","))
      done(rows.filter(r => r[1] === "phx1").map(r => Object.fromEntries(head.map((name, i) => [name, r[i]]))))
    })
  }), "HAProxy's statistics")
  for (const [backend, status] of [["phx", "L7OK"], ["phx_v2", "L4OK"], ["phx_v1", "L7OK"]]) {
    let row
    await until(`a health check of ${backend}`, async () => (row = (await statistics()).find(r => r.pxname === backend))?.check_status === status)
      .catch(() => {})
    same(`HAProxy: ${backend} is healthy`, [row?.status, row?.check_status, row?.chkfail], ["UP", status, "0"])
  }
}

async function run(host) {
  console.log(`--- ${host}`)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "phx-proxies-"))
  const server = start(program, ["--host", host])
  const [line] = await within(once(readline.createInterface(server.stdout), "line"), "the server's first line")
  const [port, proxied] = [.../127\.0\.0\.1:(\d+)/g[Symbol.matchAll](line)].map(m => Number(m[1]))
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"], { cwd: folder, stdio: "ignore" })
  fs.writeFileSync(path.join(folder, "both.pem"), fs.readFileSync(path.join(folder, "cert.pem")) + fs.readFileSync(path.join(folder, "key.pem")))
  const [nginx, nginxTls, web, webTls, v2, v1, chain] = await freePorts(7)
  const at = { nginx, nginxTls, web, webTls, v2, v1, chain, health: host === "blocking" ? 404 : 200 }

  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(n => `${n}_temp_path ${folder}/${n};`).join(" ")
  config("nginx.conf", [["8080", nginx], ["8443", nginxTls], ["127.0.0.1:4000", `127.0.0.1:${port}`], ["http {", `http { ${temporary}`],
    ["worker_processes auto", "worker_processes 1"], ["cert.pem", `${folder}/cert.pem`], ["key.pem", `${folder}/key.pem`],
    ["proxy_read_timeout 75s", "proxy_read_timeout 1s"]], folder)
  config("haproxy.cfg", [["bind :8081", `bind :${web}`], ["bind :8444", `bind :${webTls}`], ["both.pem", `${folder}/both.pem`], ["bind :8082", `bind :${v2}`], ["bind :8083", `bind :${v1}`],
    ["127.0.0.1:4000", `127.0.0.1:${port}`], ["127.0.0.1:4001", `127.0.0.1:${proxied}`], ["/run/haproxy/admin.sock", `${folder}/haproxy.sock`], ["inter 1s", "inter 100ms"],
    ["expect status 200", `expect status ${at.health}`]], folder)
  fs.appendFileSync(path.join(folder, "haproxy.cfg"), `
frontend chain
  mode http
  bind :${chain}
  option forwardfor
  default_backend nginx
backend nginx
  mode http
  server nginx1 127.0.0.1:${nginx} source 127.0.0.3
`)
  const proxies = [start("nginx", ["-p", folder, "-e", "stderr", "-c", "nginx.conf", "-g", `daemon off; pid ${folder}/nginx.pid;`], folder),
                   start("haproxy", ["-db", "-f", "haproxy.cfg"], folder)]
  try {
    await until("the proxies listen", async () => (await Promise.all([nginx, web, v1].map(accepts))).every(Boolean))
    await behindNginx(at, port)
    await behindHaproxy(at, port, proxied, folder)
    const last = [await join(`ws://127.0.0.1:${nginx}/chat/socket`), await join(`ws://127.0.0.1:${v2}/socket`)]
    const closed = Promise.all(last.map(l => new Promise(done => l.socket.onClose(e => { l.end(); done(e?.code) }))))
    const ended = stop(server, "SIGTERM")
    same("a restart reaches clients behind both as 1012", await within(closed, "1012"), [1012, 1012])
    same("and the server ends", await ended, 0)
  } catch (wrong) {
    check(`${host}: ${wrong.message}`, false, proxies.map(p => p.log.slice(-2000)))
  }
  await Promise.all(proxies.map(p => stop(p, p.spawnfile === "nginx" ? "SIGQUIT" : "SIGUSR1").catch(() => p.kill("SIGKILL"))))
  fs.rmSync(folder, { recursive: true, force: true })
}

for (const host of hosts) await run(host)
agent.destroy()
console.log(`behind proxies: ${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)

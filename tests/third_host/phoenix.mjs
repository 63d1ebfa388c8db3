// phoenix.js 1.8 from npm, over the ws package, against third_host.
//
//   node phoenix.mjs --server PATH

import { spawn } from "node:child_process"
import { once } from "node:events"
import { createRequire } from "node:module"
import net from "node:net"
import readline from "node:readline"

const modules = new URL("../conformance/node_modules/", import.meta.url)
const require = createRequire(modules)
const { Socket } = await import(new URL("phoenix-1.8/priv/static/phoenix.mjs", modules))
const WebSocket = require(new URL("ws", modules).pathname)

const at = process.argv.indexOf("--server")
if (at < 0 || !process.argv[at + 1]) {
  console.error("usage: node phoenix.mjs --server PATH")
  process.exit(2)
}

let passed = 0, failed = 0
function check(name, good, seen) {
  good ? ++passed : ++failed
  console.log(`${good ? "ok  " : "FAIL"} ${name}${good || seen === undefined ? "" : `: ${JSON.stringify(seen)}`}`)
}
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
const patience = 60_000  // only a failure waits this long
const within = (promise, name) => {
  let timer
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`nothing within ${patience} ms: ${name}`)), patience) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
const answer = (push, name) => within(new Promise(done => {
  for (const status of ["ok", "error", "timeout"]) push.receive(status, response => done([status, response]))
}), name)
const event = (channel, name) => within(new Promise(done => {
  const ref = channel.on(name, payload => { channel.off(name, ref); done(payload) })
}), name)
const pause = ms => new Promise(done => setTimeout(done, ms))

const server = spawn(process.argv[at + 1], ["--port", "0"], { stdio: ["ignore", "pipe", "inherit"] })
const exited = once(server, "exit")
process.on("exit", () => server.kill("SIGKILL"))
const [line] = await within(once(readline.createInterface(server.stdout), "line"), "the server's first line")
const port = Number(/^listening on 127\.0\.0\.1:(\d+)$/.exec(line)?.[1])
check("it says where it listens", port > 0, line)

const soon = { rejoinAfterMs: () => 30, reconnectAfterMs: () => 50 }
const connected = []
function connect(name, more = {}) {
  const socket = new Socket(`ws://127.0.0.1:${port}/socket`, { transport: WebSocket, params: { name }, ...soon, ...more })
  socket.connect()
  connected.push(socket)
  return socket
}
/// The raw response to `head`, until the server closes or has sent `enough`.
function raw(bytes, enough = () => false) {
  return within(new Promise((done, no) => {
    const chunks = []
    const socket = net.connect(port, "127.0.0.1", async () => {
      for (const part of [].concat(bytes)) { socket.write(part); await pause(2) }
    })
    const all = () => Buffer.concat(chunks)
    socket.on("data", d => { chunks.push(d); if (enough(all())) { socket.destroy(); done(all()) } })
    socket.on("end", () => { socket.end(); done(all()) })
    socket.on("error", no)
  }), "an end of the raw connection")
}
const upgrade = (target = "/socket/websocket?vsn=2.0.0&name=raw", more = "") =>
  `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`
const frame = (first, text, mask = 0x80) => {
  const body = Buffer.from(text), key = Buffer.from([1, 2, 3, 4])
  if (mask) for (let i = 0; i < body.length; ++i) body[i] ^= key[i % 4]
  return Buffer.concat([Buffer.from([first, mask | body.length]), mask ? key : Buffer.alloc(0), body])
}
const code = all => { const i = all.lastIndexOf(0x88); return i < 0 ? 0 : all.readUInt16BE(i + 2) }

async function conversations() {
  // ---- one client
  const one = connect("one")
  const lobby = one.channel("room:lobby", { from: "one" })
  const greeted = event(lobby, "welcome")
  check("join is answered ok", same(await answer(lobby.join(), "join"), ["ok", { tick_ms: 20 }]))
  check("a push after the join", same(await greeted, { from: "one" }))
  const sent = { n: 1, text: "żółw \u0000 \"", deep: [[{}]] }
  check("push and reply", same(await answer(lobby.push("echo", sent), "echo"), ["ok", sent]))
  const long = { text: "x".repeat(200_000) }
  check("a message longer than a read", same(await answer(lobby.push("echo", long), "echo"), ["ok", long]))
  check("an unknown event", same(await answer(lobby.push("dance", {}), "dance"), ["error", { reason: "unknown event" }]))
  check("the game's own broadcast", (await event(lobby, "tick")).tick > 0)
  const burst = await Promise.all(Array.from({ length: 500 }, (_, i) => answer(lobby.push("echo", { i }), "burst")))
  check("500 pushes at once, 500 replies", burst.every(([status, r], i) => status === "ok" && r.i === i))
  const elsewhere = await answer(one.channel("elsewhere").join(), "elsewhere")
  check("an unmatched topic", same(elsewhere, ["error", { reason: "unmatched topic" }]))

  // ---- two clients
  const two = connect("two")
  const lobby2 = two.channel("room:lobby")
  await answer(lobby2.join(), "join of the second")
  const received = [event(lobby, "shout"), event(lobby2, "shout")]
  lobby.push("shout", { hello: "both" })
  check("a broadcast reaches both sockets", same(await Promise.all(received), [{ hello: "both" }, { hello: "both" }]))
  const binary = await answer(lobby2.push("echo", new Uint8Array([0, 1, 255]).buffer), "binary")
  check("bytes come back as bytes", binary[0] === "ok" && same([...new Uint8Array(binary[1])], [0, 1, 255]))

  // ---- a crash
  let errors = 0, joins = 0, closes = 0
  lobby.onError(() => ++errors)
  lobby.joinPush.receive("ok", () => ++joins)
  joins = 0
  lobby.onClose(() => ++closes)
  const back = event(lobby, "welcome")
  lobby.push("crash", {})
  check("a crash is a phx_error, and the client rejoins", same(await back, { from: "one" }) && errors === 1, errors)
  check("the same socket still serves", one.isConnected() && lobby.state === "joined" && joins === 1, joins)
  check("after the crash it answers", same(await answer(lobby.push("echo", { again: 1 }), "echo"), ["ok", { again: 1 }]))
  check("the other client is not affected", lobby2.state === "joined")

  // ---- leaving
  check("leave is answered", (await answer(lobby.leave(), "leave"))[0] === "ok")
  await pause(100)
  check("and closes once, without a rejoin", closes === 1 && lobby.state === "closed" && joins === 1, [closes, lobby.state])
  const only2 = event(lobby2, "shout")
  lobby2.push("shout", { to: "two" })
  check("the remaining client still gets broadcasts", same(await only2, { to: "two" }))
  const again = one.channel("room:lobby", { from: "again" })
  check("a new channel on the old topic", (await answer(again.join(), "join"))[0] === "ok")

  // ---- disconnect by id
  const kicked = connect("kicked")
  const room3 = kicked.channel("room:three")
  await answer(room3.join(), "join of the third")
  const code3 = within(new Promise(done => kicked.onClose(e => done(e.code))), "a close")
  const rejoined = event(room3, "welcome")
  check("a channel disconnects another's sockets", (await answer(again.push("kick", {}), "kick"))[0] === "ok")
  check("they get 1001", await code3 === 1001)
  await rejoined
  check("and reconnect", kicked.isConnected() && room3.state === "joined")
  await new Promise(done => kicked.disconnect(done))

  // ---- refusals
  const refused = (target, more) => raw(upgrade(target, more)).then(all => all.toString().split("\r\n")[0])
  check("no name: 403", await refused("/socket/websocket?vsn=2.0.0") === "HTTP/1.1 403 Forbidden")
  check("another path: 404", await refused("/elsewhere?name=a") === "HTTP/1.1 404 Not Found")
  check("another origin: 403", await refused(undefined, "Origin: http://evil.example\r\n") === "HTTP/1.1 403 Forbidden")
  const keyless = (await raw(upgrade().replace(/Sec-WebSocket-Key.*\r\n/, ""))).toString()
  check("no upgrade: 400", /^HTTP\/1.1 400 .*websocket-key/s.test(keyless), keyless)
  check("no HTTP: 400", /^HTTP\/1.1 400 /.test((await raw("hello\r\n\r\n")).toString()))
  const endless = (await raw("GET / HTTP/1.1\r\nx: " + "y".repeat(9000))).toString()
  check("a head without end: 431", /^HTTP\/1.1 431 /.test(endless), endless)

  // ---- frames
  const yes = await raw(upgrade(), all => all.includes("\r\n\r\n"))
  check("the accept key of RFC 6455", yes.includes("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
  const beat = `[null,"1","phoenix","heartbeat",{}]`
  const reply = `[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]`
  const bytewise = [...Buffer.concat([Buffer.from(upgrade()), frame(0x81, beat)])].map(b => Buffer.from([b]))
  check("one byte at a time", (await raw(bytewise, all => all.includes(reply))).includes(reply))
  const parts = [upgrade(), frame(0x01, beat.slice(0, 5)), frame(0x89, "p"), frame(0x00, ""), frame(0x80, beat.slice(5))]
  const mixed = await raw(Buffer.concat(parts.map(p => Buffer.from(p))), all => all.includes(reply))
  check("fragments with a ping between them", mixed.includes(Buffer.from([0x8A, 1, 0x70])) && mixed.includes(reply))
  check("an unmasked frame: 1002", code(await raw([upgrade(), frame(0x81, beat, 0)])) === 1002)
  check("a continuation of nothing: 1002", code(await raw([upgrade(), frame(0x80, beat)])) === 1002)
  check("no message of the protocol: 1011", code(await raw([upgrade(), frame(0x81, "{}")])) === 1011)
  check("text that is not UTF-8: 1007", code(await raw([upgrade(), frame(0x81, Buffer.from([0x22, 0xFF, 0x22]))])) === 1007)
  const header = Buffer.from([0x81, 0xFF, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0])  // of a gigabyte
  const large = Buffer.concat([header, Buffer.alloc(1_000_001, 0x20)])
  check("a message beyond the limit: 1009", code(await raw([upgrade(), large])) === 1009)
  check("a close is answered with its code", code(await raw([upgrade(), frame(0x88, Buffer.from([0x03, 0xE8]))])) === 1000)

  // ---- the end
  const closing = s => within(new Promise(done => s.onClose(e => done(e.code))), "the last close")
  const last = Promise.all([closing(one), closing(two)])
  server.kill("SIGTERM")
  check("SIGTERM: every client gets 1012", same(await last, [1012, 1012]))
  check("and the server exits 0", same(await within(exited, "the exit"), [0, null]))
}

try {
  await conversations()
} catch (problem) {
  check(problem.message, false, problem.stack)
}
for (const socket of connected) { socket.reconnectTimer.reset(); socket.disconnect() }
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)

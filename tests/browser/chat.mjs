// The chat example in Chromium, in a desktop's and a phone's size; then two nodes of it with a Redis for this test.
//
//   node chat.mjs --server PATH_TO_CHAT [--shots DIR] [--chromium PATH] [-- more arguments for the server]
//
// The console must stay empty. One line is allowed, and only between the server's stop and both tabs' reconnects: the
// network error that Chromium itself writes for each WebSocket handshake to a closed port
//   WebSocket connection to 'ws://127.0.0.1:PORT/socket/websocket?vsn=2.0.0' failed: ...
// A page cannot catch it.

import {spawn} from "node:child_process";
import {mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync} from "node:fs";
import {tmpdir} from "node:os";
import path from "node:path";
import {chromium} from "playwright-core";
import {freePort} from "../conformance/server.mjs";
import {Redis} from "../support/redis.mjs";

const cut = process.argv.indexOf("--");
const own = cut < 0 ? process.argv : process.argv.slice(0, cut);
const forServer = cut < 0 ? [] : process.argv.slice(cut + 1);
const option = (name, otherwise) => (own.includes(name) ? own[own.indexOf(name) + 1] : otherwise);
const binary = option("--server");
const shots = option("--shots");
if (!binary) {
  console.error(
    "usage: node chat.mjs --server PATH_TO_CHAT [--shots DIR] [--chromium PATH] [-- more arguments for the server]"
  );
  process.exit(2);
}
if (shots) mkdirSync(shots, {recursive: true});

const SIZES = [
  {width: 1280, height: 800},
  {width: 390, height: 844}
];
const WITHIN = 60000; // reached by failures only: the machine may be busy
const SOON = 1000; // the time for a message on an idle machine
const SILENCE = 3000; // after which a killed node is down

// ---- counting ----------------------------------------------------------------------------------------------------------

let passed = 0,
  failed = 0;
function check(name, good, detail = "") {
  if (good) ++passed;
  else ++failed;
  console.log(`${good ? "ok  " : "FAIL"} ${name}${detail ? `  (${detail})` : ""}`);
}
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// ---- the server --------------------------------------------------------------------------------------------------------

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

function start(port, ...more) {
  return new Promise((done, fail) => {
    const child = spawn(binary, ["--port", String(port), ...more, ...forServer], {stdio: ["ignore", "pipe", "pipe"]});
    running.add(child);
    child.gone = new Promise((gone) =>
      child.on("exit", (code, signal) => {
        running.delete(child);
        gone(code ?? signal);
      })
    );
    let output = "";
    const late = setTimeout(() => fail(new Error(`no line from the server; its output: ${output}`)), WITHIN);
    const heard = (chunk) => {
      output += chunk;
      if (!output.includes(`listening on 127.0.0.1:${port}`) && !output.includes(`open http://127.0.0.1:${port}/`)) return;
      clearTimeout(late);
      done(child);
    };
    child.stdout.on("data", heard);
    child.stderr.on("data", heard);
    child.on("error", fail);
    child.gone.then((code) => {
      clearTimeout(late);
      fail(new Error(`the server ended (${code}) before it listened: ${output}`));
    });
  });
}

async function stop(child) {
  child.kill("SIGTERM");
  return Promise.race([child.gone, sleep(WITHIN).then(() => "still running")]);
}

// ---- one tab -----------------------------------------------------------------------------------------------------------

class Tab {
  constructor(page, name) {
    this.page = page;
    this.name = name;
  }
  link() {
    return this.page.evaluate(() => document.documentElement.dataset.connection);
  }
  async linked(state) {
    await this.page.waitForFunction((s) => document.documentElement.dataset.connection === s, state, {timeout: WITHIN});
  }
  async roomState(state) {
    await this.page.waitForFunction((s) => document.getElementById("room-state").dataset.state === s, state, {
      timeout: WITHIN
    });
  }
  async view(name) {
    const tab = this.page.locator(`.tabs [data-show="${name}"]`);
    if (await tab.isVisible()) await tab.click();
  }
  async say(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }
  line(text) {
    return this.page.locator(".log:not([hidden]) .said:not(.waiting):not(.failed) .text", {hasText: text});
  }
  note(text) {
    return this.page.locator(".log:not([hidden]) .note", {hasText: text});
  }
  async sees(locator, timeout = WITHIN) {
    try {
      await locator.last().waitFor({state: "visible", timeout});
      return true;
    } catch {
      return false;
    }
  }
  async enter(name) {
    await this.page.fill("#hello-name", name);
    await this.page.press("#hello-name", "Enter");
    await this.roomState("joined");
  }
  async people() {
    await this.view("rooms");
    const names = await this.page.locator("#people .who").allTextContents();
    await this.view("chat");
    return names.sort().join(", ");
  }
  peopleAre(expected) {
    return within(async () => (await this.people()) === expected);
  }
  /** What the list says beside somebody's name. */
  async beside(name) {
    const line = this.page.locator("#people li", {has: this.page.getByText(name, {exact: true})});
    return (await line.locator("small").allTextContents()).join(", ");
  }
  async fits() {
    const views = [];
    for (const name of ["rooms", "stats", "chat"]) {
      await this.view(name);
      views.push(await this.fitsNow());
    }
    return views.every(Boolean);
  }
  fitsNow() {
    // no element may be wider than the window either: a clipped one does not make the document scroll
    return this.page.evaluate(
      () =>
        document.documentElement.scrollWidth <= innerWidth &&
        document.documentElement.scrollHeight <= innerHeight &&
        [...document.querySelectorAll("body *:not(.hidden, .skip)")].every(
          (element) => element.getBoundingClientRect().right <= innerWidth + 0.5
        )
    );
  }
}

async function within(holds, ms = WITHIN) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(50)) if (await holds()) return true;
  return false;
}

/**
 * The time until `to` shows a message of `from`, in ms from the key press. If that is too slow, which a busy machine may be the
 * reason of, another message is sent, and then a third: the shortest time counts.
 */
let repeated = 0;
async function travel(from, to, text) {
  let least = Infinity;
  for (const line of [text, `One more, ${++repeated}.`, `Another one, ${repeated}.`]) {
    await from.page.fill("#text", line);
    const began = performance.now();
    const there = to.sees(to.line(line));
    await from.page.press("#text", "Enter");
    if (!(await there)) return Infinity;
    least = Math.min(least, Math.round(performance.now() - began));
    if (least < SOON) break;
  }
  return least;
}

async function both(tabs, act) {
  return Promise.all(tabs.map(act));
}

async function shoot(tab, size, scene) {
  if (!shots) return;
  for (const colorScheme of ["light", "dark"]) {
    await tab.page.emulateMedia({colorScheme});
    await sleep(300);
    await tab.page.screenshot({
      path: path.join(shots, `${size.width}x${size.height}-${scene}-${colorScheme}.png`),
      animations: "disabled"
    });
  }
  await tab.page.emulateMedia({colorScheme: null});
}

// ---- the test ----------------------------------------------------------------------------------------------------------

async function play(browser, size) {
  const at = `${size.width}x${size.height}`;
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  let server = await start(port);
  let down = false;
  const complaints = [],
    strangers = [];
  let allowed = 0;
  const refusedHandshake = `WebSocket connection to 'ws://127.0.0.1:${port}/socket/websocket?vsn=2.0.0' failed: `;

  const context = await browser.newContext({viewport: size});
  const tabs = [];
  for (const name of ["Ann", "Bo"]) {
    const page = await context.newPage();
    page.setDefaultTimeout(WITHIN);
    page.on("console", (message) => {
      if (down && message.type() === "error" && message.text().startsWith(refusedHandshake)) {
        ++allowed;
        return;
      }
      complaints.push(`${name}: ${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`${name}: ${error}`));
    page.on("request", (request) => {
      if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith("data:")) strangers.push(request.url());
    });
    page.on("response", (answer) => {
      if (answer.status() >= 400) complaints.push(`${name}: ${answer.status()} ${answer.url()}`);
    });
    await page.goto(`${origin}/`);
    await page.evaluate(() => {
      window.sameDocument = true;
    });
    tabs.push(new Tab(page, name));
  }
  const [ann, bo] = tabs;

  // names
  await shoot(ann, size, "hello");
  await ann.page.fill("#hello-name", "x".repeat(200));
  await ann.page.press("#hello-name", "Enter");
  const wrong = ann.page.locator("#hello-error", {hasText: "too long"});
  check(
    `${at}: a too long name is refused, with the server's reason`,
    await ann.sees(wrong),
    await ann.page.textContent("#hello-error")
  );
  await ann.page.fill("#hello-name", "   ");
  await ann.page.press("#hello-name", "Enter");
  check(
    `${at}: an empty name is refused, with the server's reason`,
    await ann.sees(ann.page.locator("#hello-error", {hasText: "empty"})),
    await ann.page.textContent("#hello-error")
  );
  for (const tab of tabs) await tab.enter(tab.name);
  check(
    `${at}: both tabs are open`,
    (await both(tabs, (tab) => tab.link())).every((state) => state === "open")
  );
  check(`${at}: both tabs list the people in the room`, (await both(tabs, (tab) => tab.peopleAre("Ann, Bo"))).every(Boolean));
  check(`${at}: the first tab shows that the second joined`, await ann.sees(ann.note("Bo joined")));

  // messages
  let ms = await travel(ann, bo, "Good morning. Is the kettle on?");
  check(`${at}: the other tab shows a message within a second`, ms < SOON, `${ms} ms`);
  ms = await travel(bo, ann, "It has been for an hour.");
  check(`${at}: and in the other direction`, ms < SOON, `${ms} ms`);
  const markup = "<img src=nowhere onerror=alert(1)> & <b>bold</b>";
  await bo.say(markup);
  check(
    `${at}: markup is shown as text`,
    (await ann.sees(ann.line(markup))) && (await ann.page.locator("#logs img, #logs .text b").count()) === 0
  );
  await bo.page.focus("#text");
  await bo.page.keyboard.type("two lines,");
  await bo.page.keyboard.press("Shift+Enter");
  await bo.page.keyboard.type("one message: na\u00efve caf\u00e9");
  await bo.page.keyboard.press("Enter");
  check(
    `${at}: a message of two lines arrives as one message`,
    await ann.sees(ann.page.getByText("two lines,\none message: na\u00efve caf\u00e9"))
  );
  check(
    `${at}: a name has the same colour in all tabs`,
    new Set(
      await both(tabs, (tab) =>
        tab.page
          .locator(".log:not([hidden]) .said[data-from=Bo]")
          .first()
          .evaluate((line) => line.style.getPropertyValue("--hue"))
      )
    ).size === 1
  );

  // rooms
  await ann.view("rooms");
  await ann.page.fill("#new-room-name", "Tea Room");
  await ann.page.press("#new-room-name", "Enter");
  await ann.roomState("joined");
  await bo.view("rooms");
  const teaRoom = bo.page.locator("#rooms [data-room=tea-room]");
  check(`${at}: a room created in one tab appears in the other`, await bo.sees(teaRoom));
  await teaRoom.click();
  await bo.roomState("joined");
  ms = await travel(bo, ann, "A room of our own.");
  check(`${at}: a message in the new room is shown within a second`, ms < SOON, `${ms} ms`);
  await ann.page.focus("#text");
  await ann.page.keyboard.press("Alt+ArrowDown");
  check(`${at}: the keyboard changes rooms`, await within(async () => (await ann.page.textContent("#room-title")) === "lobby"));
  check(`${at}: the message stayed in its room`, (await ann.line("A room of our own.").count()) === 0);
  await bo.say("Are you still here?");
  check(
    `${at}: messages in another room are counted as unread`,
    (await ann.page
      .waitForFunction(() => document.title.startsWith("(1) "), null, {timeout: WITHIN})
      .then(
        () => true,
        () => false
      )) &&
      (await within(async () => (await ann.page.locator("#rooms [data-room=tea-room] .badge").allTextContents()).join() === "1"))
  );
  await bo.page.keyboard.press("Alt+ArrowDown");
  await both(tabs, (tab) => tab.roomState("joined"));

  // statistics
  await ann.view("stats");
  let counted = [];
  await within(async () => {
    counted = await ann.page.evaluate(() =>
      ["clients", "channels", "rate-out"].map((id) => Number(document.getElementById(id).textContent))
    );
    return counted[1] === 6 && counted[2] > 0;
  });
  check(
    `${at}: two clients, their six channels and their frames are counted`,
    counted[0] === 2 && counted[1] === 6 && counted[2] > 0,
    counted.join(" ")
  );
  const drawing = () =>
    ann.page.evaluate(() => {
      const canvas = document.getElementById("frames-chart");
      // read from a copy: reading the page's canvas twice makes the browser write a warning to the console
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
      copy.drawImage(canvas, 0, 0);
      return [...copy.getImageData(0, 0, canvas.width, canvas.height).data].filter((_, index) => index % 4 === 3);
    });
  let first;
  check(
    `${at}: the chart is drawn, and moves`,
    (await within(async () => (first = await drawing()).some(Boolean))) &&
      (await within(async () => (await drawing()).some((alpha, index) => alpha !== first[index])))
  );
  check(`${at}: this tab's frames are listed`, await within(async () => (await ann.page.locator("#wire li").count()) > 5));
  for (const line of ["Anyway.", "Earl Grey, or the green one?", "The green one is new.", "It came in the blue tin."]) {
    await bo.say(line);
    await sleep(300);
  }
  await shoot(ann, size, "stats");

  // A channel crashes. Its entry lingers for 3 s; a busy machine may rejoin later: then try again.
  let crashes = 0,
    left = 0;
  for (let missed = true; missed && crashes < 3; ) {
    await ann.view("stats");
    await ann.page.click("#crash");
    ++crashes;
    await ann.view("chat");
    const noted = (text) => within(async () => (await ann.note(text).count()) === crashes);
    check(`${at}: a crash of the channel is shown`, await noted("Your channel crashed"));
    check(`${at}: the tab rejoins by itself`, (await noted("Back in the room")) && (await ann.roomState("joined"), true));
    ms = await travel(ann, bo, crashes === 1 ? "That was refreshing." : `That was refreshing again, ${crashes}.`);
    check(`${at}: messages arrive after the crash`, ms < SOON, `${ms} ms`);
    missed = await within(async () => (await bo.note("Ann left").count()) > left, SOON);
    if (missed) ++left;
  }
  check(
    `${at}: and nothing is shown twice`,
    (await bo.line("That was refreshing.").count()) === 1 && (await ann.line("It has been for an hour.").count()) === 1
  );
  check(`${at}: nothing exceeds the window`, (await both(tabs, (tab) => tab.fits())).every(Boolean));
  await shoot(ann, size, "chat");
  await ann.view("rooms");
  await shoot(ann, size, "rooms");
  await ann.view("chat");

  // the user disconnects and reconnects
  await bo.view("rooms");
  await bo.page.click("#link-switch");
  await bo.linked("closed");
  check(
    `${at}: a disconnected tab shows closed`,
    (await within(async () => (await bo.page.textContent("#link-state")) === "closed")) && (await ann.peopleAre("Ann"))
  );
  await bo.page.click("#link-switch");
  await bo.linked("open");
  await bo.view("chat");
  await bo.roomState("joined");
  check(`${at}: after reconnecting it is in the room again`, await ann.peopleAre("Ann, Bo"));
  // counted again: it may have come too late for the check above
  left = await bo.note("Ann left").count();
  check(`${at}: no other tab shows the crash`, left < crashes, left ? `too late ${left} times` : "");

  // the server stops and restarts
  down = true;
  const code = await stop(server);
  check(`${at}: the server ends with 0 on SIGTERM`, code === 0, String(code));
  await both(tabs, (tab) => tab.linked("reconnecting"));
  check(
    `${at}: both tabs show that the server is not answering`,
    (await both(tabs, (tab) => tab.sees(tab.page.locator("#notice-title", {hasText: "not answering"})))).every(Boolean)
  );
  check(
    `${at}: and the time of the next attempt`,
    await ann.sees(ann.page.locator("#notice-text", {hasText: /Trying again in \d+ s/})),
    await ann.page.textContent("#notice-text")
  );
  await ann.say("Written while nobody listened.");
  check(
    `${at}: messages written meanwhile wait`,
    await ann.sees(ann.page.locator(".said.waiting", {hasText: "nobody listened"}))
  );
  await sleep(2500);
  await shoot(ann, size, "down");
  server = await start(port);
  const back = performance.now();
  await both(tabs, async (tab) => {
    await tab.linked("open");
    await tab.roomState("joined");
  });
  down = false;
  const took = Math.round(performance.now() - back);
  check(`${at}: both tabs reconnect and rejoin by themselves`, took < 20000, `${took} ms after the server`);
  check(
    `${at}: without a reload`,
    (await both(tabs, (tab) => tab.page.evaluate(() => window.sameDocument === true))).every(Boolean)
  );
  check(
    `${at}: the notice disappears`,
    (await both(tabs, (tab) => within(() => tab.page.isHidden("#notice")))).every(Boolean)
  );
  check(
    `${at}: the waiting message has arrived, once`,
    (await bo.sees(bo.line("nobody listened"))) && (await bo.line("nobody listened").count()) === 1
  );
  check(`${at}: both tabs list each other again`, (await both(tabs, (tab) => tab.peopleAre("Ann, Bo"))).every(Boolean));
  ms = await travel(bo, ann, "There you are.");
  check(`${at}: messages arrive again`, ms < SOON, `${ms} ms`);
  await ann.page.keyboard.press("Alt+ArrowUp");
  await ann.roomState("joined");
  check(`${at}: the other room is joined again as well`, await ann.peopleAre("Ann, Bo"));
  await ann.page.keyboard.press("Alt+ArrowDown");
  await shoot(ann, size, "back");

  await bo.view("rooms");
  await bo.page.fill("#new-room-name", "r".repeat(200));
  await bo.page.press("#new-room-name", "Enter");
  check(
    `${at}: a room with a too long name is refused, and the tab keeps its name`,
    (await bo.sees(bo.note("The join was refused"))) && !(await bo.page.isVisible("#hello"))
  );
  await bo.page.keyboard.press("Alt+ArrowDown");
  await bo.roomState("joined");
  ms = await travel(bo, ann, "Back where it is cosy.");
  check(`${at}: and continues in the other rooms`, ms < SOON, `${ms} ms`);

  // with blocked WebSockets
  const barred = await context.newPage();
  barred.setDefaultTimeout(WITHIN);
  barred.on("console", (message) => complaints.push(`Cy: ${message.type()}: ${message.text()}`));
  barred.on("pageerror", (error) => complaints.push(`Cy: ${error}`));
  let refused = 0;
  await barred.routeWebSocket(/./, (socket) => {
    ++refused;
    void socket.close({code: 1011});
  });
  await barred.goto(`${origin}/`);
  const cy = new Tab(barred, "Cy");
  await cy.page.fill("#hello-name", "Cy");
  await cy.page.press("#hello-name", "Enter");
  await cy.linked("reconnecting");
  await cy.view("stats");
  await cy.page.click("#transport");
  await cy.view("chat");
  await cy.linked("open");
  await cy.roomState("joined");
  await shoot(cy, size, "polling");
  check(`${at}: a tab without WebSockets joins by long-polling`, refused > 0, `${refused} WebSockets refused`);
  for (const tab of [bo, cy]) {
    await tab.view("rooms");
    await tab.page.locator("#rooms [data-room=lobby]").click();
    await tab.view("chat");
    await tab.roomState("joined");
  }
  ms = await travel(cy, bo, "Through the letter box.");
  const answered = await travel(bo, cy, "And out of the window.");
  check(`${at}: and chats in both directions`, ms < SOON && answered < SOON, `${ms} ms, ${answered} ms back`);
  check(`${at}: the page fits while polling, too`, await cy.fits());

  check(`${at}: no request goes to another host`, strangers.length === 0, strangers.join(" "));
  check(
    `${at}: the console is empty`,
    complaints.length === 0,
    complaints.length ? complaints.join(" | ") : `${allowed} failed handshakes`
  );
  await context.close();
  await stop(server);
}

// ---- presence, on two nodes --------------------------------------------------------------------------------------------

async function meet(browser) {
  const redis = await Redis.start();
  const names = ["one", "two"];
  const ports = [await freePort(), await freePort()];
  const nodeAt = (n) =>
    start(ports[n], "--redis", `127.0.0.1:${redis.port}`, "--node", names[n], "--silence", String(SILENCE));
  const nodes = await Promise.all([nodeAt(0), nodeAt(1)]);
  const errors = [];
  const context = await browser.newContext({viewport: SIZES[0]});
  const come = async (name, n) => {
    const page = await context.newPage();
    page.setDefaultTimeout(WITHIN);
    page.on("pageerror", (error) => errors.push(`${name}: ${error}`));
    await page.goto(`http://127.0.0.1:${ports[n]}/`);
    const tab = new Tab(page, name);
    await tab.enter(name);
    return tab;
  };
  const count = (tab, room) => tab.page.locator(`#rooms [data-room=${room}] .count`).allTextContents();

  // of one node
  const ann = await come("Ann", 0);
  const [bo, second, cy, proto] = await Promise.all([
    come("Bo", 0),
    come("Ann", 0),
    come("Cy", 1),
    refused(await context.newPage(), ports[0], "__proto__")
  ]);
  check("people: a name that breaks objects is refused, with the server's reason", proto);
  check(
    "people: a user with two tabs is one person with two tabs",
    (await within(async () => (await bo.beside("Ann")) === "2 tabs")) && (await bo.peopleAre("Ann, Bo, Cy"))
  );
  const leaves = () => ann.note("Bo left").count();
  // wait for the note of his join, so that it is not taken for one of a rejoin
  const came = await ann.sees(ann.note("Bo joined"));
  let left,
    reloads = 0;
  do {
    left = await leaves();
    await bo.page.reload();
    await bo.roomState("joined");
    await travel(bo, ann, `Back after ${++reloads}.`);
    // his entry lingers for 3 s: if a busy machine needs longer, try again
  } while (reloads < 3 && (await within(async () => (await leaves()) > left, SOON)));
  await second.page.close();
  // a leave would have been shown by now
  check(
    "people: a closed tab leaves, its person stays",
    (await within(async () => (await ann.beside("Ann")) === "you")) && (await bo.peopleAre("Ann, Bo, Cy"))
  );
  let notes = "";
  const noted = await within(async () => {
    notes = (await ann.note("Bo").allTextContents()).join();
    return notes === ["Bo joined", ...Array(await leaves()).fill("Bo left,Bo joined")].join();
  });
  check("people: a reload causes no leave and join", came && noted && (await leaves()) < reloads, `${reloads} reloads: ${notes}`);

  // of both
  check(
    "nodes: people on both nodes see each other",
    (await both([ann, bo, cy], (tab) => tab.peopleAre("Ann, Bo, Cy"))).every(Boolean)
  );
  check(
    "nodes: and the nodes of the others",
    await within(
      async () =>
        (await ann.beside("Cy")) === "on two" && (await ann.beside("Bo")) === "" && (await cy.beside("Ann")) === "on one"
    )
  );
  const there = await travel(ann, cy, "Can you hear me over there?"),
    back = await travel(cy, ann, "Loud and clear.");
  check("nodes: messages arrive in both directions", there < Infinity && back < Infinity, `${there} ms, ${back} ms back`);
  await cy.page.fill("#new-room-name", "attic");
  await cy.page.press("#new-room-name", "Enter");
  check(
    "nodes: rooms and their people are counted over both",
    await within(async () =>
      (await both([ann, cy], (tab) => both(["lobby", "attic"], (room) => count(tab, room)))).every(
        (counted) => counted.join() === "3,1"
      )
    )
  );
  const dee = await come("Dee", 1);
  check("nodes: the history of a node has the messages of the other", await dee.sees(dee.line("Can you hear me over there?")));
  await dee.page.close();

  nodes[1].kill("SIGKILL");
  await nodes[1].gone;
  check("nodes: the people of a killed node leave", await ann.peopleAre("Ann, Bo"));
  await ann.say("Said while it was away.");
  nodes[1] = await nodeAt(1);
  await cy.roomState("joined");
  check("nodes: they return when it restarts", await ann.peopleAre("Ann, Bo, Cy"));
  await cy.page.keyboard.press("Alt+ArrowDown");
  await cy.roomState("joined");
  const again = await travel(ann, cy, "There you are again.");
  check("nodes: and get messages", again < Infinity, `${again} ms`);
  check("nodes: its history lacks messages from before its start", (await cy.line("while it was away").count()) === 0);

  check("nodes: no page reports an error", errors.length === 0, errors.join(" | "));
  await context.close();
  const codes = await Promise.all(nodes.map(stop));
  check("nodes: both end with 0 on SIGTERM", codes.join() === "0,0", codes.join());
  await redis.kill();
}

async function refused(page, port, name) {
  await page.goto(`http://127.0.0.1:${port}/`);
  const tab = new Tab(page, name);
  await page.fill("#hello-name", name);
  await page.press("#hello-name", "Enter");
  const refused = await tab.sees(page.locator("#hello-error", {hasText: "The server says"}));
  await page.close();
  return refused;
}

/** What `./examples/run chat --nodes 2` starts, until `end` does something to its children; all of them are gone after it. */
async function together(name, end) {
  const folder = mkdtempSync(path.join(tmpdir(), "chat-"));
  const script = spawn(new URL("../../examples/chat/nodes", import.meta.url).pathname, [binary, "2", "--port", "0"], {
    env: {...process.env, TMPDIR: folder},
    stdio: ["ignore", "pipe", "pipe"]
  });
  running.add(script);
  const over = new Promise((r) => script.on("close", (code) => r(code)));
  let output = "";
  for (const stream of [script.stdout, script.stderr]) stream.on("data", (chunk) => (output += chunk));
  const up = await within(() => output.split("open http").length === 3 && output.split("Redis connected").length === 3);
  const addresses = [...output.matchAll(/open (http:\S+)/g)].map(([, address]) => address);
  const served = up && (await Promise.all(addresses.map(async (address) => (await fetch(address)).status)));
  const children = readFileSync(`/proc/${script.pid}/task/${script.pid}/children`, "utf8").trim().split(" ").map(Number);
  end(script, children);
  const ended = await Promise.race([over, sleep(WITHIN).then(() => "still running")]);
  running.delete(script);
  const left = children.filter((pid) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  });
  check(
    `together: ${name}`,
    String(served) === "200,200" && children.length === 3 && ended > 0 && !left.length && !readdirSync(folder).length,
    `served ${served}, ended with ${ended}, left ${left}: ${output.replaceAll("\n", "; ")}`
  );
  for (const pid of left) process.kill(pid, "SIGKILL");
  rmSync(folder, {recursive: true, force: true});
}

const began = performance.now();
const browser = await chromium.launch({
  timeout: 120000,
  executablePath: option("--chromium", "/usr/bin/chromium"),
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync"
  ]
});
for (const size of SIZES) {
  try {
    await play(browser, size);
  } catch (error) {
    check(`${size.width}x${size.height}: the test ran to its end`, false, error.message);
  }
}
for (const story of [
  () => meet(browser),
  () => together("two nodes and a Redis, interrupted, all end", (script) => script.kill("SIGTERM")),
  () => together("if one is killed, all end", (_, children) => process.kill(children.at(-1), "SIGKILL"))
]) {
  try {
    await story();
  } catch (error) {
    check("the test ran to its end", false, error.stack);
  }
  console.log(`${((performance.now() - began) / 1000).toFixed(1)} s`);
}
await browser.close();
console.log(`${((performance.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);

// A chat over Phoenix Channels. Text of users only enters the page as textContent.

import {LongPoll, Presence, Serializer, Socket} from "/phoenix.mjs";
import {Meter, frames, ruled, steps} from "/meter.js";

const at = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

const STANDING_ROOMS = ["lobby", "workshop", "kitchen"];
const KEPT_LINES = 300;
const SHOWN_FRAMES = 40;
const NOT_YET_MS = 250;

// ---- names -------------------------------------------------------------------------------------------------------------

const FIRST = [
  "Quiet",
  "Amber",
  "Brisk",
  "Clever",
  "Gentle",
  "Merry",
  "Noble",
  "Patient",
  "Rapid",
  "Silver",
  "Sunny",
  "Tidy"
];
const SECOND = ["Heron", "Otter", "Maple", "Comet", "Finch", "Badger", "Willow", "Lynx", "Puffin", "Cedar", "Hare", "Wren"];
const one = (list) => list[Math.floor(Math.random() * list.length)];
const suggestion = () => `${one(FIRST)} ${one(SECOND)}`;

/** The same name has the same colour in every tab, on every machine. */
function hue(name) {
  let hash = 2166136261;
  for (const unit of new TextEncoder().encode(name)) hash = Math.imul(hash ^ unit, 16777619) >>> 0;
  return (hash % 24) * 15;
}

function face(element, name) {
  element.style.setProperty("--hue", hue(name));
  element.textContent = [...name.trim()][0]?.toLocaleUpperCase() ?? "?";
  return element;
}

// per tab, so that two tabs may be two people, and a reload keeps the name
let me = sessionStorage.getItem("name") ?? "";

// ---- the wire ----------------------------------------------------------------------------------------------------------

const bytes = (raw) => (typeof raw === "string" ? new TextEncoder().encode(raw).length : raw.byteLength);
const readable = (raw) => (typeof raw === "string" ? raw : `binary, ${raw.byteLength} bytes`);

/** Shows one frame: event, topic and payload in a line, the whole frame in the title. */
function showFrame(direction, {event, topic, payload}, raw) {
  // the meter's own frames would hide all others
  if (topic === "stats") return;
  const arrow = make("i", "", direction === "up" ? "↑" : "↓");
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", direction === "up" ? "sent" : "received");
  const content = typeof raw === "string" ? JSON.stringify(payload) : readable(raw);
  const line = make("li", direction);
  line.append(
    arrow,
    make("b", "", event),
    make("span", "", topic),
    make("code", "", content),
    make("small", "", String(bytes(raw)))
  );
  line.title = readable(raw);
  at("wire").prepend(line);
  while (at("wire").childElementCount > SHOWN_FRAMES) at("wire").lastChild.remove();
}

let retryAt = 0;
let polls = sessionStorage.getItem("polls") === "yes"; // where WebSockets are blocked; per tab, like the name
const socket = new Socket("/socket", {
  ...(polls ? {transport: LongPoll} : {}),
  reconnectAfterMs: (tries) => {
    const wait = [250, 500, 1000, 1000, 2000, 3000][tries - 1] ?? 5000;
    retryAt = performance.now() + wait;
    setTimeout(showLink);
    return wait;
  },
  encode: (message, done) =>
    Serializer.encode(message, (raw) => {
      showFrame("up", message, raw);
      done(raw);
    }),
  decode: (raw, done) =>
    Serializer.decode(raw, (message) => {
      showFrame("down", message, raw);
      done(message);
    })
});

// ---- the state of the connection ---------------------------------------------------------------------------------------

let wanted = true; // false once the user disconnects
let everOpen = false;
let roundTrip = "";

function linkState() {
  if (socket.isConnected()) return "open";
  if (!wanted) return "closed";
  return everOpen || retryAt ? "reconnecting" : "connecting";
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showLink() {
  const state = linkState();
  const seconds = Math.ceil((retryAt - performance.now()) / 1000);
  document.documentElement.dataset.connection = state;
  setText(at("link-state"), state);
  setText(
    at("link-wait"),
    state === "reconnecting" ? (seconds > 0 ? `in ${seconds} s` : "now") : state === "open" ? roundTrip : ""
  );
  setText(at("link-switch"), wanted ? "Disconnect" : "Connect");
  const room = rooms.get(current);
  const closed = room?.state === "ended";
  at("notice").hidden = state === "open" ? !closed : !(state === "closed" || state === "reconnecting");
  if (state === "reconnecting") {
    setText(at("notice-title"), "The server is not answering");
    const when = seconds > 0 ? `in ${seconds} s` : "now";
    setText(at("notice-text"), `Trying again ${when}. Messages you write meanwhile are sent after the reconnect.`);
    setText(at("notice-action"), "Try now");
  } else if (state === "closed") {
    setText(at("notice-title"), "You disconnected");
    setText(at("notice-text"), "Nothing is sent or received until you connect again.");
    setText(at("notice-action"), "Connect");
  } else if (closed) {
    setText(at("notice-title"), "The server closed this room");
    setText(at("notice-text"), "The channel ended normally, so the page does not rejoin by itself.");
    setText(at("notice-action"), "Join again");
  }
}

function connectNow() {
  wanted = true;
  // also ends the wait between two attempts
  socket.disconnect(() => {
    socket.connect();
    showLink();
  });
}

function ping() {
  if (socket.isConnected())
    socket.ping((ms) => {
      roundTrip = ms < 1 ? "under 1 ms" : `${ms} ms`;
      showLink();
    });
}
setInterval(ping, 10000);

function showTransport() {
  setText(at("transport"), polls ? "Long-polling" : "WebSocket");
  at("transport").setAttribute("aria-label", polls ? "Long-polling: change to WebSocket" : "WebSocket: change to long-polling");
}
at("transport").addEventListener("click", () => {
  polls = !polls;
  sessionStorage.setItem("polls", polls ? "yes" : "no");
  socket.disconnect(() => {
    socket.transport = polls ? LongPoll : WebSocket;
    if (wanted) connectNow();
  });
  showTransport();
});
showTransport();

socket.onOpen(() => {
  if (everOpen) for (const room of rooms.values()) if (room.channel) note(room, "Connected again");
  everOpen = true;
  retryAt = 0;
  roundTrip = "";
  ping();
  showLink();
});
socket.onClose(() => showLink());
setInterval(showLink, 250);

at("link-switch").addEventListener("click", () => {
  if (!wanted) {
    connectNow();
    return;
  }
  wanted = false;
  for (const room of rooms.values())
    if (room.channel) {
      // after a lost connection the entry lingers, in case of a reload
      if (room.state === "joined") room.channel.push("going", {});
      note(room, "You disconnected");
    }
  socket.disconnect(showLink);
  showLink();
});
at("notice-action").addEventListener("click", () => {
  const room = rooms.get(current);
  if (linkState() === "open" && room?.state === "ended") {
    enter(room);
    showLink();
  } else connectNow();
});

// ---- rooms -------------------------------------------------------------------------------------------------------------

/**
 * name -> {name, state, channel, log, presence, unread, people};
 * state is one of idle, joining, joined, crashed, away, ended, refused
 */
const rooms = new Map();
let current = "";

function roomOf(name) {
  let room = rooms.get(name);
  if (!room) {
    const log = make("ol", "log");
    log.hidden = true;
    log.tabIndex = 0;
    log.setAttribute("role", "log");
    log.setAttribute("aria-label", `Messages in ${name}`);
    log.append(make("li", "empty", "No messages yet. Write one, or open this page in a second tab."));
    at("logs").append(log);
    room = {name, state: "idle", channel: null, log, presence: null, unread: 0, people: 0};
    rooms.set(name, room);
  }
  return room;
}

function setState(room, state) {
  room.state = state;
  if (room.name === current) showRoomState();
  showRooms();
}

function enter(room) {
  const channel = socket.channel(`room:${room.name}`, () => ({name: me}));
  room.channel = channel;
  const mine = () => room.channel === channel;

  const presence = new Presence(channel);
  room.presence = presence;
  // No notes for people who were there before, or who joined and left while this tab was disconnected.
  let synced = false;
  presence.onJoin((name, before) => {
    if (synced && !before) moved(room, name, true);
  });
  presence.onLeave((name, {metas}) => {
    if (synced && !metas.length) moved(room, name, false);
  });
  presence.onSync(() => {
    synced = true;
    showPeople(room);
  });
  channel.on("said", (message) => showMessage(room, message));

  channel.onError((reason) => {
    synced = false;
    if (!mine()) return;
    const lost = reason?.source === "transport" || !socket.isConnected();
    if (lost && room.state !== "away" && wanted) note(room, "Connection lost");
    if (!lost)
      note(room, `Your channel crashed on the server${reason?.reason ? ` (${reason.reason})` : ""}; rejoining`, "bad");
    setState(room, lost ? "away" : "crashed");
  });
  channel.onClose(() => {
    if (!mine()) return;
    room.channel = null;
    room.presence = null;
    setState(room, "ended");
    showPeople(room);
  });

  setState(room, "joining");
  channel
    .join()
    .receive("ok", (answer) => {
      if (!mine()) return;
      if (room.state === "crashed") note(room, "Back in the room");
      for (const message of answer.recent ?? []) showMessage(room, message, true);
      setState(room, "joined");
      if (at("hello").open) at("hello").close();
    })
    .receive("error", ({reason}) => {
      if (!mine()) return;
      // phoenix.js would retry with the same name; the user must choose another one
      abandon(room, "refused");
      // another room has accepted the name, so the name is not the problem
      if ([...rooms.values()].some((other) => other.state === "joined")) note(room, `The join was refused: ${reason}`, "bad");
      else if (room.name === current) askName(`The server says: ${reason}.`);
    })
    .receive("timeout", () => {
      if (mine()) note(room, "The join timed out; trying again", "bad");
    });
}

function abandon(room, state) {
  const channel = room.channel;
  room.channel = null;
  room.presence = null;
  if (channel) channel.leave();
  room.unread = 0;
  setState(room, state);
  showPeople(room);
}

function show(name) {
  const before = rooms.get(current);
  if (before) before.log.hidden = true;
  current = name;
  const room = roomOf(name);
  room.log.hidden = false;
  room.unread = 0;
  room.log.scrollTop = room.log.scrollHeight;
  at("room-title").textContent = name;
  at("text").placeholder = `Message #${name}`;
  // survives a reload, and makes a link to the room
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  if (me && !room.channel && room.state !== "ended") enter(room);
  showRoomState();
  showRooms();
  showPeople(room);
  showLink();
  showTitle();
}

function showRoomState() {
  const room = rooms.get(current);
  const words = {
    idle: "not joined",
    joining: "joining",
    joined: me ? `joined as ${me}` : "joined",
    crashed: "crashed, rejoining",
    away: "waiting for the server",
    ended: "closed by the server",
    refused: "not joined"
  };
  setText(at("room-state"), words[room.state]);
  at("room-state").dataset.state = room.state;
  at("crash").disabled = room.state !== "joined";
  at("leave").disabled = !room.channel || [...rooms.values()].filter((r) => r.channel).length < 2;
}

function showRooms() {
  const list = at("rooms");
  const focused = document.activeElement?.dataset?.room;
  list.replaceChildren(
    ...[...rooms.values()].map((room) => {
      const item = make("li");
      const button = make("button");
      button.type = "button";
      button.dataset.room = room.name;
      button.dataset.in = String(room.channel !== null);
      if (room.name === current) button.setAttribute("aria-current", "page");
      button.append(make("span", "room-name", room.name));
      if (room.unread) {
        const badge = make("b", "badge", String(room.unread));
        badge.setAttribute("aria-label", `${room.unread} unread`);
        button.append(badge);
      } else if (room.people) {
        const count = make("span", "count", String(room.people));
        count.setAttribute("aria-label", `${room.people} here`);
        button.append(count);
      }
      item.append(button);
      return item;
    })
  );
  if (focused !== undefined) list.querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus();
}

function showPeople(room) {
  if (room.name !== current) return;
  const people = room.presence?.list((name, {metas}) => ({name, metas})) ?? [];
  people.sort((a, b) => (b.name === me) - (a.name === me) || a.name.localeCompare(b.name));
  at("people").replaceChildren(
    ...people.map(({name, metas}) => {
      const item = make("li");
      const dot = face(make("i", "face"), name);
      dot.setAttribute("aria-hidden", "true");
      item.append(dot, make("span", "who", name));
      if (name === me) item.append(make("small", "", "you"));
      if (metas.length > 1) item.append(make("small", "", `${metas.length} tabs`));
      const elsewhere = [...new Set(metas.map(({node}) => node))].filter((other) => other !== node);
      if (elsewhere.length) item.append(make("small", "", `on ${elsewhere.join(", ")}`));
      return item;
    })
  );
}

function showTitle() {
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}#${current} · phx chat`;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  rooms.get(current).unread = 0;
  showRooms();
  showTitle();
});
at("rooms").addEventListener("click", (event) => {
  const name = event.target.closest("button")?.dataset.room;
  if (name === undefined) return;
  show(name);
  view("chat");
});
at("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("new-room-name").value.trim().replace(/^#/, "").replace(/\s+/g, "-").toLowerCase();
  at("new-room-name").value = "";
  if (!name) return;
  show(name);
  view("chat");
  at("text").focus();
});
at("leave").addEventListener("click", () => {
  const leaving = rooms.get(current);
  const next = [...rooms.values()].find((room) => room.channel && room !== leaving);
  note(leaving, "You left");
  abandon(leaving, "idle");
  if (next) show(next.name);
});
at("crash").addEventListener("click", () => {
  const room = rooms.get(current);
  if (room.state === "joined") room.channel.push("crash", {});
});

// ---- messages ----------------------------------------------------------------------------------------------------------

const clock = new Intl.DateTimeFormat(undefined, {hour: "numeric", minute: "2-digit"});

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Adds a line and keeps the reader where they are: at the end, or wherever they scrolled to. */
function append(room, line) {
  const log = room.log;
  const atEnd = log.hidden || log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.querySelector(".empty")?.remove();
  log.append(line);
  while (log.childElementCount > KEPT_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  if (!log.hidden && !still.matches) {
    line.animate([{opacity: 0, transform: "translateY(6px)"}, {}], {duration: 200, easing: "ease-out"});
  }
}

function note(room, text, kind = "") {
  const line = make("li", `note ${kind}`, text);
  append(room, line);
  return line;
}

function moved(room, name, joined) {
  const last = room.log.lastElementChild;
  if (joined && last?.dataset.left === name) {
    last.textContent = `${name} left and came back`;
    delete last.dataset.left;
    return;
  }
  const line = note(room, `${name} ${joined ? "joined" : "left"}`);
  if (!joined) line.dataset.left = name;
}

function bubble(from, text, when) {
  const line = make("li", `said${from === me ? " mine" : ""}`);
  line.dataset.from = from;
  line.style.setProperty("--hue", hue(from));
  const dot = face(make("i", "face"), from);
  dot.setAttribute("aria-hidden", "true");
  const head = make("p", "head");
  const time = make("time", "", clock.format(when));
  time.dateTime = new Date(when).toISOString();
  head.append(make("b", "", from), time);
  line.append(dot, head, make("p", "text", text));
  return line;
}

/** `recent`: a message of the history. After a rejoin the page already shows most of it. */
function showMessage(room, {from, text, at: when}, recent = false) {
  const key = JSON.stringify([when, from, text]);
  if (recent && [...room.log.children].some((line) => line.dataset.key === key)) return;
  const line = bubble(from, text, when);
  line.dataset.key = key;
  line.dataset.at = when;
  const last = room.log.lastElementChild;
  if (last?.dataset.from === from && when - Number(last.dataset.at) < 180000) line.classList.add("follows");
  append(room, line);
  if (!recent && (room.name !== current || document.hidden) && from !== me) {
    ++room.unread;
    showRooms();
    showTitle();
  }
}

function say(room, text) {
  if (!room.channel) {
    note(room, "Join the room first", "bad");
    return;
  }
  let line = null;
  const pending = () => {
    line = bubble(me, text, Date.now());
    line.classList.add("waiting");
    append(room, line);
  };
  const soon = setTimeout(pending, room.state === "joined" ? NOT_YET_MS : 0);
  const settle = () => {
    clearTimeout(soon);
    line?.remove();
  };
  const failed = (reason) => {
    clearTimeout(soon);
    if (!line) pending();
    line.classList.replace("waiting", "failed");
    const again = make("button", "quiet", "Send again");
    again.type = "button";
    again.addEventListener("click", () => {
      line.remove();
      say(room, text);
    });
    line.querySelector(".head").append(make("em", "", reason), again);
  };
  room.channel
    .push("say", {text})
    .receive("ok", settle)
    .receive("error", ({reason}) => failed(reason ?? "refused"))
    .receive("timeout", () => failed("no answer"));
}

const text = at("text");
function fit() {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 160)}px`;
}
text.addEventListener("input", fit);
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("composer").requestSubmit();
  }
});
at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const written = text.value.trim();
  if (!written) return;
  text.value = "";
  fit();
  const room = rooms.get(current);
  say(room, written);
  room.log.scrollTop = room.log.scrollHeight;
  text.focus();
});

// ---- the name ----------------------------------------------------------------------------------------------------------

function askName(wrong = "") {
  at("hello-error").textContent = wrong;
  if (!at("hello").open) {
    at("hello-name").value = me || suggestion();
    at("hello").showModal();
  }
  at("hello-name").select();
}

function showMe() {
  at("me").hidden = !me;
  at("me-name").textContent = me;
  if (me) face(at("me").querySelector(".face"), me);
}

at("me").addEventListener("click", () => askName());
at("hello-another").addEventListener("click", () => {
  at("hello-name").value = suggestion();
  at("hello-name").focus();
});
// without a name the dialog stays open
at("hello").addEventListener("cancel", (event) => {
  if (!me) event.preventDefault();
});
at("hello-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const before = me;
  me = at("hello-name").value.trim();
  at("hello-error").textContent = "";
  if (me) sessionStorage.setItem("name", me);
  else sessionStorage.removeItem("name");
  showMe();
  if (me !== before)
    for (const room of rooms.values())
      if (room.channel && room.name !== current) {
        abandon(room, "idle");
        enter(room);
      }
  const room = rooms.get(current);
  if (room.channel && me === before) {
    at("hello").close();
    return;
  }
  if (room.channel) abandon(room, "idle");
  enter(room);
  if (!socket.isConnected()) at("hello").close();
  text.focus();
});

// ---- statistics --------------------------------------------------------------------------------------------------------

const meter = new Meter();
meter.add(at("frames-chart"), ruled(frames(4.2)));
meter.add(at("pulse-chart"), frames(4));
meter.add(at("clients-chart"), steps("clients"));
meter.add(at("channels-chart"), steps("channels"));

const number = new Intl.NumberFormat(undefined, {maximumFractionDigits: 0});
const small = new Intl.NumberFormat(undefined, {maximumFractionDigits: 1});
const perSecond = (value) => (Number.isNaN(value) ? "–" : (value < 10 ? small : number).format(value));
function size(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit + 1 < units.length) {
    count /= 1000;
    ++unit;
  }
  return `${(count < 10 && unit ? small : number).format(count)} ${units[unit]}`;
}

let lastStats = performance.now();
let node; // the node's name, if there are several
const stats = socket.channel("stats", {});
stats.on("stats", (totals) => {
  lastStats = performance.now();
  const rate = meter.feed(totals, lastStats);
  at("rate-out").textContent = perSecond(rate.out);
  at("rate-in").textContent = perSecond(rate.in);
  at("pulse-rate").textContent = `${perSecond(rate.out)}/s`;
  at("clients").textContent = number.format(totals.clients);
  at("channels").textContent = number.format(totals.channels);
  at("bytes").textContent = size(totals.bytes_out);
});
stats.on("rooms", ({rooms: busy}) => {
  for (const room of rooms.values()) room.people = 0;
  for (const {name, people} of busy) roomOf(name).people = people;
  showRooms();
});
setInterval(() => {
  const now = performance.now();
  if (now - lastStats < 1200) return;
  lastStats = now - 700;
  meter.gap(now);
  for (const id of ["rate-out", "rate-in", "clients", "channels"]) at(id).textContent = "–";
  at("pulse-rate").textContent = "–";
}, 100);

// ---- views, keys -------------------------------------------------------------------------------------------------------

function view(name) {
  document.documentElement.dataset.view = name;
  for (const button of document.querySelectorAll(".tabs button")) {
    if (button.dataset.show === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  const room = rooms.get(current);
  if (name === "chat" && room) room.log.scrollTop = room.log.scrollHeight;
}
for (const button of document.querySelectorAll(".tabs button"))
  button.addEventListener("click", () => view(button.dataset.show));
at("pulse").addEventListener("click", () => view("stats"));

addEventListener("keydown", (event) => {
  if (!event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown") || at("hello").open) return;
  event.preventDefault();
  const names = [...rooms.keys()];
  const step = event.key === "ArrowDown" ? 1 : names.length - 1;
  show(names[(names.indexOf(current) + step) % names.length]);
});
addEventListener("hashchange", () => {
  if (location.hash.length > 1) show(decodeURIComponent(location.hash.slice(1)));
});

// ---- begin -------------------------------------------------------------------------------------------------------------

for (const name of STANDING_ROOMS) roomOf(name);
showMe();
view("chat");
show(location.hash.length > 1 ? decodeURIComponent(location.hash.slice(1)) : STANDING_ROOMS[0]);
socket.connect();
stats.join().receive("ok", (answer) => {
  ({node} = answer);
  setText(at("node"), node ? `, on node ${node}` : "");
  const room = rooms.get(current);
  if (room) showPeople(room);
});
meter.start();
if (!me) askName();
else text.focus();

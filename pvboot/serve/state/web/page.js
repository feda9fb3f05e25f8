// The page of `pvboot serve`.  Whatever comes from the network reaches the document as text, never as markup.
"use strict";

const API = "/api/v1";
const FAST_MS = 1000;   // transfers
const SLOW_ROUNDS = 3;  // everything else, in rounds of the above
const SOFT_LIMIT = 500; // rows of a table

const $ = (id) => document.getElementById(id);

// An element: make("td", {class: "quiet"}, "text", other, ...).  Strings become text nodes.
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

async function ask(method, path, body) {
  const headers = {};
  const token = $("token").value;
  if (token) headers["Authorization"] = "Bearer " + token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(API + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "omit", cache: "no-store",
  });
  const text = await answer.text();
  const value = text ? JSON.parse(text) : null;
  if (!answer.ok) throw new Error(value && value.detail ? value.detail : "status " + answer.status);
  return value;
}

function trouble(error) {
  $("trouble").hidden = !error;
  $("trouble").textContent = error ? error.message : "";
}

function fill(id, rows, nothing) {
  const body = $(id).tBodies[0];
  const columns = $(id).tHead.rows[0].cells.length;
  const shown = rows.slice(0, SOFT_LIMIT);
  if (!rows.length) shown.push(make("tr", {}, make("td", {colspan: columns, class: "empty"}, nothing)));
  // A row that says the same stays: replacing it would take a click that is just being made.
  shown.forEach((row, index) => {
    const old = body.rows[index];
    if (!old) body.append(row);
    else if (!old.isEqualNode(row)) old.replaceWith(row);
  });
  while (body.rows.length > shown.length) body.lastElementChild.remove();
  $(id + "-count").textContent = rows.length ? String(rows.length) : "";
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return (unit ? count.toFixed(1) : String(count)) + " " + units[unit];
}

function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  if (past < 60) return Math.floor(past) + " s ago";
  if (past < 3600) return Math.floor(past / 60) + " min ago";
  if (past < 86400) return Math.floor(past / 3600) + " h ago";
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

const COLOURS = {"complete": "good", "failed": "bad", "kernel-fetched": "middle", "menu-given": "info"};
const outcome = (boot) => make("span", {class: "tag " + (COLOURS[boot.outcome] || ""), title: boot.detail}, boot.outcome);

// --- tables ---------------------------------------------------------------------------------------------

function transferRow(one) {
  const whole = one.size > 0 ? one.size : null;
  const share = whole ? Math.floor(100 * one.sent / whole) + " %" : "";
  const seconds = Math.max(one.changed - one.started, 0.001);
  const said = one.outcome
    ? make("span", {class: "tag " + (one.outcome === "done" ? "good" : "bad")}, one.outcome)
    : make("progress", whole ? {max: whole, value: Math.min(one.sent, whole)} : {});
  const text = one.outcome ? " " + bytes(one.sent) + ", " + ago(one.changed)
    : [share, bytes(one.sent) + (whole ? " of " + bytes(whole) : ""), bytes(Math.round(one.sent / seconds)) + "/s"]
      .filter((part) => part).join(", ");
  return make("tr", {class: one.outcome ? "finished" : "live"}, make("td", {}, one.address),
    make("td", {}, make("code", {}, one.path)), make("td", {}, one.protocol),
    make("td", {}, said, make("span", {class: "quiet"}, text)));
}

function identity(client) {
  const cell = make("td", {});
  for (const kind of ["mac", "uuid", "address", "hostname"]) {
    if (client[kind]) cell.append(make("div", {}, make("code", {}, client[kind])));
  }
  return cell;
}

function wouldBoot(client) {
  const boots = client.would_boot;
  if (boots.problem) return make("td", {class: "bad"}, boots.problem);
  return make("td", {}, boots.title || "", " ",
    boots.once ? make("span", {class: "tag middle"}, "once") : "",
    make("div", {class: "quiet"}, boots.profile || "no profile", boots.kernel ? make("br") : "",
      boots.kernel ? make("code", {}, boots.kernel) : ""));
}

let chosen = new Map();  // client -> profile picked in its list, kept when the table is drawn again

function nextBoot(client) {
  if (client.next_boot) {
    return make("td", {}, make("div", {class: "row"}, make("span", {class: "tag middle"}, client.next_boot.profile),
      make("button", {onclick: () => change("DELETE", client.name)}, "Clear")));
  }
  const list = make("select", {"aria-label": "Profile for the next boot of " + client.name,
    onchange: (event) => chosen.set(client.name, event.target.value)});
  list.append(...profileNames.map((name) => make("option", {value: name, selected: chosen.get(client.name) === name}, name)));
  const set = make("button", {disabled: !profileNames.length,
    onclick: () => change("PUT", client.name, {profile: list.value})}, "Boot once");
  return make("td", {}, make("div", {class: "row"}, list, set));
}

async function change(method, client, body) {
  try {
    await ask(method, "/clients/" + encodeURIComponent(client) + "/next-boot", body);
    chosen.delete(client);
    trouble(null);
    held = false;
    await refreshSlow();
  } catch (error) { trouble(error); }
}

function clientRow(client, last) {
  return make("tr", {}, make("td", {}, make("strong", {}, client.name),
    client.enabled ? "" : make("div", {}, make("span", {class: "tag"}, "disabled")),
    client.note ? make("div", {class: "quiet"}, client.note) : ""),
  identity(client), wouldBoot(client),
  last ? make("td", {}, outcome(last), make("div", {class: "quiet"}, ago(last.started))) : make("td", {class: "quiet"}, "never"),
  nextBoot(client));
}

function bootRow(boot) {
  return make("tr", {}, make("td", {title: new Date(boot.started * 1000).toISOString()}, ago(boot.started)),
    make("td", {}, boot.client || make("span", {class: "quiet"}, "unknown"), make("div", {class: "quiet"}, boot.mac || "", " ", boot.address)),
    make("td", {}, boot.profile, " ", boot.next_boot ? make("span", {class: "tag middle"}, "once") : ""),
    make("td", {}, make("code", {}, boot.path), make("div", {class: "quiet"}, boot.dialect + ", " + boot.protocol)),
    make("td", {}, outcome(boot), boot.detail ? make("div", {class: "quiet"}, boot.detail) : ""));
}

function profileRow(profile) {
  const entries = make("td", {});
  profile.entries.forEach((entry, index) => entries.append(make("div", {}, entry.title,
    index === profile.default && profile.entries.length > 1 ? make("span", {class: "quiet"}, " (default)") : "",
    make("div", {class: "quiet"}, make("code", {}, [entry.kernel || "local disk", entry.args || ""].join(" "))))));
  return make("tr", {}, make("td", {}, make("strong", {}, profile.name), make("div", {class: "quiet"}, profile.title)),
    entries, make("td", {}, make("button", {onclick: () => showMenus(profile.name)}, "Show")));
}

async function showMenus(name) {
  try {
    const menus = await ask("GET", "/profiles/" + encodeURIComponent(name) + "/menus");
    const text = Object.entries(menus).map(([dialect, menu]) => "— " + dialect + " —\n" +
      (menu.text === null ? "(" + menu.problem + ")\n" : menu.text) + menu.warnings.map((line) => "! " + line + "\n").join(""));
    $("menu").querySelector("h3").textContent = "Menus of " + name;
    $("menu").querySelector("pre").textContent = text.join("\n");
    $("menu").hidden = false;
  } catch (error) { trouble(error); }
}

// --- keeping up to date ---------------------------------------------------------------------------------

let profileNames = [];
let held = false;  // a list is open: drawing the table again would close it

async function refreshFast() {
  const found = await ask("GET", "/transfers");
  const rows = [...found.live, ...found.finished.slice(0, 5)];
  fill("transfers", rows.map(transferRow), "nothing is being fetched");
  $("transfers-count").textContent = found.live.length ? String(found.live.length) : "";
}

async function refreshSlow() {
  const [clients, profiles, boots, server] = await Promise.all(
    ["/clients?limit=" + SOFT_LIMIT, "/profiles", "/boots", "/server"].map((path) => ask("GET", path)));
  profileNames = profiles.items.map((profile) => profile.name);
  const last = new Map();
  for (const boot of boots.items) if (boot.client && !last.has(boot.client)) last.set(boot.client, boot);
  if (!held) fill("clients", clients.items.map((client) => clientRow(client, last.get(client.name))), "no clients yet");
  if (clients.next !== null) $("clients-count").textContent = "the first " + clients.items.length;
  fill("boots", boots.items.map(bootRow), "nobody has booted yet");
  fill("profiles", profiles.items.map(profileRow), "no profiles yet");
  $("about").textContent = "version " + server.version + ", " + (server.protocols.join(", ") || "no protocols") +
    (server.default_profile ? ", others boot " + server.default_profile : "");
  if (!server.writable) $("token").placeholder = "changes are off";
  $("warnings").hidden = !server.warnings.length;
  $("warnings").replaceChildren(...server.warnings.map((line) => make("li", {}, line)));
}

async function round(number) {
  if (!document.hidden) {
    try {
      await refreshFast();
      if (number % SLOW_ROUNDS === 0) await refreshSlow();
      if (number % SLOW_ROUNDS === 0 && lost) { lost = false; trouble(null); }
    } catch (error) { lost = true; trouble(error); }
  }
  setTimeout(() => round(number + 1), FAST_MS);
}

let lost = false;
$("clients").addEventListener("focusin", (event) => { held = event.target.tagName === "SELECT"; });
$("clients").addEventListener("focusout", () => { held = false; });
$("token").addEventListener("change", () => { if (lost) refreshSlow().then(() => trouble(null), trouble); });
round(0);

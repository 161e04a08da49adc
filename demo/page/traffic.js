/** The traffic: real requests of this browser to the demo. */
import { at, say, valueOf } from './dom.js';

/** Long, since a browser makes requests wait for one another. */
const GIVE_UP_MS = 20_000;
const STEADY_FOR_MS = 60_000;
const NEIGHBOUR_EVERY_MS = 500;
const BURST = 100;
/** A browser queues what is beyond a few connections; answers that take long must not pile up. */
const OPEN_AT_MOST = 200;
const SHOWN = ['ratelimit-policy', 'ratelimit', 'retry-after', 'content-type', 'x-worker'];

/** More than the route lets pass, where that can be seen. @param {string} route */
const speedOf = (route) => (route === 'search' ? 30 : 10);

/**
 * Asks the demo for what the page shows, before any traffic that waits for a connection of the browser.
 *
 * @param {string} path
 * @param {string} caller
 */
export function look(path, caller) {
  return ask(path, caller, 'high', 4_000);
}

/** @param {string} path @param {string} caller @param {RequestPriority} priority @param {number} giveUpMs */
function ask(path, caller, priority, giveUpMs) {
  const headers = { 'X-API-Key': caller, Accept: 'application/json' };
  return fetch(path, {
    priority,
    headers,
    cache: 'no-store',
    signal: AbortSignal.timeout(giveUpMs),
  });
}

/** @type {Map<string, number>} */
const answers = new Map();
let open = 0;

/** @param {string} answer */
function note(answer) {
  answers.set(answer, (answers.get(answer) ?? 0) + 1);
  const sorted = [...answers].toSorted(([a], [b]) => (a < b ? -1 : 1));
  say(at('answers'), sorted.map(([what, many]) => `${many} × ${what}`).join(', '));
}

async function send() {
  if (open >= OPEN_AT_MOST) return;
  open += 1;
  const path = `/${valueOf('route')}`;
  try {
    const response = await ask(path, valueOf('caller'), 'low', GIVE_UP_MS);
    const body = await response.text();
    note(String(response.status));
    const fields = SHOWN.filter((name) => response.headers.has(name)).map(
      (name) => `${name}: ${response.headers.get(name)}`,
    );
    say(
      at('last'),
      [`GET ${path} → ${response.status} ${response.statusText}`, ...fields, '', body.trim()].join(
        '\n',
      ),
    );
  } catch {
    note('no answer');
  } finally {
    open -= 1;
  }
}

/** @type {number | undefined} */
let steady;
let endsAt = 0;
let owed = 0;

function endSteady() {
  clearInterval(steady);
  steady = undefined;
  at('steady').setAttribute('aria-pressed', 'false');
}

function beginSteady() {
  at('steady').setAttribute('aria-pressed', 'true');
  endsAt = performance.now() + STEADY_FOR_MS;
  let then = performance.now();
  steady = setInterval(() => {
    const now = performance.now();
    // A timer that comes late sends what it owes, as long as that is no burst.
    owed = Math.min(5, owed + ((now - then) * speedOf(valueOf('route'))) / 1_000);
    then = now;
    for (; owed >= 1; owed -= 1) void send();
    if (now > endsAt) endSteady();
  }, 25);
}

/** @type {number | undefined} */
let neighbour;

function toggleNeighbour() {
  const on = neighbour === undefined;
  at('neighbour').setAttribute('aria-pressed', String(on));
  if (on) {
    neighbour = setInterval(() => {
      ask(`/${valueOf('route')}`, 'neighbour', 'low', GIVE_UP_MS).catch(() => {});
    }, NEIGHBOUR_EVERY_MS);
  } else {
    clearInterval(neighbour);
    neighbour = undefined;
  }
}

function nameSteady() {
  say(at('steady'), `${speedOf(valueOf('route'))} a second`);
}

export function openTraffic() {
  at('one').addEventListener('click', () => void send());
  at('burst').addEventListener('click', () => {
    for (let i = 0; i < BURST; i++) void send();
  });
  at('steady').addEventListener('click', () => {
    if (steady === undefined) beginSteady();
    else endSteady();
  });
  at('neighbour').addEventListener('click', toggleNeighbour);
  at('route').addEventListener('change', nameSteady);
  nameSteady();
}

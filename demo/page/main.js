/** Looks at the demo, and shows it. */
import { showLimits, showNothing } from './bucket.js';
import { drawChart, openChart } from './chart.js';
import { showControls } from './controls.js';
import { at, fillRows, say, sleep, valueOf } from './dom.js';
import { openHistory, sumOf } from './history.js';
import { showSaving } from './saving.js';
import { drawSum } from './sum.js';
import { look, openTraffic } from './traffic.js';

const LOOK_EVERY_MS = 500;
const PEEK_EVERY_MS = 250;
const MOST_CALLERS = 6;

/** @type {Readonly<Record<string, string>>} */
const STATES = {
  memory: 'No Redis: limits live in memory',
  ready: 'Redis is up',
  hung: 'Redis hangs: it does not answer',
  away: 'Redis is down',
  silent: 'The demo does not answer',
};
/** The worst that any process sees is what the page says. */
const WORST_FIRST = ['away', 'hung', 'ready', 'memory'];

const history = openHistory();
/** @type {import('./history.js').Live['rules']} */
let rules = {};

function draw() {
  const [route, caller] = [valueOf('route'), valueOf('caller')];
  drawChart(history, route, caller, rules[route]);
  drawSum(history, route, caller, rules[route]);
}

/** @param {string} state */
function showStore(state) {
  history.noteStore(state);
  at('store').dataset['state'] = state;
  say(at('store'), STATES[state] ?? state);
}

function showCallers() {
  const rows = [...history.totals]
    .filter(([, counts]) => sumOf(counts) > 0)
    .map(([key, counts]) => {
      const [route = '', ...name] = key.split(' ');
      const refused = counts.refused + counts.refusedHere;
      const without = counts.passedDegraded + counts.refusedDegraded;
      return [name.join(' '), `/${route}`, counts.passed + counts.passedHere, refused, without];
    })
    .toSorted((a, b) => Number(b[3]) - Number(a[3]))
    .slice(0, MOST_CALLERS);
  at('nobody').hidden = rows.length > 0;
  fillRows('callers', rows);
}

/** @param {readonly import('./history.js').Process[]} processes */
function showProcesses(processes) {
  fillRows(
    'workers',
    processes.map(({ worker, pid, store, sources, calls }) => {
      const decisions = Object.values(sources).reduce((sum, made) => sum + made, 0);
      const share = decisions === 0 ? '' : (calls / decisions).toFixed(2);
      return [worker, pid, store === 'memory' ? 'none' : store, decisions, share];
    }),
  );
  say(
    at('many'),
    processes.length === 1 ? 'One process' : `${processes.length} processes behind one port`,
  );
}

async function follow() {
  for (;;) {
    const askedAt = performance.now();
    try {
      /** @type {import('./history.js').Live} */
      const live = await (await look('/live', '')).json();
      rules = live.rules;
      history.take(live, askedAt, performance.now());
      showControls(live);
      showProcesses(live.processes);
      showCallers();
      showSaving(history);
      showStore(
        WORST_FIRST.find((state) => live.processes.some(({ store }) => store === state)) ??
          'silent',
      );
    } catch {
      showStore('silent');
    }
    draw();
    await sleep(LOOK_EVERY_MS);
  }
}

async function peek() {
  for (;;) {
    const [caller, route] = [valueOf('caller'), valueOf('route')];
    try {
      const response = await look('/peek', caller);
      const states = await response.json();
      say(at('who'), caller);
      say(at('where'), `/${route}`);
      say(at('rule'), rules[route]?.text ?? '');
      say(
        at('strategy'),
        rules[route]?.passesWithout === false ? 'are refused with 503' : 'pass, unlimited',
      );
      if (response.ok) showLimits(states, rules, route);
      else showNothing(states.error);
    } catch {
      // The state of the demo says it already.
    }
    await sleep(PEEK_EVERY_MS);
  }
}

openChart();
openTraffic();
at('route').addEventListener('change', draw);
addEventListener('resize', draw);
void follow();
void peek();

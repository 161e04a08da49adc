/** The buttons that do something to the demo itself: to its own Redis, and to what saves calls. */
import { at, element, say } from './dom.js';

/** @type {readonly (readonly [deed: string, name: string, text: string, done: string])[]} */
const REDIS_BUTTONS = [
  [
    'stop',
    'Stop',
    'It hangs: connections stay open, answers do not come (SIGSTOP).',
    'Redis is stopped. The processes notice within their deadline of a second.',
  ],
  [
    'continue',
    'Continue',
    'It answers again and knows all that it knew (SIGCONT).',
    'Redis goes on, and every limit where it was.',
  ],
  [
    'kill',
    'Kill',
    'It is gone, and with it all counts (SIGKILL).',
    'Redis is killed. The processes notice at once.',
  ],
  [
    'restart',
    'Restart',
    'A new, empty one on the same port.',
    'A new Redis runs. It is empty, so every caller has a full bucket.',
  ],
];

/** In which state of the process a button has an effect. @type {Readonly<Record<string, readonly string[]>>} */
const FITS = {
  stop: ['runs'],
  continue: ['stopped'],
  kill: ['runs', 'stopped'],
  restart: ['runs', 'stopped', 'gone'],
};

/** @type {Readonly<Record<string, string>>} */
const STATES = { runs: 'runs', stopped: 'is stopped', gone: 'is gone' };

/** @type {Readonly<Record<string, string>>} */
const NOT_OURS = {
  memory:
    'There is no Redis here: the limits live in memory. “npm run demo -- --redis --workers 4” has one of its own, with buttons that break it.',
  yours: 'This Redis is yours (REDIS_URL), so this page has no buttons to break it.',
};

/** @type {readonly (readonly [id: string, path: string, name: string, text: string])[]} */
const SWITCHES = [
  [
    'prepay',
    'prepay',
    'prepay',
    'A process that is busy with a caller on /search is charged for units beforehand, and spends them without asking.',
  ],
  [
    'denyCache',
    'deny-cache',
    'denyCache',
    'A process repeats a refusal of Redis for as long as it certainly holds.',
  ],
];

/** @param {string} path @param {string} done what to say then */
async function press(path, done) {
  try {
    const response = await fetch(path, { method: 'POST', headers: { Accept: 'application/json' } });
    const { error } = await response.json();
    say(at('said'), response.ok ? done : error);
  } catch {
    say(at('said'), 'The demo does not answer.');
  }
}

/** @param {HTMLElement} button */
const isOff = (button) => button.getAttribute('aria-disabled') === 'true';

/** @param {string} kind */
function makeRedisButtons(kind) {
  const place = at('redis-buttons');
  if (place.dataset['kind'] === kind) return;
  place.dataset['kind'] = kind;
  at('redis-note').hidden = kind === 'private';
  say(at('redis-note'), NOT_OURS[kind] ?? '');
  if (kind !== 'private') {
    place.replaceChildren();
    return;
  }
  place.replaceChildren(
    ...REDIS_BUTTONS.map(([deed, name, text, done]) => {
      const button = element('button', {
        id: `redis-${deed}`,
        type: 'button',
        text: name,
        'aria-describedby': `about-${deed}`,
      });
      // One that has no effect now keeps the focus of the keyboard, which `disabled` would take from it.
      button.addEventListener('click', () => {
        if (!isOff(button)) void press(`/redis/${deed}`, done);
      });
      return element('div', { class: 'deed' }, [
        button,
        element('span', { id: `about-${deed}`, class: 'quiet', text }),
      ]);
    }),
  );
}

function makeSwitches() {
  if (at('switches').childElementCount > 0) return;
  at('switches').replaceChildren(
    ...SWITCHES.map(([id, path, name, text]) => {
      const button = element('button', {
        id,
        type: 'button',
        role: 'switch',
        'aria-checked': 'false',
        'aria-describedby': `about-${id}`,
        text: name,
      });
      button.addEventListener('click', () => {
        const wanted = button.getAttribute('aria-checked') === 'true' ? 'off' : 'on';
        void press(`/${path}/${wanted}`, `${name} is ${wanted}.`);
      });
      return element('div', { class: 'deed' }, [
        button,
        element('span', { id: `about-${id}`, class: 'quiet', text }),
      ]);
    }),
  );
}

/** @param {import('./history.js').Live} live */
export function showControls({ redis: { kind, state, pid }, saving }) {
  makeRedisButtons(kind);
  at('redis-state').hidden = kind !== 'private';
  at('redis-state').dataset['state'] = state ?? '';
  say(
    at('redis-state'),
    `redis-server ${pid || ''} ${STATES[state ?? ''] ?? ''}`.replaceAll(/ +/g, ' '),
  );
  if (kind === 'private') {
    for (const [deed] of REDIS_BUTTONS) {
      at(`redis-${deed}`).setAttribute('aria-disabled', String(!FITS[deed]?.includes(state ?? '')));
    }
  }
  at('saving-card').hidden = kind === 'memory';
  if (kind === 'memory') return;
  makeSwitches();
  for (const name of /** @type {const} */ (['prepay', 'denyCache'])) {
    at(name).setAttribute('aria-checked', String(saving[name]));
  }
}

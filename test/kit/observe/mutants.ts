import type { Mutant } from '../homes/mutants.ts';

const calls = { shownBy: 'calls' } as const;
const QUOTA = 'algorithms/provider-quota.ts';
const LUA = 'algorithms/provider-quota.lua';

/** Mistakes in TypeScript. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'lets one unit more pass than is left': {
    file: QUOTA,
    replaces: 'return cost <= spendable(state, now);',
    by: 'return cost <= spendable(state, now) + 1;',
    ...calls,
  },
  'forgets what has passed': {
    file: QUOTA,
    replaces: 'state.left = Math.max(0, state.left - cost);',
    by: 'state.left = Math.max(0, state.left - 0 * cost);',
    ...calls,
  },
  'heeds a higher report of the same window': {
    file: QUOTA,
    replaces: '      state.left = Math.min(state.left, left);\n',
    by: '      state.left = left;\n',
    ...calls,
  },
  'gives back more than was said to be left': {
    file: QUOTA,
    replaces: 'Math.min(state.left + units, state.most);',
    by: 'state.left + units;',
    ...calls,
  },
  'hears the last word only where it lowers what is left': {
    file: QUOTA,
    replaces: '      state.most = Math.min(state.most, left);\n',
    by: '      state.most = left < state.left ? left : state.most;\n',
    ...calls,
  },
  'gives back to a later window': {
    file: QUOTA,
    replaces: 'if (state.since === since && state.ends > now) {',
    by: 'if (state.since >= since && state.ends > now) {',
    ...calls,
  },
  'gives nothing back': {
    file: QUOTA,
    replaces: 'if (state.since === since && state.ends > now) {',
    by: 'if (state.since === since && state.ends < now) {',
    ...calls,
  },
  'keeps what was left beyond the reset': {
    file: QUOTA,
    replaces: 'left: quota, most: quota, since: start',
    by: 'left: state.left, most: quota, since: start',
    ...calls,
  },
  'knows nothing of the window after a known one': {
    file: QUOTA,
    replaces: '} else if (window > 0 && now >= ends) {',
    by: '} else if (window < 0 && now >= ends) {',
    ...calls,
  },
  'begins a window when it is asked, not at the reset': {
    file: QUOTA,
    replaces: 'const start = now - ((now - ends) % window);',
    by: 'const start = now;',
    ...calls,
  },
  'takes a report of the window before for one of this window': {
    file: QUOTA,
    replaces: 'ends - state.since < state.ends - ends;',
    by: 'ends - state.since < 0 * state.ends;',
    ...calls,
  },
  'takes a report of the next window for one of this window': {
    file: QUOTA,
    replaces: 'state.ends <= now || isNext(state, ends, now);',
    by: 'state.ends <= now || (ends < 0 && isNext(state, ends, now));',
    ...calls,
  },
  'takes a report of the next window for one long before this one ends': {
    file: QUOTA,
    replaces: '    (state.ends - now) * 2 < window &&\n',
    by: '',
    ...calls,
  },
  'takes each shorter report for one of the window before': {
    file: QUOTA,
    replaces: 'ends - state.since < state.ends - ends;',
    by: 'ends < state.ends;',
    ...calls,
  },
  'ends a hold when another one is shorter': {
    file: QUOTA,
    replaces: 'state.held = Math.max(state.held, ends);',
    by: 'state.held = ends;',
    ...calls,
  },
  'forgets what is known of the window at a hold': {
    file: QUOTA,
    replaces: 'state.held = Math.max(state.held, ends);',
    by: 'state.held = Math.max(state.held, ends);\n      state.ends = 0;',
    ...calls,
  },
  'lets calls pass during a hold': {
    file: QUOTA,
    replaces: 'return held > now ? 0 : ends > now',
    by: 'return held < 0 ? 0 : ends > now',
    ...calls,
  },
  'lets waiters come before a hold ends': {
    file: QUOTA,
    replaces: 'const lasts = Math.max(state.held, passes ? state.ends : ends) - now;',
    by: 'const lasts = (passes ? state.ends : ends) - now;',
    ...calls,
  },
  'takes the first report of a guessed window for one of many': {
    file: QUOTA,
    replaces: 'isNew || state.guessed || left',
    by: 'isNew || left',
    ...calls,
  },
  'forgets the next window while nothing passes': {
    file: QUOTA,
    replaces: 'const rests = Math.max(held, ends + window);',
    by: 'const rests = Math.max(held, ends + 0 * window);',
    ...calls,
  },
  'observes one of the quotas of a call only': {
    file: 'limiter/limit-set.ts',
    replaces: '      if (quota !== undefined) {\n        rules[i] =',
    by: '      if (quota !== undefined && rules.length === ofLimits) {\n        rules[i] =',
    ...calls,
  },
  'tells every limit of the first one': {
    file: 'limiter/limit-set.ts',
    replaces: 'this.#ruleOf(this.#quotas[this.limits.indexOf(limit)]!, quotaPlan(1, said)),',
    by: 'this.#ruleOf(this.#quotas[limit === undefined ? 1 : 0]!, quotaPlan(1, said)),',
    ...calls,
  },
  'forgets no report at `reset`': {
    file: 'limiter/limit-set.ts',
    replaces: "  'settle',\n  'reset',\n]);",
    by: "  'settle',\n]);",
    ...calls,
  },
  'does not charge reservations': {
    file: 'limiter/limit-set.ts',
    replaces: "  'acquire',\n  'reserve',\n  'add',\n  'settle',\n  'reset',\n]);",
    by: "  'acquire',\n  'reset',\n]);",
    ...calls,
  },
  'enforces the provider of a shadow': {
    file: QUOTA,
    replaces: '    this.shadow = shadow;',
    by: '    this.shadow = shadow && false;',
    ...calls,
  },
  'takes the rest of the window for its length': {
    file: 'limiter/observed-response.ts',
    replaces: 'Math.max(windowMs ?? own ?? 0, untilResetMs)',
    by: 'untilResetMs',
    ...calls,
  },
  'reports what the limit leaves, whatever the provider': {
    file: 'limiter/make-decision.ts',
    replaces: 'quotaAt === undefined ? verdict : stricter(verdict, verdicts[quotaAt]!)',
    by: 'verdict',
    ...calls,
  },
};

/** Mistakes in Lua, which the TypeScript twin does not make. */
export const LUA_MUTANTS: Readonly<Record<string, Mutant>> = {
  'forgets what has passed': {
    file: LUA,
    replaces: 'math.max(0, state.left - plan.cost), true',
    by: 'math.max(0, state.left), true',
    ...calls,
  },
  'gives back more than was said to be left': {
    file: LUA,
    replaces: 'math.min(state.left + units, state.most), true',
    by: 'state.left + units, true',
    ...calls,
  },
  'gives back to a later window': {
    file: LUA,
    replaces: 'if state.since == since and state.ends > now then',
    by: 'if state.ends > now then',
    ...calls,
  },
  'begins a window when it is asked, not at the reset': {
    file: LUA,
    replaces: 'local start = now - (now - state.ends) % state.window',
    by: 'local start = now',
    ...calls,
  },
  'takes a report of the window before for one of this window': {
    file: LUA,
    replaces: 'ends - state.since < state.ends - ends',
    by: 'ends < 0',
    ...calls,
  },
  'takes each longer report for one of the next window': {
    file: LUA,
    replaces: 'math.abs(ends - state.ends - window) * 2 < window',
    by: 'ends > state.ends',
    ...calls,
  },
  'forgets the least that was said': {
    file: LUA,
    replaces: 'math.min(state.most, plan.left)\n',
    by: 'state.most\n',
    ...calls,
  },
  'ends a hold when another one is shorter': {
    file: LUA,
    replaces: 'state.held, state.changed = math.max(state.held, ends), true',
    by: 'state.held, state.changed = ends, true',
    ...calls,
  },
};

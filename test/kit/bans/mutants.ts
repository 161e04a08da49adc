import type { Mutant } from '../homes/mutants.ts';

const calls = { shownBy: 'calls' } as const;

/** Mistakes in TypeScript. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'bans one refusal late': {
    file: 'algorithms/ban.ts',
    replaces: 'if (state.refusals.length < after) {',
    by: 'if (state.refusals.length <= after) {',
    ...calls,
  },
  'counts refusals for ever': {
    file: 'algorithms/ban.ts',
    replaces: 'refusals.filter((at) => at > now - within)',
    by: 'refusals.filter((at) => at > 0 * within)',
    ...calls,
  },
  'makes every ban equally long': {
    file: 'algorithms/ban.ts',
    replaces: 'Math.max(forMs, grown)',
    by: 'Math.max(forMs, 0 * grown)',
    ...calls,
  },
  'lets bans grow beyond `max`': {
    file: 'algorithms/ban.ts',
    replaces: 'state.lengthMs = Math.min(Math.max(forMs, grown), maxMs);',
    by: 'state.lengthMs = Math.max(forMs, grown, 0 * maxMs);',
    ...calls,
  },
  'rounds a growing ban down': {
    file: 'algorithms/ban.ts',
    replaces: 'const grown = Math.ceil(',
    by: 'const grown = Math.floor(',
    ...calls,
  },
  'forgets the last ban when it ends': {
    file: 'algorithms/ban.ts',
    replaces: 'state.kept = state.ends + state.started + within;',
    by: 'state.kept = state.ends;',
    ...calls,
  },
  'never forgets the last ban': {
    file: 'algorithms/ban.ts',
    replaces: '  if (state.kept <= now) {',
    by: '  if (state.kept < 0) {',
    ...calls,
  },
  'goes on counting the refusals that led to a ban': {
    file: 'algorithms/ban.ts',
    replaces: '  state.refusals = [];\n  return state.ends;',
    by: '  return state.ends;',
    ...calls,
  },
  'blocks for a shadow': {
    file: 'algorithms/ban.ts',
    replaces: 'if (ends > 0 && !limit.shadow) {',
    by: 'if (ends > 0) {',
    ...calls,
  },
  'counts refusals during the ban of a shadow': {
    file: 'algorithms/ban.ts',
    replaces: 'if (!refused || (limit.shadow && now < state.ends)) {',
    by: 'if (!refused) {',
    ...calls,
  },
  'counts blocked calls': {
    file: 'algorithms/ban.ts',
    replaces: "if (rules.some(({ limit, passes }) => limit.algorithm === 'block' && !passes)) {",
    by: "if (rules.some(({ limit, passes }) => limit.name === '' && !passes)) {",
    ...calls,
  },
  'counts for every limit of a refused call': {
    file: 'algorithms/ban.ts',
    replaces: 'const refused = !passes && (',
    by: 'const refused = (!passes || rules.some((each) => !each.passes && !each.limit.shadow)) && (',
    ...calls,
  },
  'counts calls that ask for nothing': {
    file: 'algorithms/ban.ts',
    replaces: '(units > 0 || limit.twin.lending !== undefined)',
    by: '(units >= 0 || limit.twin.lending !== undefined)',
    ...calls,
  },
  'blocks the first home for each limit': {
    file: 'limiter/limit-set.ts',
    replaces: 'blockRules.findIndex((rule) => rule.home === home)',
    by: 'blockRules.findIndex((rule) => rule.home === 0 * home)',
    ...calls,
  },
  'counts what a waiting caller is refused': {
    file: 'limiter/limit-set.ts',
    replaces: 'BANNING.has(verb) && !polls ?',
    by: 'BANNING.has(verb) ?',
    ...calls,
  },
  'does not count what `allowUpTo` is refused': {
    file: 'script/verbs.ts',
    replaces: '    countForBans(held, now);\n    return [granted];',
    by: '    return [granted];',
    ...calls,
  },
  'keeps the count when it is reset': {
    file: 'limiter/limit-set.ts',
    replaces: "new Set(['allow', 'up_to', 'acquire', 'reserve', 'reset'])",
    by: "new Set(['allow', 'up_to', 'acquire', 'reserve'])",
    ...calls,
  },
  "shares a shadow's count with the enforced limit": {
    file: 'algorithms/ban.ts',
    replaces: "=${shadow ? 'w' : 'b'}`",
    by: "=${shadow ? 'b' : 'b'}`",
    ...calls,
  },
};

/** Mistakes in Lua. */
export const LUA_MUTANTS: Readonly<Record<string, Mutant>> = {
  'bans one refusal late': {
    file: 'algorithms/ban.lua',
    replaces: 'if #refusals < plan.after then',
    by: 'if #refusals <= plan.after then',
    ...calls,
  },
  'takes a refusal as old as `within` for a recent one': {
    file: 'algorithms/ban.lua',
    replaces: 'if at > now - plan.within then',
    by: 'if at >= now - plan.within then',
    ...calls,
  },
  'leaves refusals in the future where they are': {
    file: 'algorithms/ban.lua',
    replaces: 'local at = math.min(state.refusals[i], now)',
    by: 'local at = state.refusals[i]',
    ...calls,
  },
  'rounds a growing ban down': {
    file: 'algorithms/ban.lua',
    replaces: 'grown = (grown + (100 - grown % 100) % 100) / 100',
    by: 'grown = (grown - grown % 100) / 100',
    ...calls,
  },
  'blocks for a shadow': {
    file: 'algorithms/ban.lua',
    replaces: 'if ends and not watched.shadow then',
    by: 'if ends then',
    ...calls,
  },
  'counts blocked calls': {
    file: 'algorithms/ban.lua',
    replaces: 'if shape[l].duration and not entry.verdicts[l] then',
    by: 'if false and not entry.verdicts[l] then',
    ...calls,
  },
  'reads the refusals in the wrong order': {
    file: 'algorithms/ban.lua',
    replaces: 'for i = #backwards, 1, -1 do',
    by: 'for i = 1, #backwards do',
    ...calls,
  },
  'counts a resent reservation again': {
    file: 'script/verbs.lua',
    replaces: `    reserved.told = entry.shape.told
  end
  refuse(entry)
  if not again then`,
    by: `    reserved.told = entry.shape.told
  end
  refuse(entry)
  if true then`,
    ...calls,
  },
  'forgets to say what it started': {
    file: 'algorithms/ban.lua',
    replaces: '  out[at] = state.started',
    by: '  out[at] = 0',
    ...calls,
  },
};

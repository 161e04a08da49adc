import type { Mutant } from '../homes/mutants.ts';

const calls = { shownBy: 'calls' } as const;

/** Mistakes in TypeScript. Units beyond full need none: no state of a window or bucket can hold them. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'gives a fixed window everything': {
    file: 'algorithms/fixed-window.ts',
    replaces:
      'window.used = Math.max(0, window.used - units);\n        state.changed = true;\n      }\n    }\n  },\n\n  slicing',
    by: 'window.used = 0;\n        state.changed = true;\n      }\n    }\n  },\n\n  slicing',
    ...calls,
  },
  'takes more from the window before than is left of a gift': {
    file: 'algorithms/sliding-window.ts',
    replaces:
      'rolled.before = Math.max(0, rolled.before - (units - newest));\n        Object.assign(window, rolled);\n        state.changed = true;\n      }\n    }\n  },\n\n  slicing',
    by: 'rolled.before = 0;\n        Object.assign(window, rolled);\n        state.changed = true;\n      }\n    }\n  },\n\n  slicing',
    ...calls,
  },
  'gives a token bucket all that it counts': {
    file: 'algorithms/bucket-lines.ts',
    replaces:
      '  if (price.int < int || (price.int === int && price.rem < rem)) {\n    ({ int, rem } = price);',
    by: '  if (price.int < 0) {\n    ({ int, rem } = price);',
    ...calls,
  },
  'gives twice': {
    file: 'script/verbs.ts',
    replaces: 'limit.twin.credit?.(state, plan, units, now);',
    by: 'limit.twin.credit?.(state, plan, 2 * units, now);',
    ...calls,
  },
  'gives one unit only': {
    file: 'script/verbs.ts',
    replaces: 'limit.twin.credit?.(state, plan, units, now);',
    by: 'limit.twin.credit?.(state, plan, Math.min(units, 1), now);',
    ...calls,
  },
};

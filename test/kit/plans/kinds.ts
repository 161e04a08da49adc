import type { Kind } from './history.ts';

const PLAIN: Kind = { owns: 'one', plans: 4, debts: true, steps: false, givesBack: false };

export const KINDS = {
  'one own limit and up to four plans': PLAIN,
  'canaries with other bursts': { ...PLAIN, owns: 'canaries', plans: 3 },
  'a clock that steps': { ...PLAIN, owns: 'canaries', plans: 3, steps: true },
  'charges given back': { ...PLAIN, givesBack: true },
  'charges given back, without debt': { ...PLAIN, plans: 3, debts: false, givesBack: true },
  'charges given back to a lone limit': { ...PLAIN, plans: 0, debts: false, givesBack: true },
  'charges given back, canaries, and a clock that steps': {
    ...PLAIN,
    owns: 'canaries',
    plans: 3,
    steps: true,
    givesBack: true,
  },
  'more plans than a state has lines': { ...PLAIN, plans: 14 },
  'own limits of other rates, as in a rolling deploy': { ...PLAIN, owns: 'deploy', plans: 3 },
} as const satisfies Readonly<Record<string, Kind>>;

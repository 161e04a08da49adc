import {
  ADDRESS_OPTIONS,
  ADDRESS_OTHER_NAMES,
  COST_OTHER_NAMES,
  GUARD_NAMES,
  GUARD_OTHER_NAMES,
  LIMIT_OTHER_NAMES,
  OF_A_LIMIT,
  OF_A_LIMITER,
  OF_ACQUIRE,
} from './option-sets.ts';
import type { OptionOwner, OptionSet } from './read-options.ts';

/** Option sets that only the adapters read, kept out of the core's bundle. */

const OF_WAIT_OF_GUARD: OptionOwner = {
  of: '`wait`',
  names: ['maxQueue'],
  code: (option) => `rateLimit(limiter, { wait: { timeoutMs, ${option} } })`,
};

export const GUARD: OptionSet = {
  of: 'the guard',
  names: [...GUARD_NAMES, 'cost', 'limits', ...ADDRESS_OPTIONS],
  otherNames: {
    ...GUARD_OTHER_NAMES,
    ...COST_OTHER_NAMES,
    ...LIMIT_OTHER_NAMES,
    onBlock: 'onRefused',
  },
  owners: [OF_A_LIMITER, OF_A_LIMIT, OF_ACQUIRE, OF_WAIT_OF_GUARD],
};

/** The option `wait` of the guard. */
export const WAIT_OF_GUARD: OptionSet = {
  of: 'wait',
  names: ['timeoutMs', 'maxQueue'],
  otherNames: { timeout: 'timeoutMs', maxQueueSize: 'maxQueue' },
};

export const CLIENT_ADDRESS: OptionSet = {
  of: 'clientAddress',
  names: [...ADDRESS_OPTIONS, 'remoteAddress'],
  otherNames: ADDRESS_OTHER_NAMES,
};

export const IDENTIFY_BY_ADDRESS: OptionSet = {
  of: 'identifyByAddress',
  names: ADDRESS_OPTIONS,
  otherNames: ADDRESS_OTHER_NAMES,
};

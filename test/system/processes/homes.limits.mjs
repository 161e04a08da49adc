// @ts-check

/**
 * @typedef {object} Rates how many units of each home may pass
 * @property {number} calls of a key
 * @property {number} tokens of a team
 * @property {number} micros of an organisation
 */

/**
 * The numbers of the three limits. A window ends with its year, so that nothing comes back in mid-test.
 *
 * @param {Rates} rates
 */
export const limitsOf = ({ calls, tokens, micros }) =>
  /** @type {const} */ ([
    { name: 'calls', by: ['org', 'team', 'key'], unit: 'calls', rate: calls, period: 'year' },
    { name: 'tokens', by: ['org', 'team'], unit: 'tokens', rate: tokens, period: 'year' },
    { name: 'money', by: ['org'], unit: 'micros', rate: micros, period: 'year' },
  ]);

// @ts-check
import { load } from './load.mjs';
import { outages } from './outages.mjs';
import { refusals } from './refusals.mjs';
import { replies } from './replies.mjs';

/** Everything that is done to every client, under every strategy. */
export const scenarios = [...outages, ...refusals, ...replies, ...load];

// @ts-check
import { load } from './load.mjs';
import { losses } from './losses.mjs';
import { outages } from './outages.mjs';
import { refusals } from './refusals.mjs';
import { replies } from './replies.mjs';
import { slowness } from './slowness.mjs';

/** The scenarios that run for every client, under every strategy. */
export const scenarios = [...outages, ...refusals, ...replies, ...load, ...slowness, ...losses];

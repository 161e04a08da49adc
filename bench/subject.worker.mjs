// @ts-check
import { serve } from './child.mjs';
import { inTurn, makeIdentities } from './identities.mjs';
import { runLoad } from './load.mjs';

/** @type {import('./subjects/index.mjs').Opened} */
let subject;
/** @type {readonly string[]} */
let identities;
/** @type {() => string} */
let nextOfMany;
const hot = () => 'user:hot';

/** Calls in flight while identities are put into Redis. */
const FILLING = 256;

serve(async (request) => {
  switch (request.kind) {
    case 'open': {
      const { open } = await import(`./subjects/${request.module}`);
      subject = await open(request);
      identities = makeIdentities(request.identities);
      nextOfMany = inTurn(identities);
      return undefined;
    }
    case 'fill': {
      let at = 0;
      const lane = async () => {
        while (at < identities.length) {
          const passed = await subject.fill(identities[at++] ?? '');
          if (!passed) throw new Error('refused an identity that it sees for the first time');
        }
      };
      await Promise.all(Array.from({ length: FILLING }, lane));
      await subject.fill(hot());
      return undefined;
    }
    case 'load':
      return runLoad(subject.decide, request.hot ? hot : nextOfMany, request);
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

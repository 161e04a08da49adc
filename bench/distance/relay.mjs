// @ts-check
import { startFaultProxy } from '../../test/kit/servers/index.mjs';
import { serve } from '../child.mjs';

/** @type {Awaited<ReturnType<typeof startFaultProxy>>} */
let proxy;

serve(async (request) => {
  switch (request.kind) {
    case 'open':
      proxy = await startFaultProxy({ port: request.port });
      return proxy.port;
    case 'add':
      // Timers are late by up to a millisecond, so one direction is delayed, and not each of both by half.
      return request.ms === 0 ? proxy.pass() : proxy.delay(0, request.ms);
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

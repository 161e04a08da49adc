// @ts-check
import { serve } from './child.mjs';

/** @type {import('./servers/index.mjs').Serving} */
let serving;

serve(async (request) => {
  switch (request.kind) {
    case 'open': {
      const { open } = await import(`./servers/${request.module}`);
      serving = await open(request);
      return serving.port;
    }
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return user + system;
    }
    default:
      throw new Error(`no request is called ${request.kind}`);
  }
});

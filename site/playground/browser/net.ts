/** What the library takes of `node:net`: a second opinion on addresses in logs. */
import ipaddr from 'ipaddr.js';

export function isIP(text: string): 0 | 4 | 6 {
  if (!ipaddr.isValid(text)) {
    return 0;
  }
  return text.includes(':') ? 6 : 4;
}

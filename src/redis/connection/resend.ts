/**
 * `text`: at once, with the script's text. `by slot`: at once, a script call per slot. `by key`: at once, a script call
 * per identity. `later`: as it is.
 */
export type Resend = 'text' | 'by slot' | 'by key' | 'later';

export type ScriptCommand = 'EVALSHA' | 'EVAL';

/** `CROSSSLOT`, or the words of a proxy before a cluster: `ERR eval/evalsha command keys must be in same slot`. */
const SEVERAL_SLOTS = /^CROSSSLOT|\bsame (?:hash )?slot\b/i;

/**
 * The slot is moving. After sixteen such replies, or redirections, ioredis says so in words of its own: it repeats a
 * call at a random node, so the last reply is often a redirection.
 */
export const TRY_AGAIN: RegExp =
  /^(?:TRYAGAIN|Too many Cluster redirections\. Last error: \w*Error: (?:TRYAGAIN|MOVED|ASK) )/;

/**
 * How to resend a batch after this error reply of the server; undefined if not. These replies alone prove that nothing
 * ran. Clients follow redirections themselves.
 */
export function resendAfter(
  message: string,
  command: ScriptCommand,
  slot: number,
  isOfOneKey: boolean,
): Resend | undefined {
  if (command === 'EVALSHA' && message.startsWith('NOSCRIPT')) {
    return 'text';
  }
  if (slot === -1 && SEVERAL_SLOTS.test(message)) {
    return 'by slot';
  }
  if (!TRY_AGAIN.test(message)) {
    return undefined;
  }
  // Not all keys are on one node. Those of one identity mostly are, and keys that do not exist
  // are made on the new node, if a script call has no other.
  return isOfOneKey ? 'later' : 'by key';
}

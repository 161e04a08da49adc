/** `text`: at once, with the script's text. `by slot`: at once, a script call per slot. `later`: as it is. */
export type Resend = 'text' | 'by slot' | 'later';

export type ScriptCommand = 'EVALSHA' | 'EVAL';

/** `CROSSSLOT`, or the words of a proxy before a cluster: `ERR eval/evalsha command keys must be in same slot`. */
const SEVERAL_SLOTS = /^CROSSSLOT|\bsame (?:hash )?slot\b/i;

/**
 * How to resend a batch after this error reply of the server; undefined if not. These replies alone prove that nothing
 * ran. Clients follow redirections themselves.
 */
export function resendAfter(
  message: string,
  command: ScriptCommand,
  slot: number,
): Resend | undefined {
  if (command === 'EVALSHA' && message.startsWith('NOSCRIPT')) {
    return 'text';
  }
  if (slot === -1 && SEVERAL_SLOTS.test(message)) {
    return 'by slot';
  }
  // The slot is migrating and its keys are split between two nodes.
  return message.startsWith('TRYAGAIN') ? 'later' : undefined;
}

// @ts-check
/** Replaces Redis and its client, so that a figure measures this library alone. */

/** @param {number} integers */
export function replyOf(integers) {
  const reply = [Date.now() * 1_000];
  for (let i = 0; i < integers; i++) reply.push(600_000_000 + i);
  return reply;
}

/** A Redis that lets everything pass, and answers in the next turn of the event loop. */
export function answering() {
  return {
    state: /** @type {const} */ ('ready'),
    onStateChange() {},
    isReply: () => true,
    /**
     * @param {string} _command
     * @param {readonly string[]} args
     */
    send: (_command, args) =>
      new Promise((resolve) => {
        setImmediate(resolve, replyOf(integersAsked(args)));
      }),
  };
}

/**
 * The number of integers in the reply to one call, read from the script's arguments. For limits that answer with one
 * integer each.
 *
 * @param {readonly string[]} args
 */
function integersAsked(args) {
  const WORDS_OF_A_LIMIT = 10;
  const keys = Number(args[1]);
  let at = 2 + keys;
  if (args.length === at + 1) {
    return keys * Number(args[at]?.split(' ').pop());
  }
  const shapes = Number(args[at++]);
  /** @type {number[]} */
  const widths = [];
  for (let shape = 0; shape < shapes; shape++) {
    at += 3;
    const limits = Number(args[at++]);
    widths.push(limits);
    at += limits * WORDS_OF_A_LIMIT;
  }
  let integers = 0;
  for (; at < args.length; at += 3) {
    const width = widths[Number(args[at]) - 1] ?? 0;
    integers += width * Number(args[at + 1]) * Number(args[at + 2]);
  }
  return integers;
}

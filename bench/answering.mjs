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
 * How many numbers an algorithm has in the script's arguments, and how many integers it answers.
 *
 * @type {Readonly<Record<string, readonly [numbers: number, integers: number]>>}
 */
const ALGORITHMS = { token_bucket: [8, 1], sliding_window: [6, 3] };

/**
 * Reads one shape as call-shape.lua does.
 *
 * @param {readonly string[]} args
 * @param {number} from
 */
function readShape(args, from) {
  const [, , details = 0, keys = 1, limits = 0] = args.slice(from, from + 5).map(Number);
  let at = from + 5;
  let width = 0;
  for (let limit = 0; limit < limits; limit++) {
    const [numbers, integers] = ALGORITHMS[args[at + 3] ?? ''] ?? [NaN, NaN];
    width += args[from] === 'reset' ? 1 : integers;
    at += 4 + numbers;
  }
  return { details, keys, width, end: at };
}

/**
 * The number of integers in the reply to one script call, read from its arguments. For limits whose rates are whole
 * microseconds.
 *
 * @param {readonly string[]} args
 */
function integersAsked(args) {
  const keys = Number(args[1]);
  let at = 2 + keys;
  if (args.length === at + 1) {
    return keys * Number(args[at]?.split(' ').pop());
  }
  if (args[at] === 'home') {
    const shape = readShape(args, at + 2);
    return (keys / shape.keys) * Number(args[at + 1]) * shape.width;
  }
  const shapes = [];
  for (let left = Number(args[at++]); left > 0; left--) {
    const shape = readShape(args, at);
    shapes.push(shape);
    at = shape.end;
  }
  let integers = 0;
  while (at < args.length) {
    const { width, details } = shapes[Number(args[at]) - 1] ?? { width: NaN, details: NaN };
    const entries = Number(args[at + 1]) * Number(args[at + 2]);
    integers += width * entries;
    at += 3 + details * entries;
  }
  return integers;
}

import { setImmediate } from './timers.ts';

/** Answers that one turn of the event loop may give before sockets are read. */
const ANSWERS_PER_TURN = 1_000;

let given = 0;

function reset(): void {
  given = 0;
}

/**
 * Calls `answer` now, or in the check phase of the event loop where this turn has given many answers already. A loop
 * that awaits answers which need no I/O would otherwise never let sockets and timers run: it would not see Redis come
 * back.
 */
export function answerInTurn(answer: () => void): void {
  if (given === 0) {
    setImmediate(reset);
  }
  given += 1;
  if (given <= ANSWERS_PER_TURN) {
    answer();
  } else {
    setImmediate(answer);
  }
}

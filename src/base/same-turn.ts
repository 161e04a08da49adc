import { setImmediate } from './timers.ts';

/** The most answers given in one turn of the event loop before sockets are read. */
const ANSWERS_PER_TURN = 1_000;

let given = 0;

function reset(): void {
  given = 0;
}

/**
 * Calls `answer` now, or in the event loop's check phase if this turn has already given many answers. Otherwise a
 * loop that awaits answers without I/O would starve sockets and timers, and never see Redis come back.
 */
export function answerInTurn(answer: () => void): void {
  if (mayAnswer()) {
    answer();
  } else {
    setImmediate(answer);
  }
}

/** The same for a value that is already there. */
export function resolveInTurn<T>(value: T): Promise<T> {
  return mayAnswer()
    ? Promise.resolve(value)
    : new Promise((resolve) => setImmediate(resolve, value));
}

function mayAnswer(): boolean {
  if (given === 0) {
    setImmediate(reset);
  }
  given += 1;
  return given <= ANSWERS_PER_TURN;
}

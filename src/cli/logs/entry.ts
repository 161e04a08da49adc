/** One request of a log. */
export interface LogEntry {
  /** When the request began, as far as the log says, in whole microseconds since the Unix epoch. */
  at: number;
  /** Its place among entries of the same time. */
  order: number;
  /** Kept for longer than the line, so no piece of it. */
  readonly caller: string;
  readonly cost: number;
  /** The named parts of the identity, where `--field` names any. */
  readonly parts?: Readonly<Record<string, string>>;
}

/** Why a line gives no entry. */
export class NoEntry {
  readonly reason: string;
  /** Whether the line is sound and merely no request. */
  readonly isSound: boolean;

  constructor(reason: string, isSound = false) {
    this.reason = reason;
    this.isSound = isSound;
  }
}

/** Reads one line. */
export type LineParser = (line: string) => LogEntry | NoEntry;

/** Fields by the name that `--field` gives them: `time`, `key`, `cost`, or a part of the identity. */
export type FieldNames = ReadonlyMap<string, string>;

export const NOT_THIS_FORMAT: NoEntry = new NoEntry('not a line of this format');
export const NO_TIME: NoEntry = new NoEntry('its time is missing or unreadable');
export const NO_CALLER: NoEntry = new NoEntry('it names no caller');
export const NO_COST: NoEntry = new NoEntry('its cost is no whole number from 0 to 1,000,000,000');
